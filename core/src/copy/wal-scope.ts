/** Which WAL goes with some backups. */
import { requiredWalOf } from '../backup/required-wal.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { parseLsn } from '../postgres/lsn.ts';
import { historyName, segmentNumber } from '../postgres/wal-file.ts';
import type { BackupRecord } from '../repository/backup-record.ts';
import type { WalArchive } from '../repository/wal.ts';
import { readLineage } from '../restore/lineage.ts';
import { failureOf, type CopyFailure } from './failures.ts';
import type { WalStretch } from './wal-pairs.ts';

export interface WalScope {
  /** Timelines whose history files belong to it, ascending. */
  readonly histories: readonly number[];
  readonly stretches: readonly WalStretch[];
}

/**
 * What makes one backup consistent: every segment of the stretches must be there. Errors: `WAL_NOT_FOUND` without the history of a
 * timeline that began while it ran; those of the repository.
 */
export async function neededWal(backup: BackupRecord, wal: WalArchive, options: CallOptions = {}): Promise<WalScope> {
  const { histories, runs } = await requiredWalOf(backup, wal, options);
  const { segmentSize, stopTimeline } = backup;
  // No server needs the history of the line on which the backup ended to make it consistent, but every recovery asks for it.
  const own = stopTimeline > 1 && (await wal.find(historyName(stopTimeline), options)) !== undefined;
  return {
    histories: [...new Set([...histories, ...(own ? [stopTimeline] : [])])].sort((one, other) => one - other),
    stretches: runs.map((run) => ({ ...run, segmentSize })),
  };
}

export interface FollowingWal extends WalScope {
  /** Timelines whose history says nothing: their WAL is not part of it. */
  readonly failures: readonly CopyFailure[];
  readonly notes: readonly string[];
}

/**
 * All WAL that leads on from these backups, of one system: their timelines from their start to the end of the archive, and every timeline
 * that descends from there, from its fork.
 */
export async function followingWal(
  backups: readonly BackupRecord[],
  wal: WalArchive,
  options: CallOptions = {},
): Promise<FollowingWal> {
  const starts = new Map<number, WalStretch>();
  const failures: CopyFailure[] = [];
  const notes: string[] = [];
  const begin = (timeline: number, lsn: bigint, segmentSize: number): void => {
    const first = segmentNumber(lsn, segmentSize);
    const known = starts.get(timeline);
    if (known === undefined || first < known.first) starts.set(timeline, { timeline, first, segmentSize });
  };
  for (const { timeline, startLsn, segmentSize } of backups) begin(timeline, parseLsn(startLsn), segmentSize);
  for (const timeline of await wal.timelines(options)) {
    let ranges;
    try {
      const lineage = await readLineage(wal, timeline, options);
      ({ ranges } = lineage);
      if (lineage.historyMissing && !starts.has(timeline))
        notes.push(`the WAL of timeline ${timeline} is left out: its history file is not there`);
    } catch (error) {
      failures.push(failureOf(historyName(timeline), error));
      continue;
    }
    for (const backup of backups) {
      const start = parseLsn(backup.startLsn);
      const from = ranges.findIndex(
        (range) => range.timeline === backup.timeline && range.start <= start && (range.end ?? start) >= start,
      );
      if (from < 0) continue;
      for (const range of ranges.slice(from + 1)) begin(range.timeline, range.start, backup.segmentSize);
    }
  }
  const timelines = [...starts.keys()].sort((one, other) => one - other);
  const histories: number[] = [];
  for (const timeline of timelines)
    if (timeline > 1 && (await wal.find(historyName(timeline), options)) !== undefined) histories.push(timeline);
  const stretches = timelines.flatMap((timeline) => starts.get(timeline) ?? []);
  return { histories, stretches, failures, notes };
}
