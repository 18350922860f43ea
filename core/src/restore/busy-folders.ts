/** Folders that this process works in: of two restores in one process the number of the process, which the state file has, says nothing. */
import { resolve } from 'node:path';
import { ArchiveError } from '../contracts/errors.ts';

// One for the process, whoever asks: so is the number that it completes.
const busy = new Set<string>();

/** Works in folders that nobody else of this process works in. Errors: `RESTORE_TARGET_IN_USE`. */
export async function withFolders<Result>(folders: readonly string[], work: () => Promise<Result>): Promise<Result> {
  const paths = folders.map((folder) => resolve(folder));
  const taken = paths.find((path) => busy.has(path));
  if (taken !== undefined)
    throw new ArchiveError('RESTORE_TARGET_IN_USE', `this process works in ${taken} already`, {
      hint: 'Wait for that, or name another folder.',
    });
  for (const path of paths) busy.add(path);
  try {
    return await work();
  } finally {
    for (const path of paths) busy.delete(path);
  }
}
