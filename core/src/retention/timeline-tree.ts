import { ancestry, type TimelineRange, type TimelineSwitch } from '../postgres/timeline.ts';

/** What a history file says: its switches, or that it cannot be read. */
export type History = readonly TimelineSwitch[] | 'unreadable';

/** Which timeline comes from which, as far as the history files tell. */
export class TimelineTree {
  readonly #lines = new Map<number, readonly TimelineRange[]>();

  constructor(histories: ReadonlyMap<number, History>) {
    this.#lines.set(1, ancestry(1, []));
    for (const [timeline, history] of histories) {
      if (history === 'unreadable' || (history.at(-1)?.timeline ?? timeline) >= timeline) continue;
      this.#lines.set(timeline, ancestry(timeline, history));
    }
    // What a later history says of those before it holds for them too.
    for (const line of this.#lines.values()) {
      for (const [at, { timeline, start }] of line.entries()) {
        if (!this.#lines.has(timeline))
          this.#lines.set(timeline, [...line.slice(0, at), { timeline, start, end: undefined }]);
      }
    }
  }

  /** The line of descent, oldest first; undefined when it is not known. */
  line(timeline: number): readonly TimelineRange[] | undefined {
    return this.#lines.get(timeline);
  }

  /** Where the timeline begins if it comes from this position, or may come from it; undefined when it does not. */
  beginFrom(timeline: number, from: { readonly timeline: number; readonly lsn: bigint }): bigint | undefined {
    if (timeline <= from.timeline) return undefined;
    const line = this.line(timeline);
    if (line === undefined) return 0n; // it may
    const at = line.findIndex((range) => range.timeline === from.timeline);
    const end = line[at]?.end;
    if (at < 0 || end === undefined || end < from.lsn) return undefined;
    return line.at(-1)?.start;
  }

  /** Whether a position lies on the line of a timeline: WAL of the line goes on from there. */
  isOn(timeline: number, position: { readonly timeline: number; readonly lsn: bigint }): boolean {
    if (timeline === position.timeline) return true;
    const range = this.line(timeline)?.find((candidate) => candidate.timeline === position.timeline);
    return range !== undefined && (range.end === undefined || position.lsn <= range.end);
  }

  /** The timelines from which one comes; undefined when that is not known. */
  ancestors(timeline: number): readonly number[] | undefined {
    return this.line(timeline)
      ?.slice(0, -1)
      .map((range) => range.timeline);
  }
}
