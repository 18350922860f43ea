import type { Dirent } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { compareKeys, throwIfAborted, type ListOptions, type ObjectInfo } from '@pgark/sdk';
import { present } from './fs-error.ts';
import type { Root } from './root.ts';
import { TEMPORARY_FOLDER } from './temporary-files.ts';

/** How many files are looked up at once. */
const AT_ONCE = 32;

/** One name in a folder; the sort key of a folder ends with a slash, as the keys of what is in it go on with one. */
interface Entry {
  readonly key: string;
  readonly folder: boolean;
}

/**
 * Walks the folders so that the keys come in the order of their bytes: `a-b` before `a/b`, because `-` is less than
 * `/`. Memory is bounded by one folder for each level.
 */
export async function* listFolder(
  root: Root,
  prefix: string,
  options: ListOptions,
): AsyncGenerator<ObjectInfo, void, undefined> {
  const parts = prefix.split('/').slice(0, -1);
  // No key begins so, but the system would take such a path for one.
  if (parts[0] === TEMPORARY_FOLDER) return;
  if (parts.some((part) => part === '' || part === '.' || part === '..' || part.includes('\0'))) return;
  yield* walk(root, parts.map((part) => `${part}/`).join(''), prefix, options);
}

async function* walk(
  root: Root,
  folder: string,
  prefix: string,
  options: ListOptions,
): AsyncGenerator<ObjectInfo, void, undefined> {
  throwIfAborted(options.signal, `listing ${prefix}`);
  const entries = await entriesOf(root, folder);
  const wanted = entries.filter((entry) => isWanted(entry, prefix, options.startAfter));
  wanted.sort((left, right) => compareKeys(left.key, right.key));
  let batch: Entry[] = [];
  for (const entry of wanted) {
    if (!entry.folder) {
      batch.push(entry);
      if (batch.length < AT_ONCE) continue;
    }
    yield* lookUp(root, batch, options);
    batch = [];
    if (entry.folder) yield* walk(root, entry.key, prefix, options);
  }
  yield* lookUp(root, batch, options);
}

async function entriesOf(root: Root, folder: string): Promise<readonly Entry[]> {
  const path = join(root.path, folder);
  const found = await present(readdir(path, { withFileTypes: true }), `listing the folder ${path}`);
  if (found === undefined) {
    // Pruned meanwhile, or never there; but not when all of the storage has gone.
    await root.check();
    return [];
  }
  const entries = await Promise.all(found.map((dirent) => entryOf(root, folder, dirent)));
  return entries.filter((entry) => entry !== undefined && entry.key !== `${TEMPORARY_FOLDER}/`) as readonly Entry[];
}

async function entryOf(root: Root, folder: string, dirent: Dirent): Promise<Entry | undefined> {
  const key = `${folder}${dirent.name}`;
  if (dirent.isFile()) return { key, folder: false };
  if (dirent.isDirectory()) return { key: `${key}/`, folder: true };
  // A symbolic link counts as what it points to; some file systems do not tell the type at all.
  const path = join(root.path, key);
  const info = await present(stat(path), `looking up ${path}`);
  if (info?.isDirectory() === true) return { key: `${key}/`, folder: true };
  return info?.isFile() === true ? { key, folder: false } : undefined;
}

function isWanted(entry: Entry, prefix: string, startAfter: string | undefined): boolean {
  const inPrefix = entry.key.startsWith(prefix) || (entry.folder && prefix.startsWith(entry.key));
  if (!inPrefix || startAfter === undefined) return inPrefix;
  return compareKeys(entry.key, startAfter) > 0 || (entry.folder && startAfter.startsWith(entry.key));
}

async function* lookUp(
  root: Root,
  batch: readonly Entry[],
  options: ListOptions,
): AsyncGenerator<ObjectInfo, void, undefined> {
  if (batch.length === 0) return;
  throwIfAborted(options.signal, 'listing objects');
  const infos = await Promise.all(batch.map(({ key }) => present(stat(join(root.path, key)), `looking up ${key}`)));
  if (infos.includes(undefined)) await root.check();
  for (const [index, info] of infos.entries()) {
    const key = batch[index]?.key;
    if (info === undefined || key === undefined) continue;
    throwIfAborted(options.signal, 'listing objects');
    yield { key, size: info.size, modified: info.mtimeMs };
  }
}
