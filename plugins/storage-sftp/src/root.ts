import { ArchiveError, isArchiveError } from '@pgark/sdk';
import type { Stats } from 'ssh2';
import type { Connection } from './connection.ts';
import { isAbsent, mapped, present, sftpError, STATUS, statusOf } from './sftp-error.ts';

/** The folder of the temporary files, directly in the root. No key begins with it, so no object can be in it. */
export const TEMPORARY_FOLDER = '.pgark-tmp';

/** The set of folders known to be there is started anew at this size, so that it stays small for ever. */
const MOST_KNOWN = 10_000;

/** The folder of the archive on the server and the folders in it. Nothing of it is bound to one connection. */
export class Root {
  readonly path: string;
  readonly #mode: number;
  /** Whether `.pgark-tmp` was seen: a root that has lost it is not the one of before, its disk is not mounted. */
  #marked = false;
  #checked = false;
  readonly #known = new Set<string>();

  constructor(path: string, mode: number) {
    this.path = path === '/' ? '/' : path.replace(/\/+$/, '');
    this.#mode = mode;
  }

  /** The path on the server of a key or a part of one. */
  join(key: string): string {
    if (key === '') return this.path;
    return this.path === '/' ? `/${key}` : `${this.path}/${key}`;
  }

  /** Throws `STORAGE_MISCONFIGURED` unless the folder is there and is the one of the first call. */
  async check(connection: Connection): Promise<void> {
    const what = `looking up ${this.path}`;
    this.#checked = true;
    // As of before the look: what another call creates while it is under way was not lost.
    const marked = this.#marked;
    const [root, mark] = await Promise.all([
      present(connection.stat(this.path), what),
      present(connection.stat(this.join(TEMPORARY_FOLDER)), what),
    ]);
    if (root === undefined) {
      throw new ArchiveError('STORAGE_MISCONFIGURED', `the folder ${this.path} of the storage does not exist`, {
        hint: `Mount the disk it is on, or create it for a new archive, on the server: mkdir -p ${this.path}`,
      });
    }
    if (!isFolder(root)) {
      throw new ArchiveError('STORAGE_MISCONFIGURED', `${this.path}, the folder of the storage, is not a folder`);
    }
    if (mark !== undefined) this.#marked = true;
    else if (marked) {
      throw new ArchiveError('STORAGE_MISCONFIGURED', `the folder ${this.path} of the storage was replaced`, {
        hint: `Its ${TEMPORARY_FOLDER} is gone: check on the server that the disk is still mounted, then start the command again.`,
      });
    }
  }

  /** As {@link check} the first time: whoever has read from the archive must notice that it was replaced. */
  async checkOnce(connection: Connection): Promise<void> {
    if (!this.#checked) await this.check(connection);
  }

  /** Says that a file in `.pgark-tmp` could be made. */
  mark(): void {
    this.#marked = true;
  }

  /** As {@link check}, but creates the folder of a new archive if its parent is there, and the one of temporary files. */
  async create(connection: Connection): Promise<void> {
    if (!this.#marked) {
      await makeFolder(connection, this.path, this.#mode).catch((error: unknown) => {
        // What is in its place is said by check().
        if (!isArchiveError(error, 'STORAGE_INVALID_KEY')) throw error;
      });
    }
    await this.check(connection);
    // check() has thrown if the folder was there before, so nothing is made on the wrong disk.
    if (!this.#marked) await makeFolder(connection, this.join(TEMPORARY_FOLDER), this.#mode);
  }

  /**
   * Creates the folder of these parts with all its parents. False when a parent vanished on the way: another process prunes,
   * the caller tries again.
   */
  async ensureFolder(connection: Connection, parts: readonly string[]): Promise<boolean> {
    let folder = '';
    for (const part of parts) {
      folder = folder === '' ? part : `${folder}/${part}`;
      if (this.#known.has(folder)) continue;
      if (!(await makeFolder(connection, this.join(folder), this.#mode))) {
        this.forget(folder);
        await this.check(connection);
        return false;
      }
      if (this.#known.size >= MOST_KNOWN) this.#known.clear();
      this.#known.add(folder);
    }
    return true;
  }

  /** Forgets that a folder and its parents were there: one of them is gone. */
  forget(folder: string): void {
    for (let path = folder; path !== ''; path = parentOf(path)) this.#known.delete(path);
  }
}

/** The folder that a key or folder is in; empty for the root. */
export function parentOf(key: string): string {
  return key.slice(0, Math.max(0, key.lastIndexOf('/')));
}

/** Servers need not tell the mode; an object is then what is asked for as one. */
export function isFile(info: Stats): boolean {
  return (info.mode as number | undefined) === undefined || info.isFile();
}

export function isFolder(info: Stats): boolean {
  return (info.mode as number | undefined) === undefined || info.isDirectory();
}

/** False when the parent is not there, or the folder itself went away again. A folder that exists is fine; the protocol has no code of its own for that. */
async function makeFolder(connection: Connection, path: string, mode: number): Promise<boolean> {
  const what = `creating the folder ${path}`;
  try {
    await connection.mkdir(path, mode);
    return true;
  } catch (error) {
    if (isAbsent(error)) return false;
    const info = await present(connection.stat(path), what);
    if (info === undefined) {
      if (statusOf(error) !== STATUS.FAILURE) throw sftpError(error, what);
      if (await connection.isFull(parentPath(path))) throw full(what, error);
      // It was there when it was to be made, and pruned when it was looked for.
      return false;
    }
    if (isFolder(info)) return true;
    throw new ArchiveError('STORAGE_INVALID_KEY', `${what} failed: a file has this name`, {
      cause: error,
      hint: 'An object has the name of a folder that this key needs; use another name.',
    });
  }
}

function parentPath(path: string): string {
  const parent = path.replace(/\/?[^/]*$/, '');
  if (parent !== '') return parent;
  return path.startsWith('/') ? '/' : '.';
}

export function full(what: string, cause: unknown): ArchiveError {
  return new ArchiveError('STORAGE_FULL', `${what} failed: no space left on the server`, { cause });
}

/** The entries of a folder, or undefined when it is not there. */
export async function readFolder(
  connection: Connection,
  path: string,
): Promise<readonly { readonly name: string; readonly info: Stats }[] | undefined> {
  const what = `listing the folder ${path}`;
  const handle = await present(connection.opendir(path), what);
  if (handle === undefined) return undefined;
  try {
    const entries: { name: string; info: Stats }[] = [];
    // Not the library's way of reading all: with one request at a time a large folder does not look like a dead peer.
    for (;;) {
      const some = await mapped(connection.readdir(handle), what);
      if (some === undefined) return entries;
      for (const { filename, attrs } of some) entries.push({ name: filename, info: attrs });
    }
  } finally {
    // The result is there; a close that fails is the connection's end, of which the next request tells.
    connection.close(handle).catch(() => undefined);
  }
}
