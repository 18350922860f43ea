import { ArchiveError, errnoOf } from '../contracts/errors.ts';

/**
 * Whether a failed look into the spool means that nothing is there. What could not be looked at is not nothing: it may be the
 * last WAL there is, so it is `SPOOL_INVALID`, and a recovery must not end without it.
 */
export function isAbsentInSpool(error: unknown, path: string): boolean {
  const errno = errnoOf(error);
  if (errno === 'ENOENT' || errno === 'ENOTDIR') return true;
  throw new ArchiveError('SPOOL_INVALID', `cannot read ${path} in the spool: ${errno ?? String(error)}`, {
    cause: error,
    hint:
      errno === 'EACCES'
        ? 'It may hold the last WAL. Run the receiver as the user of the server, or let that user read receive.spool.'
        : 'It may hold the last WAL. Check the disk of receive.spool.',
  });
}
