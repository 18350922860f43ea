/** After a backup: the locks of all that the kept backups need are to last. */
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { Logger } from '../contracts/plugin.ts';
import type { Repository } from '../repository/repository.ts';
import { failureOf, repositoryFailure, type RepositoryFailure } from '../repository/repository-failure.ts';

export interface ExtendingOptions {
  readonly systemId: string;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: LockProgress) => void;
}

/** How far locks are extended in one repository. */
export interface LockProgress {
  readonly stage: 'locking';
  readonly repository: string;
  /** Objects that were looked at, and of those whose lock was extended. */
  readonly looked: number;
  readonly extended: number;
}

/**
 * Extends locks in those repositories that lock, each for itself, and gives the error of those that failed: the backup is complete without it
 * (H-73). Errors: `ABORTED`.
 */
export async function extendLocksOf(
  repositories: readonly Repository[],
  { systemId, logger, signal, onProgress }: ExtendingOptions,
): Promise<ArchiveError | undefined> {
  const locking = repositories.filter(({ lock }) => lock !== undefined);
  if (locking.length === 0) return undefined;
  const [{ extendLocks }, { neededRanges }] = await Promise.all([
    import('../retention/extend-locks.ts'),
    import('../retention/needed-ranges.ts'),
  ]);
  const failures: RepositoryFailure[] = [];
  for (const repository of locking) {
    const { name } = repository;
    try {
      const ranges = await neededRanges({ repository, systemId, signal });
      const { objects, looked, extended, until, gone } = await extendLocks({
        repository,
        systemId,
        ranges,
        signal,
        onProgress: (progress) =>
          onProgress?.({ stage: 'locking', repository: name, looked: progress.looked, extended: progress.extended }),
      });
      const what = `${count(extended, 'lock')} extended to ${until.toISOString()}, ${count(objects, 'object')} needed, ${looked} looked at`;
      logger.info({ repository: name, objects, looked, extended }, `repository ${name}: ${what}`);
      if (gone.length > 0)
        logger.warn(
          { repository: name, gone: gone.slice(0, 10) },
          `repository ${name}: ${gone.length} were gone before`,
        );
    } catch (error) {
      if (isArchiveError(error, 'ABORTED')) throw error;
      failures.push(repositoryFailure(name, error));
    }
  }
  const [first, ...more] = failures;
  if (first === undefined) return undefined;
  const failure = failureOf([first, ...more]);
  return new ArchiveError(failure.code, `locks of older objects were not extended: ${failure.message}`, {
    hint: `The backup is complete. ${failure.hint} The next backup extends them too, while they last.`,
    cause: failure,
    retriable: failure.retriable,
    details: failure.details,
  });
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
