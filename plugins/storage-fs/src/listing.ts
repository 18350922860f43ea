import { stat, type Dirent, type Stats } from 'node:fs';
import { readdir, stat as lookAt } from 'node:fs/promises';
import { join } from 'node:path';
import { compareKeys, throwIfAborted, type ListOptions, type ObjectInfo } from '@pgark/sdk';
import { fsError, isAbsent, present } from './fs-error.ts';
import type { Root } from './root.ts';
import { TEMPORARY_FOLDER } from './temporary-files.ts';

/** How many files are looked up at once. */
const AT_ONCE = 64;

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
  const entries = await entriesOf(root, folder, prefix);
  const wanted = entries.filter((entry) => isWanted(entry, prefix, options.startAfter));
  wanted.sort((left, right) => compareKeys(left.key, right.key));
  for (let at = 0; at < wanted.length;) {
    const entry = wanted[at] as Entry;
    if (entry.folder) {
      yield* walk(root, entry.key, prefix, options);
      at++;
      continue;
    }
    const end = wanted.findIndex((other, index) => index >= at && other.folder);
    const files = wanted.slice(at, end < 0 ? undefined : end);
    yield* lookUp(root, files, options);
    at += files.length;
  }
}

async function entriesOf(root: Root, folder: string, prefix: string): Promise<readonly Entry[]> {
  const path = join(root.path, folder);
  const found = await present(readdir(path, { withFileTypes: true }), `listing the folder ${path}`);
  if (found === undefined) {
    // Pruned meanwhile, or never there; but not when all of the storage has gone.
    await root.check();
    return [];
  }
  // By name first: one file of many is what most callers want.
  const near = found.filter(({ name }) => {
    const key = `${folder}${name}`;
    return key.startsWith(prefix) || prefix.startsWith(`${key}/`);
  });
  const entries = await Promise.all(near.map((dirent) => entryOf(root, folder, dirent)));
  return entries.filter((entry) => entry !== undefined && entry.key !== `${TEMPORARY_FOLDER}/`) as readonly Entry[];
}

async function entryOf(root: Root, folder: string, dirent: Dirent): Promise<Entry | undefined> {
  const key = `${folder}${dirent.name}`;
  if (dirent.isFile()) return { key, folder: false };
  if (dirent.isDirectory()) return { key: `${key}/`, folder: true };
  // A symbolic link counts as what it points to; some file systems do not tell the type at all.
  const path = join(root.path, key);
  const info = await present(lookAt(path), `looking up ${path}`);
  if (info?.isDirectory() === true) return { key: `${key}/`, folder: true };
  return info?.isFile() === true ? { key, folder: false } : undefined;
}

function isWanted(entry: Entry, prefix: string, startAfter: string | undefined): boolean {
  const inPrefix = entry.key.startsWith(prefix) || (entry.folder && prefix.startsWith(entry.key));
  if (!inPrefix || startAfter === undefined) return inPrefix;
  return compareKeys(entry.key, startAfter) > 0 || (entry.folder && startAfter.startsWith(entry.key));
}

/** The next files are looked up while the caller is busy with the last ones. */
async function* lookUp(
  root: Root,
  files: readonly Entry[],
  options: ListOptions,
): AsyncGenerator<ObjectInfo, void, undefined> {
  const begin = (at: number): Promise<readonly Found[]> | undefined => {
    if (at >= files.length) return undefined;
    const found = statAll(files.slice(at, at + AT_ONCE).map(({ key }) => `${root.path}/${key}`));
    found.catch(() => undefined); // looked at when its turn comes
    return found;
  };
  let next = begin(0);
  for (let at = 0; next !== undefined; at += AT_ONCE) {
    throwIfAborted(options.signal, 'listing objects');
    const infos = await next;
    next = begin(at + AT_ONCE);
    if (infos.includes(undefined)) await root.check();
    for (const [index, info] of infos.entries()) {
      const key = files[at + index]?.key;
      if (info === undefined || key === undefined) continue;
      throwIfAborted(options.signal, 'listing objects');
      yield { key, size: info.size, modified: info.mtimeMs };
    }
  }
}

/** Undefined for a file that is not there any more. */
type Found = Stats | undefined;

/** Looks up some files at once: one promise for all, for with a million of them those are what costs. */
function statAll(paths: readonly string[]): Promise<readonly Found[]> {
  return new Promise((resolve, reject) => {
    const found: Found[] = [];
    let left = paths.length;
    for (const [index, path] of paths.entries()) {
      stat(path, (error, info) => {
        if (error !== null && !isAbsent(error)) reject(fsError(error, `looking up ${path}`));
        found[index] = error === null ? info : undefined;
        left--;
        if (left === 0) resolve(found);
      });
    }
  });
}
