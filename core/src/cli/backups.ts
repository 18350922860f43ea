/** Finding backups for the commands that show them. */
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import type { BackupEntry } from '../repository/backups.ts';
import type { Repository } from '../repository/repository.ts';

/** A backup and where it is. */
export type FoundBackup = BackupEntry & { readonly repository: Repository; readonly systemId: string };

/** Every backup of every repository, in the order of the repositories, then by age. A repository without the cluster has none. */
export async function findBackups(
  repositories: readonly Repository[],
  options: CallOptions,
): Promise<readonly FoundBackup[]> {
  const found: FoundBackup[] = [];
  for (const repository of repositories) {
    if (!(await holdsCluster(repository, options))) continue;
    for (const systemId of await repository.systemIds(options)) {
      for (const entry of await repository.backups(systemId).list(options))
        found.push({ ...entry, repository, systemId });
    }
  }
  return found;
}

async function holdsCluster(repository: Repository, options: CallOptions): Promise<boolean> {
  try {
    await repository.open(options);
    return true;
  } catch (error) {
    if (isArchiveError(error, 'REPOSITORY_NOT_FOUND')) return false;
    throw error;
  }
}

/** The backup of this id, or with `latest` the complete one that stopped last. Errors: `BACKUP_NOT_FOUND`. */
export function chooseBackup(backups: readonly FoundBackup[], id: string): FoundBackup {
  const chosen = id === 'latest' ? latest(backups) : backups.find((backup) => backup.id === id);
  if (chosen !== undefined) return chosen;
  throw new ArchiveError(
    'BACKUP_NOT_FOUND',
    id === 'latest' ? 'there is no complete backup' : `there is no backup ${id}`,
  );
}

function latest(backups: readonly FoundBackup[]): FoundBackup | undefined {
  let best: FoundBackup | undefined;
  for (const backup of backups) {
    if (backup.state === 'complete' && stopTime(backup) > stopTime(best)) best = backup;
  }
  return best;
}

function stopTime(backup: FoundBackup | undefined): number {
  return backup?.state === 'complete' ? Date.parse(backup.record.stopTime) : Number.NEGATIVE_INFINITY;
}
