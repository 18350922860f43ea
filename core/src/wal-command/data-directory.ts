/** What the data directory says that a WAL command runs in. */
import { statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ArchiveError, errnoOf, isArchiveError } from '../contracts/errors.ts';
import { CONTROL_FILE_PATH, parseControlFile, type ControlFile } from '../postgres/control-file.ts';

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

/** The control file of the first of these folders that has one. Errors: `BACKUP_CORRUPT`, `SERVER_UNSUPPORTED`. */
export async function findControlFile(directories: readonly string[]): Promise<ControlFile | undefined> {
  for (const directory of directories) {
    const found = await readControlFile(join(directory, CONTROL_FILE_PATH));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Reads of a file that the server may be writing. */
const ATTEMPTS = 5;

async function readControlFile(path: string): Promise<ControlFile | undefined> {
  for (let attempt = 1; ; attempt++) {
    try {
      return parseControlFile(await readFile(path), path);
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === 'ENOENT' || errno === 'ENOTDIR') return undefined;
      if (!isArchiveError(error))
        throw new ArchiveError('WAL_INVALID', `cannot read ${path}: ${errno}`, {
          cause: error,
          hint: 'Run the command as the user of the server, or name the cluster with --system-id.',
        });
      // The server writes the file in place: a reader may see half of it for a moment.
      if (error.code !== 'BACKUP_CORRUPT' || attempt === ATTEMPTS) throw error;
      await sleep(20);
    }
  }
}
