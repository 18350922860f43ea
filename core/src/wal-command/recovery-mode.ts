/** Which folder a WAL command runs in, and whether a recovery asks. Loads nothing: the client of the agent needs it. */
import { statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

/** What PostgreSQL does with the exit code of `restore_command`: see `fetchExitCode`. */
export type RecoveryMode = 'recovery' | 'standby' | 'none';

/**
 * The folders that may be the data directory of a command with this `%p`: PostgreSQL runs it there with a path relative to it;
 * other callers give an absolute path.
 */
export function dataDirectories(path: string | undefined, cwd: string): readonly string[] {
  const ofPath = path === undefined ? cwd : dirname(dirname(resolve(cwd, path)));
  return [...new Set([cwd, ofPath])];
}

/**
 * Whether a recovery or a standby asks, from the signal files, of which `standby.signal` goes before (PostgreSQL docs, 20.5.6). A
 * folder that cannot be looked into may have either: it counts as a recovery, which a wrong answer would truncate.
 */
export function recoveryMode(directories: readonly string[]): RecoveryMode {
  if (directories.some((directory) => signalFile(directory, 'standby.signal') === 'there')) return 'standby';
  return directories.some((directory) => signalFile(directory, 'recovery.signal') !== 'absent') ? 'recovery' : 'none';
}

function signalFile(directory: string, name: string): 'there' | 'absent' | 'unknown' {
  try {
    return statSync(join(directory, name), { throwIfNoEntry: false }) === undefined ? 'absent' : 'there';
  } catch {
    return 'unknown';
  }
}
