import type { ObjectInfo } from '../contracts/storage.ts';
import type { WalFile } from '../postgres/wal-file.ts';
import type { TimesKey } from '../repository/layout.ts';

type Small = Pick<ObjectInfo, 'key' | 'size' | 'modified'>;

interface Range {
  readonly object: Small;
  readonly first: string;
  readonly last: string;
  used: boolean;
}

/** The ranges of a timeline, and how far the listing of its WAL has come. */
interface Line {
  readonly ranges: Range[];
  /** The first one that begins behind the last segment that was seen. */
  next: number;
  /** Those that begin before it, may reach further, and are not known to be used. */
  open: Range[];
}

/** Which objects with times of commits are of WAL that is still there; what is no such object counts as used. */
export class TimesUse {
  readonly #lines = new Map<number, Line>();

  constructor(objects: readonly (Small & { readonly parsed: TimesKey | undefined })[]) {
    for (const { parsed, ...object } of objects) {
      if (parsed === undefined) continue;
      const { timeline, first, last } = parsed;
      const line = this.#lines.get(timeline) ?? { ranges: [], next: 0, open: [] };
      this.#lines.set(timeline, line);
      line.ranges.push({ object, first, last, used: false });
    }
    for (const { ranges } of this.#lines.values())
      ranges.sort((one, other) => (one.first < other.first ? -1 : Number(one.first > other.first)));
  }

  /** A file of the WAL that is there. They come in the order of their keys: a million of them cost no more than their number. */
  see(file: WalFile): void {
    const line = file.kind === 'history' ? undefined : this.#lines.get(file.timeline);
    if (line === undefined) return;
    const segment = file.name.slice(0, 24);
    for (let range = line.ranges[line.next]; range !== undefined && range.first <= segment;) {
      line.open.push(range);
      range = line.ranges[++line.next];
    }
    for (const range of line.open) range.used ||= segment <= range.last;
    if (line.open.length > 0) line.open = line.open.filter(({ used, last }) => !used && last >= segment);
  }

  unused(): readonly Small[] {
    return [...this.#lines.values()].flatMap(({ ranges }) =>
      ranges.flatMap(({ used, object }) => (used ? [] : [object])),
    );
  }
}
