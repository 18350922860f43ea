import { mapOrdered } from '@pgark/sdk';
import type { Connection } from './connection.ts';
import { isFolder, parentOf, type Root } from './root.ts';
import { isAbsent, present, sftpError } from './sftp-error.ts';

/** How many objects are removed at once. */
const AT_ONCE = 16;

/** Removes the objects that are there, and folders that have become empty by it. */
export async function removeObjects(
  connection: Connection,
  root: Root,
  keys: readonly string[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const folders = new Set<string>();
  const work = async (key: string): Promise<string | undefined> =>
    (await removeFile(connection, root, key)) ? parentOf(key) : undefined;
  const options = { concurrency: AT_ONCE, what: 'removing objects', ...(signal === undefined ? {} : { signal }) };
  try {
    for await (const folder of mapOrdered(each(keys), work, options)) if (folder !== undefined) folders.add(folder);
  } finally {
    if (signal?.aborted !== true) for (const folder of folders) await prune(connection, root, folder);
  }
}

async function* each(keys: readonly string[]): AsyncGenerator<string, void, undefined> {
  yield* keys;
}

/** False when the file was not there. */
async function removeFile(connection: Connection, root: Root, key: string): Promise<boolean> {
  const path = root.join(key);
  try {
    await connection.unlink(path);
    return true;
  } catch (error) {
    if (isAbsent(error)) return false;
    // A folder is no object; the protocol has no code of its own for that.
    const info = await present(connection.stat(path), `looking up ${key}`);
    if (info === undefined || isFolder(info)) return false;
    throw sftpError(error, `removing ${key}`);
  }
}

/** Deletes folders that have become empty, upwards. rmdir takes no full one, so a `put` loses nothing by it. */
async function prune(connection: Connection, root: Root, folder: string): Promise<void> {
  for (let path = folder; path !== ''; path = parentOf(path)) {
    root.forget(path);
    try {
      await connection.rmdir(root.join(path));
    } catch (error) {
      // Mostly it is not empty. Whatever it is: a folder without objects is not to be seen in any call, so it may stay.
      if (!isAbsent(error)) return;
    }
  }
}
