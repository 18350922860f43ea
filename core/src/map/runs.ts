/** How far the WAL leads from each backup, on each line of timelines: pure, by the rules of the plan. */
import { parseLsn } from '../postgres/lsn.ts';
import { lastSegmentNumber, SEGMENT_HEADER_BYTES, segmentName } from '../postgres/wal-file.ts';
import { runBehind, type OpenSegment, type TimelineInventory, type WalInventory } from '../repository/inventory.ts';
import { isOnLine } from '../restore/choose-backup.ts';
import { followSpan, spansOf } from '../restore/follow-runs.ts';
import type { Lineage } from '../restore/lineage.ts';
import type { MapBackup } from './map-backups.ts';

/** Why the WAL does not lead further. */
export type RunEnd =
  /** There is no more. */
  | { readonly kind: 'end-of-archive' }
  /** Names of the first and last missing segment; `behind` is the first one that is there again, on this timeline. */
  | {
      readonly kind: 'missing';
      readonly from: string;
      readonly to: string;
      readonly count: number;
      readonly behind: string | undefined;
    }
  /** The archive holds a segment with several contents. */
  | { readonly kind: 'conflict'; readonly segment: string }
  /** A segment was found damaged when it was read. */
  | { readonly kind: 'damaged'; readonly segment: string; readonly problem: string };

/** A segment of a line. */
export interface LinePlace {
  readonly timeline: number;
  readonly number: bigint;
}

/** Whole segments of one timeline. */
export interface Stretch {
  readonly timeline: number;
  readonly first: bigint;
  readonly last: bigint;
}

/** The WAL behind one backup along one line. */
export interface BackupRun {
  readonly backup: MapBackup;
  /** The timeline that the line leads to. */
  readonly line: number;
  readonly stretches: readonly Stretch[];
  /** The last segment, an unfinished one included; undefined when not even the first is there. */
  readonly last: LinePlace | undefined;
  /** Whether the last segment never became whole. */
  readonly unfinished: boolean;
  readonly end: RunEnd;
  /** Whether the WAL that makes the backup consistent is there. */
  readonly consistent: boolean;
}

/** Problems of segments, by timeline and number, that reading them has shown. */
export type DamagedSegments = ReadonlyMap<number, ReadonlyMap<bigint, string>>;

/** What a line takes from a system's WAL, backup by backup. */
export function runsOf(
  lineage: Lineage,
  backups: readonly MapBackup[],
  { wal, damaged }: { readonly wal: WalInventory; readonly damaged: DamagedSegments },
): readonly BackupRun[] {
  const timelines = new Map(wal.timelines.map((one) => [one.timeline, one]));
  return backups
    .filter((backup) => isOnLine(backup, lineage))
    .map((backup) => runOf(backup, lineage, timelines, damaged));
}

function runOf(
  backup: MapBackup,
  lineage: Lineage,
  timelines: ReadonlyMap<number, TimelineInventory>,
  damaged: DamagedSegments,
): BackupRun {
  const { segmentSize } = backup;
  const stretches: Stretch[] = [];
  let last: LinePlace | undefined;
  let unfinished = false;
  let end: RunEnd = { kind: 'end-of-archive' };
  for (const span of spansOf(lineage.ranges, parseLsn(backup.startLsn), segmentSize)) {
    const { timeline } = span;
    const held = timelines.get(timeline);
    const spoilt = damaged.get(timeline);
    const bad = [...(held?.conflicts ?? []), ...(spoilt?.keys() ?? [])].sort((one, other) => (one < other ? -1 : 1));
    const found = followSpan(span, { runs: held?.runs ?? [], bad });
    const next = found.kind === 'complete' ? span.to : found.next;
    if (next !== undefined && next > span.from) {
      stretches.push({ timeline, first: span.from, last: next - 1n });
      last = { timeline, number: next - 1n };
    }
    if (found.kind === 'complete') continue;
    const name = (number: bigint): string => segmentName(timeline, number, segmentSize);
    if (found.kind === 'bad') {
      const segment = name(found.next);
      const problem = spoilt?.get(found.next);
      end = problem === undefined ? { kind: 'conflict', segment } : { kind: 'damaged', segment, problem };
    } else if (found.kind === 'hole') {
      const behind = held === undefined ? undefined : runBehind(held.runs, found.next)?.first;
      end = missing(found.next, found.until, behind, name);
    } else {
      const open = held?.open.find(({ number }) => number >= found.next);
      if (open?.number === found.next && holdsWal(open)) {
        last = { timeline, number: found.next };
        unfinished = true;
      } else {
        // Slices of a later segment are no end of the WAL either.
        const later = held?.open.find(({ number }) => number > found.next)?.number;
        if (later !== undefined) end = missing(found.next, later, later, name);
      }
    }
    break;
  }
  const own = lastSegmentNumber(parseLsn(backup.stopLsn), segmentSize);
  const consistent = last !== undefined && last.number >= own;
  return { backup, line: lineage.timeline, stretches, last, unfinished, end, consistent };
}

/** Whether something can be made of what there is of a segment: slices from its first byte on, or a partial one. */
export function holdsWal({ slices, partial }: OpenSegment): boolean {
  return partial || slices.some(({ from, to }) => from === 0 && to >= SEGMENT_HEADER_BYTES);
}

function missing(
  from: bigint,
  until: bigint,
  behind: bigint | undefined,
  name: (number: bigint) => string,
): Extract<RunEnd, { readonly kind: 'missing' }> {
  return {
    kind: 'missing',
    from: name(from),
    to: name(until - 1n),
    count: Number(until - from),
    behind: behind === undefined ? undefined : name(behind),
  };
}

/** A reason for people. */
export function describeEnd(end: RunEnd): string {
  switch (end.kind) {
    case 'end-of-archive':
      return 'end of the archive';
    case 'missing': {
      const names = end.count === 1 ? end.from : `${end.from} to ${end.to}`;
      return `${names} ${end.count === 1 ? 'is' : 'are'} missing${end.count > 2 ? ` (${end.count} segments)` : ''}`;
    }
    case 'conflict':
      return `${end.segment} is archived with two contents`;
    case 'damaged':
      return `${end.segment} is damaged: ${end.problem}`;
  }
}
