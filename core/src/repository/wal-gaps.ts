/** Gaps in the WAL that are on record, and what they still mean. */
import type { CallOptions } from '../contracts/storage.ts';
import { formatLsn, parseLsn } from '../postgres/lsn.ts';
import { segmentNumber, segmentNumberOf } from '../postgres/wal-file.ts';
import type { BackupRecord } from './backup-record.ts';
import type { Fact } from './facts.ts';
import type { Repository } from './repository.ts';

/** WAL that was lost, as a fact of the WAL records it: `from` and `to` are starts of segments. */
export interface RecordedGap {
  readonly timeline: number;
  /** That of `to`. */
  readonly toTimeline: number;
  readonly from: bigint;
  readonly to: bigint;
}

/** The gaps among the facts of the WAL. */
export function gapsAmong(facts: readonly Fact[]): readonly RecordedGap[] {
  return facts
    .filter(({ kind }) => kind === 'gap')
    .map(({ data }) => ({
      timeline: Number(data['timeline']),
      toTimeline: Number(data['to_timeline'] ?? data['timeline']),
      from: parseLsn(String(data['from'])),
      to: parseLsn(String(data['to'])),
    }));
}

/** Whether all of the second gap lies in the first one. */
export function covers(gap: RecordedGap, other: RecordedGap): boolean {
  return (
    gap.timeline === other.timeline &&
    gap.toTimeline === other.toTimeline &&
    gap.from <= other.from &&
    gap.to >= other.to
  );
}

/** One gap for those that touch or overlap on one timeline: segments that were let go one by one are one loss. */
export function joinGaps(gaps: readonly RecordedGap[]): readonly RecordedGap[] {
  const order = ({ timeline, from }: RecordedGap, other: RecordedGap): number =>
    timeline - other.timeline || (from < other.from ? -1 : from > other.from ? 1 : 0);
  const joined: RecordedGap[] = [];
  for (const gap of gaps.toSorted(order)) {
    const last = joined.at(-1);
    const single = gap.timeline === gap.toTimeline && last?.timeline === last?.toTimeline;
    if (last !== undefined && single && last.timeline === gap.timeline && gap.from <= last.to)
      joined[joined.length - 1] = { ...last, to: gap.to > last.to ? gap.to : last.to };
    else joined.push(gap);
  }
  return joined;
}

type Begin = Pick<BackupRecord, 'timeline' | 'startLsn'>;

/** Whether a backup was taken behind a gap, so that its WAL does not lead through it. */
export function isBehind(backup: Begin, gap: RecordedGap): boolean {
  return backup.timeline >= gap.toTimeline && parseLsn(backup.startLsn) >= gap.to;
}

/** Gaps that a backup cannot be rolled forward past: those that begin behind its start. */
export function gapsInTheWayOf<Gap extends RecordedGap>(backup: Begin, gaps: readonly Gap[]): readonly Gap[] {
  const start = parseLsn(backup.startLsn);
  return gaps.filter((gap) => !isBehind(backup, gap) && gap.timeline >= backup.timeline && gap.to > start);
}

/**
 * The gaps on record in a repository that are still gaps: WAL that came later, as from the spool of another receiver or by a copy, has
 * closed the others. One whose segments cannot be counted, for the size of a segment is not known or it leads from one timeline to
 * another, counts as open. Those that touch are one. Errors: `REPOSITORY_FORMAT`, those of the storage.
 */
export async function openGaps(
  repository: Repository,
  systemId: string,
  { segmentSize, ...call }: CallOptions & { readonly segmentSize: number | undefined },
): Promise<readonly RecordedGap[]> {
  const open: RecordedGap[] = [];
  for (const gap of gapsAmong(await repository.facts(systemId).list('wal', call))) {
    const { timeline, toTimeline, from, to } = gap;
    const countable = segmentSize !== undefined && timeline === toTimeline;
    if (!countable || !(await holdsAll(repository, systemId, { timeline, from, to }, { ...call, segmentSize })))
      open.push(gap);
  }
  return joinGaps(open);
}

/** Whether a repository holds every segment from one LSN up to another. */
async function holdsAll(
  repository: Repository,
  systemId: string,
  { timeline, from, to }: Omit<RecordedGap, 'toTimeline'>,
  options: CallOptions & { readonly segmentSize: number },
): Promise<boolean> {
  const { segmentSize } = options;
  const end = segmentNumber(to, segmentSize);
  let expected = segmentNumber(from, segmentSize);
  for await (const { file } of repository.wal(systemId).segments(timeline, { ...options, from: expected })) {
    if (expected >= end) break;
    if (file.kind !== 'segment') continue;
    const number = segmentNumberOf(file, segmentSize);
    if (number > expected) return false;
    expected = number + 1n;
  }
  return expected >= end;
}

/** A gap for people: `0/5000000 to 0/7000000 on timeline 1`. */
export function describeGap({ timeline, toTimeline, from, to }: RecordedGap): string {
  const range = `${formatLsn(from)} to ${formatLsn(to)}`;
  return timeline === toTimeline
    ? `${range} on timeline ${timeline}`
    : `${range}, timeline ${timeline} to ${toTimeline}`;
}
