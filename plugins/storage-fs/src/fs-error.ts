import { constants } from 'node:os';
import { ArchiveError, errnoOf, type ErrorCode } from '@pgark/sdk';

/** Codes of the system's errors that mean the same wherever they come from; what is not here may pass. */
const CODES: Readonly<Record<string, ErrorCode>> = {
  ENOSPC: 'STORAGE_FULL',
  EDQUOT: 'STORAGE_FULL',
  EFBIG: 'STORAGE_FULL',
  EACCES: 'STORAGE_DENIED',
  EPERM: 'STORAGE_DENIED',
  EROFS: 'STORAGE_DENIED',
  ENAMETOOLONG: 'STORAGE_INVALID_KEY',
  ENOTDIR: 'STORAGE_INVALID_KEY',
  EISDIR: 'STORAGE_INVALID_KEY',
  ELOOP: 'STORAGE_MISCONFIGURED',
};

const HINTS: Readonly<Record<string, string>> = {
  EFBIG: 'Raise the limit on the size of a file (ulimit -f), or use a file system that takes larger files.',
  EROFS: 'The file system is mounted read-only: look for errors of the disk in the system log, and remount it.',
  ENAMETOOLONG: 'File systems take at most 255 bytes between two slashes.',
  ENOTDIR: 'An object has the name of a folder that this key needs; use another name.',
  EISDIR: 'A folder has the name of this key; use another name.',
};

/** The {@link ArchiveError} for an error of the system met while `what` went on. */
export function fsError(error: unknown, what: string): ArchiveError {
  const errno = nameOf(error);
  const hint = HINTS[errno];
  return new ArchiveError(CODES[errno] ?? 'STORAGE_UNAVAILABLE', `${what} failed: ${errno}`, {
    cause: error,
    details: { errno },
    ...(hint === undefined ? {} : { hint }),
  });
}

/** The errno by name. libuv has no name for some, EDQUOT among them, and gives only the number. */
function nameOf(error: unknown): string {
  const number = (error as { errno?: unknown } | null | undefined)?.errno;
  const known = Object.entries(constants.errno).find(([, value]) => -value === number);
  return known?.[0] ?? errnoOf(error) ?? 'unknown error';
}

/** Waits for `promise`; an error of the system comes out as {@link fsError}. */
export async function mapped<Value>(promise: Promise<Value>, what: string): Promise<Value> {
  try {
    return await promise;
  } catch (error) {
    throw fsError(error, what);
  }
}

/** Waits for `promise`; undefined when it failed because no file is there. */
export async function present<Value>(promise: Promise<Value>, what: string): Promise<Value | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw fsError(error, what);
  }
}

/** Whether the system says that no file has this name; ENOTDIR is said when a part before the last is a file. */
export function isAbsent(error: unknown): boolean {
  const errno = errnoOf(error);
  return errno === 'ENOENT' || errno === 'ENOTDIR';
}
