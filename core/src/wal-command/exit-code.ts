import type { ArchiveError } from '../contracts/errors.ts';
import type { RecoveryMode } from './recovery-mode.ts';

/** See {@link fetchExitCode}. */
export function failedFetchCode(mode: RecoveryMode): number {
  return mode === 'recovery' ? 255 : 2;
}

/**
 * The exit code of a failed `wal-fetch`. In a recovery, 1 to 125 would mean the end of the archive: PostgreSQL would promote a
 * truncated cluster; above 125 it stops. On a standby that would stop the standby, which better asks again (PostgreSQL source:
 * `RestoreArchivedFile`).
 */
export function fetchExitCode(error: ArchiveError, mode: RecoveryMode, terminated: boolean): number {
  if (terminated && error.code === 'ABORTED') return 143;
  return failedFetchCode(mode);
}

/** Above it PostgreSQL takes an exit code of `wal-push` for a death of its archiver, and does not count the failure. */
export const HIGHEST_PUSH_CODE = 125;

/** The exit code of a failed `wal-push`. */
export function pushExitCode(error: ArchiveError): number {
  return Math.min(error.exitCode, HIGHEST_PUSH_CODE);
}
