/** Finding backups for the operations that show them. */
import type { Config } from '../config/config.ts';
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { answersOf } from '../repository/all-answers.ts';
import type { BackupEntry } from '../repository/backups.ts';
import { failureOf, type RepositoryFailure } from '../repository/repository-failure.ts';
import type { Repository } from '../repository/repository.ts';
import type { OpeningOptions } from './workplace.ts';

/** A backup and where it is. */
export type FoundBackup = BackupEntry & { readonly repository: Repository; readonly systemId: string };

/** What the repositories hold, and which of them could not say. */
export interface FoundBackups {
  /** In the order of the repositories, then by age. */
  readonly backups: readonly FoundBackup[];
  readonly failures: readonly RepositoryFailure[];
}

/** Milliseconds in which the calls of one of several repositories are tried again: the others can be shown meanwhile. */
const TRIED_FOR = 15_000;

/** How operations open the archive that show what is there: with several repositories one that is down must not hold up the others for long. */
export function showingOptions({ repositories }: Pick<Config, 'repositories'>): Pick<OpeningOptions, 'retry'> {
  return repositories.length === 1 ? {} : { retry: { deadline: TRIED_FOR } };
}

/**
 * Every backup of every repository. A repository without the cluster has none; of several those that fail do not hide what the others
 * have. Errors: when all fail, theirs.
 */
export async function findBackups(
  repositories: readonly [Repository, ...Repository[]],
  options: CallOptions,
): Promise<FoundBackups> {
  if (repositories.length === 1) return { backups: await backupsOf(repositories[0], options), failures: [] };
  const { answers, failures } = await answersOf(repositories, (repository) => backupsOf(repository, options), options);
  const failure = failureAmong(failures);
  if (failure !== undefined && answers.length === 0) throw failure;
  return { backups: answers.flatMap(({ value }) => value), failures };
}

async function backupsOf(repository: Repository, options: CallOptions): Promise<readonly FoundBackup[]> {
  if (!(await holdsCluster(repository, options))) return [];
  const found: FoundBackup[] = [];
  for (const systemId of await repository.systemIds(options)) {
    for (const entry of await repository.backups(systemId).list(options))
      found.push({ ...entry, repository, systemId });
  }
  return found;
}

/** What an operation that has shown what it could falls short of. */
export function failureAmong([first, ...more]: readonly RepositoryFailure[]): ArchiveError | undefined {
  return first === undefined ? undefined : failureOf([first, ...more]);
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

/**
 * The backup of this id, or with `latest` the complete one that stopped last, from the first repository that has it complete. Errors:
 * `BACKUP_NOT_FOUND`; when it may be in a repository that failed, that failure.
 */
export function chooseBackup({ backups, failures }: FoundBackups, id: string): FoundBackup {
  const named = backups.filter((backup) => backup.id === id);
  const chosen = id === 'latest' ? latest(backups) : (named.find(({ state }) => state === 'complete') ?? named[0]);
  const failure = failureAmong(failures);
  if (chosen?.state !== 'complete' && failure !== undefined) throw failure;
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
