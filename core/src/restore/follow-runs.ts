/** Which WAL follows without a hole from a position on: the one rule by which restores are planned and maps are drawn. */
import { segmentNumber } from '../postgres/wal-file.ts';
import type { TimelineRange } from '../postgres/timeline.ts';
import { runAt, runBehind, type SegmentRange } from '../repository/inventory.ts';

/** The segments that a line of timelines takes from one of them. */
export interface Span {
  readonly timeline: number;
  /** The first one. */
  readonly from: bigint;
  /** The one behind the last; undefined on the newest timeline, which has no end. */
  readonly to: bigint | undefined;
}

/** Where the whole segments of a span end. */
export type SpanEnd =
  /** All of them are there. */
  | { readonly kind: 'complete' }
  /** There is no whole segment behind `next`, of which there may be slices. */
  | { readonly kind: 'open'; readonly next: bigint }
  /** Segments from `next` up to, not including, `until` are missing: there the next one is, or the next timeline begins. */
  | { readonly kind: 'hole'; readonly next: bigint; readonly until: bigint }
  /** A segment that cannot be used. */
  | { readonly kind: 'bad'; readonly next: bigint };

/**
 * What a line of descent takes from each of its timelines, from the segment of `start` on. A segment in which the timeline changes
 * counts on the newer one, whose file holds the older one's beginning too.
 */
export function spansOf(ranges: readonly TimelineRange[], start: bigint, segmentSize: number): readonly Span[] {
  return ranges
    .filter(({ end }) => end === undefined || end > start)
    .map((range) => ({
      timeline: range.timeline,
      from: segmentNumber(range.start > start ? range.start : start, segmentSize),
      to: range.end === undefined ? undefined : segmentNumber(range.end, segmentSize),
    }));
}

/** Follows the whole segments of a span; `bad` are those that cannot be used, although they are there, ascending. */
export function followSpan(
  { from, to }: Span,
  { runs, bad }: { readonly runs: readonly SegmentRange[]; readonly bad: readonly bigint[] },
): SpanEnd {
  const run = runAt(runs, from);
  let next = run === undefined ? from : run.last + 1n;
  if (to !== undefined && next > to) next = to;
  const spoilt = bad.find((number) => number >= from && number < next);
  if (spoilt !== undefined) return { kind: 'bad', next: spoilt };
  if (next === to) return { kind: 'complete' };
  const behind = runBehind(runs, next)?.first;
  if (to === undefined) return behind === undefined ? { kind: 'open', next } : { kind: 'hole', next, until: behind };
  return { kind: 'hole', next, until: behind === undefined || behind > to ? to : behind };
}
