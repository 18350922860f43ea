/** Which backups can lead to a target. */
import { ArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { parseLsn } from '../postgres/lsn.ts';
import type { BackupRecord } from '../repository/backup-record.ts';
import type { BackupEntry } from '../repository/backups.ts';
import type { Repository } from '../repository/repository.ts';
import { rangeOf, type Lineage } from './lineage.ts';

/** The backups of one cluster. */
export interface Candidates {
  readonly systemId: string;
  /** Complete ones, oldest stop first. */
  readonly records: readonly BackupRecord[];
  /** Backups that cannot be used, and why. */
  readonly warnings: readonly string[];
}

/**
 * Lists the complete backups of the cluster that is meant: the named one, that of the named backup, or the only one that has any.
 * Errors: `BACKUP_NOT_FOUND`, `USAGE` when several clusters have backups.
 */
export async function findBackups(
  repository: Repository,
  options: CallOptions & { readonly systemId?: string | undefined; readonly backup?: string | undefined },
): Promise<Candidates> {
  const { backup, signal } = options;
  const cancel = signal === undefined ? {} : { signal };
  const systems = options.systemId === undefined ? await repository.systemIds(cancel) : [options.systemId];
  const found: { readonly systemId: string; readonly entries: readonly BackupEntry[] }[] = [];
  for (const systemId of systems) {
    const entries = await repository.backups(systemId).list(cancel);
    if (backup === undefined ? entries.some(isComplete) : entries.some(({ id }) => id === backup))
      found.push({ systemId, entries });
  }
  const [only] = found;
  if (only === undefined) {
    if (backup !== undefined) throw new ArchiveError('BACKUP_NOT_FOUND', `there is no backup ${backup}`);
    throw new ArchiveError(
      'BACKUP_NOT_FOUND',
      `repository ${repository.name} has no complete backup of "${repository.cluster}"`,
      {
        hint: 'Take one with "pgark backup"; one that was interrupted cannot be restored.',
      },
    );
  }
  if (found.length > 1)
    throw new ArchiveError('USAGE', `the archive holds backups of several clusters under this name`, {
      hint: `Choose one with --system-id: ${found.map(newest).join('; ')}.`,
    });
  const records = only.entries.filter(isComplete).map(({ record }) => record);
  return {
    systemId: only.systemId,
    records: records.sort((one, other) => (parseLsn(one.stopLsn) < parseLsn(other.stopLsn) ? -1 : 1)),
    warnings: only.entries.flatMap((entry) =>
      entry.state === 'unreadable' ? [`backup ${entry.id} is passed over: ${entry.error.message}`] : [],
    ),
  };
}

function isComplete(entry: BackupEntry): entry is Extract<BackupEntry, { readonly state: 'complete' }> {
  return entry.state === 'complete';
}

function newest({
  systemId,
  entries,
}: {
  readonly systemId: string;
  readonly entries: readonly BackupEntry[];
}): string {
  const last = entries.findLast(isComplete);
  return `${systemId} (newest backup ${last?.record.stopTime ?? 'unknown'})`;
}

/** Whether the backup's end lies on the line, so that the line's WAL continues it. */
export function isOnLine(record: BackupRecord, lineage: Lineage): boolean {
  return rangeOf(lineage, record.stopTimeline, parseLsn(record.stopLsn)) !== undefined;
}
