/** Which backups of a repository are meant. */
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import type { BackupRecord } from '../repository/backup-record.ts';
import type { BackupEntry } from '../repository/backups.ts';
import type { Repository } from '../repository/repository.ts';
import { failureOf, namedAfter, within, type CopyFailure } from './failures.ts';

/** All complete backups, or those of these ids; `latest` is the complete one that stopped last. */
export type BackupChoice = 'all' | readonly string[];

export interface SelectedBackups {
  /** Complete ones, oldest first. */
  readonly records: readonly BackupRecord[];
  /** Backups whose record cannot be read. */
  readonly failures: readonly CopyFailure[];
}

/** Errors: `BACKUP_NOT_FOUND` when a named one is not there or not complete, or when there is none at all; those of the repository. */
export async function selectBackups(
  source: Repository,
  choice: BackupChoice,
  options: CallOptions = {},
): Promise<SelectedBackups> {
  const entries = await within(source, () => listAll(source, options));
  const chosen = choice === 'all' ? entries : [...new Set(choice.map((id) => find(source, entries, id)))];
  const records = chosen.flatMap((entry) => (entry.state === 'complete' ? [entry.record] : []));
  const failures = chosen.flatMap((entry) =>
    entry.state === 'unreadable' ? [failureOf(entry.id, namedAfter(source, entry.error))] : [],
  );
  if (records.length + failures.length === 0)
    throw new ArchiveError(
      'BACKUP_NOT_FOUND',
      `repository ${source.name} has no complete backup of cluster "${source.cluster}"`,
      { hint: 'Check --from and --to, and see "pgark list".' },
    );
  return { records: records.sort((one, other) => Date.parse(one.startTime) - Date.parse(other.startTime)), failures };
}

async function listAll(source: Repository, options: CallOptions): Promise<readonly BackupEntry[]> {
  await source.open(options);
  const entries: BackupEntry[] = [];
  for (const systemId of await source.systemIds(options))
    entries.push(...(await source.backups(systemId).list(options)));
  return entries;
}

function find(source: Repository, entries: readonly BackupEntry[], id: string): BackupEntry {
  const stop = (entry: BackupEntry): number =>
    entry.state === 'complete' ? Date.parse(entry.record.stopTime) : Number.NEGATIVE_INFINITY;
  const found =
    id === 'latest'
      ? entries.filter(({ state }) => state === 'complete').sort((one, other) => stop(other) - stop(one))[0]
      : entries.find((entry) => entry.id === id);
  if (found !== undefined && found.state !== 'incomplete') return found;
  const what = id === 'latest' ? 'no complete backup' : `no ${found === undefined ? '' : 'complete '}backup ${id}`;
  throw new ArchiveError('BACKUP_NOT_FOUND', `repository ${source.name} has ${what}`);
}

/** What a repository has under the id of a backup. Errors: `REPOSITORY_FORMAT`, those of the repository. */
export async function recordIn(
  repository: Repository,
  { systemId, id }: BackupRecord,
  options: CallOptions = {},
): Promise<BackupRecord | undefined> {
  try {
    return await within(repository, () => repository.backups(systemId).read(id, options));
  } catch (error) {
    if (isArchiveError(error, 'BACKUP_NOT_FOUND')) return undefined;
    throw error;
  }
}
