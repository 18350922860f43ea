/** WAL that a repository lacks although it holds later WAL, as far as the newest backup needs it. */
import type { CallOptions } from '../contracts/storage.ts';
import { parseLsn } from '../postgres/lsn.ts';
import { parseHistory } from '../postgres/timeline.ts';
import { segmentName, segmentNumber, segmentNumberOf } from '../postgres/wal-file.ts';
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
}

export interface FoundHoles {
  /** Oldest first. */
  readonly holes: readonly WalHole[];
  /** The last segment that was seen; undefined when there was none. */
  readonly last: string | undefined;
}

/** The newest complete backup: what lies before it is in nobody's way. */
export function newestBackup(records: readonly BackupRecord[]): BackupRecord | undefined {
  return records.reduce<BackupRecord | undefined>(
    (best, record) => (best === undefined || Date.parse(record.stopTime) > Date.parse(best.stopTime) ? record : best),
    undefined,
  );
}

/**
 * The holes behind the start of the newest backup, or behind the first segment when there is none. Errors: those of the
 * repository; `REPOSITORY_FORMAT` for a history or a record that cannot be read.
 */
export async function findHoles(
  repository: Repository,
  systemId: string,
  options: FindHolesOptions,
): Promise<FoundHoles> {
  const { segmentSize, coming, ...call } = options;
  const archive = repository.wal(systemId);
  const entries = await repository.backups(systemId).list(call);
  const backup = newestBackup(entries.flatMap((entry) => (entry.state === 'complete' ? [entry.record] : [])));
  const present = new Map<number, { readonly first: bigint; readonly end: bigint }>();
  const holes: WalHole[] = [];
  let last: string | undefined;
  const timelines = (await archive.timelines(call)).filter((timeline) => timeline >= (backup?.timeline ?? 0));
  for (const timeline of timelines) {
    const from = timeline === backup?.timeline ? segmentNumber(parseLsn(backup.startLsn), segmentSize) : undefined;
    let first = from;
    let expected = from;
    const skip = (to: bigint): void => {
      while (expected !== undefined && expected < to && coming(timeline, expected)) expected += 1n;
    };
    for await (const { file } of archive.segments(timeline, { ...call, from: from ?? 0n, segmentSize })) {
      if (file.kind !== 'segment') continue;
      const number = segmentNumberOf(file, segmentSize);
      last = file.name;
      first ??= number;
      skip(number);
      if (expected !== undefined && number > expected) holes.push({ timeline, first: expected, last: number - 1n });
      expected = number + 1n;
    }
    if (first !== undefined && expected !== undefined && expected > first)
      present.set(timeline, { first, end: expected });
  }
  for (const timeline of timelines)
    holes.push(...(await holesAtFork(repository, systemId, timeline, present, options)));
  const order = (one: WalHole, other: WalHole): number =>
    one.timeline - other.timeline || (one.first < other.first ? -1 : 1);
  return { holes: holes.toSorted(order), last };
}

/** Where a timeline begins: the last whole segment of the one before it, and its own first one. */
async function holesAtFork(
  repository: Repository,
  systemId: string,
  timeline: number,
  present: ReadonlyMap<number, { readonly first: bigint; readonly end: bigint }>,
  { segmentSize, coming, ...call }: FindHolesOptions,
): Promise<readonly WalHole[]> {
  const own = present.get(timeline);
  const history = own === undefined ? undefined : await repository.wal(systemId).history(timeline, call);
  const fork = history === undefined ? undefined : parseHistory(history.content, `timeline ${timeline}`).at(-1);
  const parent = fork === undefined ? undefined : present.get(fork.timeline);
  // What lies before the newest backup is not looked at, so that nothing can be said of a fork there.
  if (own === undefined || fork === undefined || parent === undefined) return [];
  const at = segmentNumber(fork.end, segmentSize);
  const holes = [
    { timeline: fork.timeline, first: parent.end, last: at - 1n },
    { timeline, first: at, last: own.first - 1n },
  ];
  return holes.flatMap((hole) => {
    let { first } = hole;
    while (first <= hole.last && coming(hole.timeline, first)) first += 1n;
    return first <= hole.last ? [{ ...hole, first }] : [];
  });
}

/** `00000001000000000000000A to 00000001000000000000000C`. */
export function describeHole({ timeline, first, last }: WalHole, segmentSize: number): string {
  const [from, to] = [first, last].map((number) => segmentName(timeline, number, segmentSize));
  return from === to ? String(from) : `${String(from)} to ${String(to)}`;
}
