/** WAL that a repository lacks although it holds later WAL, as far as the newest backup needs it. */
import type { CallOptions } from '../contracts/storage.ts';
import { parseLsn } from '../postgres/lsn.ts';
import { ancestry, parseHistory, type TimelineRange } from '../postgres/timeline.ts';
import { historyName, segmentName, segmentNumber, segmentNumberOf } from '../postgres/wal-file.ts';
import type { BackupRecord } from '../repository/backup-record.ts';
import type { Repository } from '../repository/repository.ts';

/** Segments of one timeline, from the first to the last number. */
export interface WalHole {
  readonly timeline: number;
  readonly first: bigint;
  readonly last: bigint;
}

export interface FindHolesOptions extends CallOptions {
  readonly segmentSize: number;
  /** Segments, by timeline and number, that are on their way into the repository: they count as there. */
  readonly coming: (timeline: number, number: bigint) => boolean;
  /** Of the server: WAL of timelines that do not lead to it is in nobody's way. Default: the newest that is archived. */
  readonly timeline?: number | undefined;
}

export interface FoundHoles {
  /** Oldest first. */
  readonly holes: readonly WalHole[];
  /** The last segment that was seen; undefined when there was none. */
  readonly last: string | undefined;
  /** The name of a history that is missing, without which nobody knows how the backups lead to the server's timeline. */
  readonly lacksHistory: string | undefined;
}

/**
 * The holes behind the start of the newest backup that leads to the server's timeline, or behind the first segment when there is none. Errors:
 * those of the repository; `REPOSITORY_FORMAT`, `WAL_INVALID` for a record or a history that cannot be read.
 */
export async function findHoles(
  repository: Repository,
  systemId: string,
  options: FindHolesOptions,
): Promise<FoundHoles> {
  const { segmentSize, coming, timeline: current = Infinity, ...call } = options;
  const archive = repository.wal(systemId);
  const newest = (await archive.timelines(call)).findLast((timeline) => timeline <= current);
  if (newest === undefined) return { holes: [], last: undefined, lacksHistory: undefined };
  const { ranges, backup, lacksHistory } = await lineTo(repository, systemId, newest, call);
  const holes: WalHole[] = [];
  let last: string | undefined;
  /** Where the WAL of the timelines before ends. */
  let before: bigint | undefined;
  for (const [at, { timeline, start, end }] of ranges.entries()) {
    if (timeline < (backup?.timeline ?? 0)) continue;
    // Behind the end it is that of another server, and the segment with the end in it is a copy in the next timeline.
    const until = end === undefined ? undefined : segmentNumber(end, segmentSize);
    let expected = timeline === backup?.timeline ? segmentNumber(parseLsn(backup.startLsn), segmentSize) : undefined;
    const lacks = (on: number, to: bigint): void => {
      while (expected !== undefined && expected < to && coming(on, expected)) expected += 1n;
      if (expected !== undefined && expected < to) holes.push({ timeline: on, first: expected, last: to - 1n });
    };
    const listing = { ...call, from: expected ?? 0n, segmentSize };
    for await (const { file } of archive.segments(timeline, listing)) {
      if (file.kind !== 'segment') continue;
      const number = segmentNumberOf(file, segmentSize);
      if (until !== undefined && number >= until) break;
      if (expected === undefined && before !== undefined) {
        const fork = segmentNumber(start, segmentSize);
        expected = before;
        lacks(ranges[at - 1]?.timeline ?? timeline, fork);
        expected = fork;
      }
      last = file.name;
      lacks(timeline, number);
      expected = number + 1n;
    }
    before = expected ?? before;
  }
  const order = (one: WalHole, other: WalHole): number =>
    one.timeline - other.timeline || (one.first < other.first ? -1 : 1);
  return { holes: holes.toSorted(order), last, lacksHistory };
}

/** Which timelines lead to the one that counts, and the newest backup on them. */
interface Line {
  readonly ranges: readonly TimelineRange[];
  readonly backup: BackupRecord | undefined;
  readonly lacksHistory: string | undefined;
}

async function lineTo(repository: Repository, systemId: string, timeline: number, call: CallOptions): Promise<Line> {
  const name = historyName(timeline);
  const history = timeline === 1 ? undefined : await repository.wal(systemId).history(timeline, call);
  const ranges = ancestry(timeline, history === undefined ? [] : parseHistory(history.content, name));
  const entries = await repository.backups(systemId).list(call);
  const records = entries.flatMap((entry) => (entry.state === 'complete' ? [entry.record] : []));
  // By where they are, never by their times: a clock may have been wrong.
  const backup = records
    .filter((record) => leadsAlong(record, ranges))
    .toSorted(byPlace)
    .at(-1);
  const isLost = timeline > 1 && history === undefined && backup === undefined && records.length > 0;
  return { ranges, backup, lacksHistory: isLost ? name : undefined };
}

function leadsAlong({ stopTimeline, stopLsn }: BackupRecord, ranges: readonly TimelineRange[]): boolean {
  const range = ranges.find((candidate) => candidate.timeline === stopTimeline);
  const stop = parseLsn(stopLsn);
  return range !== undefined && stop >= range.start && (range.end === undefined || stop <= range.end);
}

function byPlace(one: BackupRecord, other: BackupRecord): number {
  return one.stopTimeline - other.stopTimeline || (parseLsn(one.stopLsn) < parseLsn(other.stopLsn) ? -1 : 1);
}

/** `00000001000000000000000A to 00000001000000000000000C`. */
export function describeHole({ timeline, first, last }: WalHole, segmentSize: number): string {
  const [from, to] = [first, last].map((number) => segmentName(timeline, number, segmentSize));
  return from === to ? String(from) : `${String(from)} to ${String(to)}`;
}
