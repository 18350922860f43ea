import type { ArchiveError } from '../contracts/errors.ts';
import type { RecoveryMode } from './data-directory.ts';

/**
 * The exit code of a failed `wal-fetch`. In a recovery, 1 to 125 would mean the end of the archive: PostgreSQL would promote a
 * truncated cluster; above 125 it stops. On a standby that would stop the standby, which better asks again (PostgreSQL source:
 * `RestoreArchivedFile`).
 */
export function fetchExitCode(error: ArchiveError, mode: RecoveryMode, terminated: boolean): number {
  if (terminated && error.code === 'ABORTED') return 143;
  return mode === 'recovery' ? 255 : 2;
}
