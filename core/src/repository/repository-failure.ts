import { ArchiveError, isArchiveError, type ErrorCode } from '../contracts/errors.ts';

/** One of several repositories did not do what it was asked. */
export interface RepositoryFailure {
  /** Its name. */
  readonly repository: string;
  readonly error: ArchiveError;
}

/** Codes that say what is wrong with one object; all others are about the repository as a whole. */
const DAMAGE: ReadonlySet<ErrorCode> = new Set([
  'STORAGE_CORRUPT',
  'STORAGE_NOT_FOUND',
  'CODEC_CORRUPT',
  'CODEC_UNKNOWN',
  'CODEC_KEY',
  'BACKUP_CORRUPT',
  'WAL_INVALID',
]);

/** Whether an error is about the object that was read, so that the repository may be right in all else. */
export function isObjectFault(error: ArchiveError): boolean {
  return DAMAGE.has(error.code);
}

export function repositoryFailure(repository: string, error: unknown): RepositoryFailure {
  if (isArchiveError(error)) return { repository, error };
  const message = error instanceof Error ? error.message : String(error);
  return { repository, error: new ArchiveError('INTERNAL', `unexpected failure: ${message}`, { cause: error }) };
}

/** The message of a failure, with the name of the repository. */
export function failureText({ repository, error }: RepositoryFailure): string {
  const name = `repository ${repository}`;
  return error.message.includes(name) ? error.message : `${name}: ${error.message}`;
}

/**
 * One error for what failed in one repository or several: the messages of all; the code of a conflict, else that of the first which may
 * pass by itself, so that who can wait does, else of the first. `details.repository` is the repository that has the code.
 */
export function failureOf(failures: readonly [RepositoryFailure, ...RepositoryFailure[]]): ArchiveError {
  const chosen =
    failures.find(({ error }) => error.code === 'WAL_CONFLICT') ??
    failures.find(({ error }) => error.retriable) ??
    failures[0];
  const { code, hint, retriable, details } = chosen.error;
  return new ArchiveError(code, failures.map(failureText).join('; '), {
    hint,
    retriable,
    cause: chosen.error,
    details: { ...details, repository: chosen.repository },
  });
}
