import { ArchiveError, errnoOf, type ErrorCode } from '@pgark/sdk';

/** What an error of the back end means to pgark. What is not here may pass, and is tried again. */
const CODES: Readonly<Record<string, ErrorCode>> = {
  EACCES: 'STORAGE_DENIED',
  EPERM: 'STORAGE_DENIED',
  EROFS: 'STORAGE_DENIED',
  ENOSPC: 'STORAGE_FULL',
  EDQUOT: 'STORAGE_FULL',
  ENAMETOOLONG: 'STORAGE_INVALID_KEY',
};

/** The {@link ArchiveError} for an error of the back end met while `what` went on. */
export function failure(error: unknown, what: string): ArchiveError {
  const errno = errnoOf(error) ?? 'unknown error';
  return new ArchiveError(CODES[errno] ?? 'STORAGE_UNAVAILABLE', `${what} failed: ${errno}`, { cause: error });
}

/** Waits for an answer of the back end; its errors come out as {@link failure}. */
export async function answered<Value>(answer: Promise<Value>, what: string): Promise<Value> {
  try {
    return await answer;
  } catch (error) {
    throw failure(error, what);
  }
}
