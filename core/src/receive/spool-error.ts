import { ArchiveError, errnoOf } from '../contracts/errors.ts';

/** Runs a file operation and names its failure: `SPOOL_FULL`, or `SPOOL_UNAVAILABLE` for any other system error. */
export function guard<Value>(path: string, operation: () => Value): Value {
  try {
    return operation();
  } catch (error) {
    throw spoolError(path, error);
  }
}

/** A failed file operation in the spool as an error of the table; errors of the table pass. */
export function spoolError(path: string, error: unknown): unknown {
  const errno = errnoOf(error);
  if (errno === undefined || !/^E[A-Z0-9]+$/.test(errno)) return error;
  const full = errno === 'ENOSPC' || errno === 'EDQUOT';
  const text = full ? `no space left for ${path}` : `cannot use ${path}: ${(error as Error).message}`;
  return new ArchiveError(full ? 'SPOOL_FULL' : 'SPOOL_UNAVAILABLE', text, { cause: error });
}
