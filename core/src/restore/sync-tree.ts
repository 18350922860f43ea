import { constants } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import { restoreError } from './restore-error.ts';

/** Files that are synced at once. */
const PARALLEL = 16;

/** Makes a folder and all below it durable, except for files that are so already. Links are not followed. */
export async function syncTree(root: string, isDurable: (place: Buffer) => boolean): Promise<void> {
  const folders: Buffer[] = [Buffer.from(root)];
  const files: Buffer[] = [];
  for (let at = 0; at < folders.length; at++) {
    const folder = folders[at] as Buffer;
    try {
      for (const entry of await readdir(folder, { withFileTypes: true, encoding: 'buffer' })) {
        const path = Buffer.concat([folder, Buffer.from('/'), entry.name]);
        if (entry.isDirectory()) folders.push(path);
        else if (entry.isFile() && !isDurable(path)) files.push(path);
      }
    } catch (error) {
      throw restoreError(error, `reading ${folder.toString()}`);
    }
  }
  for (let at = 0; at < files.length; at += PARALLEL) await Promise.all(files.slice(at, at + PARALLEL).map(sync));
  // A folder after what is in it.
  for (const folder of folders.toReversed()) await sync(folder);
}

/** Makes a file, or the names in a folder, durable. */
export async function sync(path: Buffer | string): Promise<void> {
  try {
    const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw restoreError(error, `syncing ${path.toString()}`);
  }
}
