import { ArchiveError, errnoOf } from '../contracts/errors.ts';

const HINTS: Readonly<Record<string, string>> = {
  ENOSPC: 'Make space and run the same command again; it resumes.',
  EDQUOT: 'Raise the quota and run the same command again; it resumes.',
  EACCES: 'Run the command as the user of the server or as root.',
  EPERM: 'Run the command as the user of the server or as root.',
  EROFS: 'The file system is read-only: choose another folder.',
};

/** A failure of the file system, with what was being done. */
export function restoreError(error: unknown, what: string): ArchiveError {
  const errno = errnoOf(error);
  const hint = HINTS[errno ?? ''];
  return new ArchiveError('RESTORE_FAILED', `${what} failed: ${errno ?? String(error)}`, {
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  });
}
