import type { CallOptions } from '../contracts/storage.ts';
import { parseLsn } from '../postgres/lsn.ts';
import { segmentName, segmentNumber } from '../postgres/wal-file.ts';
import type { BackupRecord } from '../repository/backup-record.ts';
import {
  backupsPrefix,
  behindRuns,
  factsPrefix,
  markerKey,
  runsPrefix,
  walFrom,
  walPrefix,
  historyPrefix,
  timesPrefix,
} from '../repository/layout.ts';
import type { Repository } from '../repository/repository.ts';
import type { KeyRange } from './extend-locks.ts';

export interface NeededRangesOptions extends CallOptions {
  readonly repository: Repository;
  readonly systemId: string;
  /** Ids of the backups that are kept; default: all that are complete or cannot be read. */
  readonly kept?: ReadonlySet<string>;
}

/**
 * Where everything lies that the kept backups need: their objects, all WAL from the first of them on, histories, facts and the marker of the
 * archive. Without a backup only the marker. Errors: those of the storage.
 */
export async function neededRanges(options: NeededRangesOptions): Promise<readonly KeyRange[]> {
  const { repository, systemId, kept, signal } = options;
  const { cluster } = repository;
  const call = signal === undefined ? {} : { signal };
  const marker = { prefix: markerKey(cluster) };
  const backups = (await repository.backups(systemId).list(call)).filter(
    ({ id, state }) => kept?.has(id) ?? (state === 'complete' || state === 'unreadable'),
  );
  const records = backups.flatMap((backup) => (backup.state === 'complete' ? [backup.record] : []));
  if (backups.length === 0) return [marker];
  const wal = walPrefix(cluster, systemId);
  const first = firstOf(records);
  const timelines = await repository.wal(systemId).timelines(call);
  return [
    marker,
    ...backups.map(({ id }) => ({ prefix: `${backupsPrefix(cluster, systemId)}${id}/` })),
    // No backup needs what is on record of runs: their own locks end.
    { prefix: factsPrefix(cluster, systemId), before: runsPrefix(cluster, systemId) },
    { prefix: factsPrefix(cluster, systemId), startAfter: behindRuns(cluster, systemId) },
    { prefix: timesPrefix(cluster, systemId) },
    // A backup whose record cannot be read may need any of it.
    ...(first === undefined || records.length < backups.length
      ? [{ prefix: wal }]
      : timelines.flatMap((timeline) => [{ prefix: wal + historyPrefix(timeline) }, walRange(wal, timeline, first)])),
  ];
}

/** The backup that begins first in the WAL. */
function firstOf(records: readonly BackupRecord[]): BackupRecord | undefined {
  let first: BackupRecord | undefined;
  for (const record of records) {
    if (first === undefined || parseLsn(record.startLsn) < parseLsn(first.startLsn)) first = record;
  }
  return first;
}

/** On every timeline from the same position on: what lies before it on another one leads to none of the backups. */
function walRange(prefix: string, timeline: number, { startLsn, segmentSize }: BackupRecord): KeyRange {
  const name = segmentName(timeline, segmentNumber(parseLsn(startLsn), segmentSize), segmentSize);
  const { folder, startAfter } = walFrom(name);
  return { prefix: prefix + folder, startAfter: prefix + startAfter };
}
