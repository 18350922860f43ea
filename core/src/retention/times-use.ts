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

/** Which objects with times of commits are of WAL that is still there; what is no such object counts as used. */
export class TimesUse {
  readonly #ranges = new Map<number, Range[]>();

  constructor(objects: readonly (Small & { readonly parsed: TimesKey | undefined })[]) {
    for (const { parsed, ...object } of objects) {
      if (parsed === undefined) continue;
      const { timeline, first, last } = parsed;
      const ranges = this.#ranges.get(timeline) ?? [];
      this.#ranges.set(timeline, [...ranges, { object, first, last, used: false }]);
    }
  }

  /** A file of the WAL that is there. */
  see(file: WalFile): void {
    if (file.kind === 'history') return;
    const segment = file.name.slice(0, 24);
    for (const range of this.#ranges.get(file.timeline) ?? [])
      if (range.first <= segment && segment <= range.last) range.used = true;
  }

  unused(): readonly Small[] {
    return [...this.#ranges.values()].flat().flatMap(({ used, object }) => (used ? [] : [object]));
  }
}
