import { compareKeys, throwIfAborted, type ListOptions, type ObjectInfo } from '@pgark/sdk';
import type { Stats } from 'ssh2';
import type { Connection } from './connection.ts';
import { unlessAborted } from './pool.ts';
import { isFile, isFolder, readFolder, TEMPORARY_FOLDER, type Root } from './root.ts';
import { present } from './sftp-error.ts';

/** One name in a folder; the sort key of a folder ends with a slash, as the keys of what is in it go on with one. */
interface Entry {
  readonly key: string;
  readonly folder: boolean;
  readonly info: Stats;
}

/**
 * Walks the folders so that the keys come in the order of their bytes: `a-b` before `a/b`, because `-` is less than
 * `/`. Memory is bounded by one folder for each level. Sizes come with the names, without further requests.
 */
export async function* listFolder(
  connection: Connection,
  root: Root,
  prefix: string,
  options: ListOptions,
): AsyncGenerator<ObjectInfo, void, undefined> {
  const parts = prefix.split('/').slice(0, -1);
  // No key begins so, but the server would take such a path for one.
  if (parts[0] === TEMPORARY_FOLDER) return;
  if (parts.some((part) => part === '' || part === '.' || part === '..' || part.includes('\0'))) return;
  yield* walk(connection, root, parts.map((part) => `${part}/`).join(''), prefix, options);
}

async function* walk(
  connection: Connection,
  root: Root,
  folder: string,
  prefix: string,
  options: ListOptions,
): AsyncGenerator<ObjectInfo, void, undefined> {
  const what = `listing ${prefix}`;
  throwIfAborted(options.signal, what);
  const entries = await unlessAborted(
    entriesOf(connection, root, folder, prefix, options.startAfter),
    options.signal,
    what,
  );
  for (const { key, folder, info } of entries) {
    throwIfAborted(options.signal, what);
    if (folder) yield* walk(connection, root, key, prefix, options);
    else yield { key, size: info.size, modified: info.mtime * 1000 };
  }
}

async function entriesOf(
  connection: Connection,
  root: Root,
  folder: string,
  prefix: string,
  startAfter: string | undefined,
): Promise<readonly Entry[]> {
  const found = await readFolder(connection, root.join(folder.slice(0, -1)));
  if (found === undefined) {
    // Pruned meanwhile, or never there; but not when all of the storage has gone.
    await root.check(connection);
    return [];
  }
  const entries: Entry[] = [];
  for (const { name, info } of found) {
    const entry = await entryOf(connection, root, `${folder}${name}`, info);
    if (entry !== undefined && isWanted(entry, prefix, startAfter)) entries.push(entry);
  }
  return entries.sort((left, right) => compareKeys(left.key, right.key));
}

async function entryOf(connection: Connection, root: Root, key: string, listed: Stats): Promise<Entry | undefined> {
  if (key === TEMPORARY_FOLDER) return undefined;
  // A symbolic link counts as what it points to; some servers do not tell the type in a listing.
  const told = (listed.mode as number | undefined) !== undefined && !listed.isSymbolicLink();
  const info = told ? listed : await present(connection.stat(root.join(key)), `looking up ${key}`);
  if (info === undefined) return undefined;
  if (isFile(info)) return { key, folder: false, info };
  return isFolder(info) ? { key: `${key}/`, folder: true, info } : undefined;
}

function isWanted(entry: Entry, prefix: string, startAfter: string | undefined): boolean {
  const inPrefix = entry.key.startsWith(prefix) || (entry.folder && prefix.startsWith(entry.key));
  if (!inPrefix || startAfter === undefined) return inPrefix;
  return compareKeys(entry.key, startAfter) > 0 || (entry.folder && startAfter.startsWith(entry.key));
}
