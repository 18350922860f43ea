/** What the data directory says that a WAL command runs in. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ArchiveError, errnoOf, isArchiveError } from '../contracts/errors.ts';
import { CONTROL_FILE_PATH, parseControlFile, type ControlFile } from '../postgres/control-file.ts';

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
