import { mkdir, open, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ArchiveError, errnoOf } from '@pgark/sdk';
import { fsError, present } from './fs-error.ts';

/** The set of folders known to be durable is started anew at this size, so that it stays small for ever. */
const MOST_KNOWN = 10_000;

/** The folder of the archive and the folders in it. */
export class Root {
  readonly path: string;
  readonly #mode: number;
  /** Device and inode at first sight: an unmounted disk leaves an empty folder of the same name behind. */
  #identity: string | undefined;
  /** Folders whose entry in their parent has been synced by this process. */
  readonly #durable = new Set<string>();

  constructor(path: string, mode: number) {
    this.path = path;
    this.#mode = mode;
  }

  /** Throws `STORAGE_MISCONFIGURED` unless the folder is there and is the one of the first call. */
  async check(): Promise<void> {
    const info = await present(stat(this.path, { bigint: true }), `looking up ${this.path}`);
    if (info === undefined) {
      throw new ArchiveError('STORAGE_MISCONFIGURED', `the folder ${this.path} of the storage does not exist`, {
        hint: `Mount the disk it is on, or create it for a new archive: mkdir -p ${this.path}`,
      });
    }
    if (!info.isDirectory()) {
      throw new ArchiveError('STORAGE_MISCONFIGURED', `${this.path}, the folder of the storage, is not a folder`);
    }
    const identity = `${info.dev}:${info.ino}`;
    this.#identity ??= identity;
    if (identity !== this.#identity) {
      throw new ArchiveError('STORAGE_MISCONFIGURED', `the folder ${this.path} of the storage was replaced`, {
        hint: 'Check that its disk is still mounted, then start the command again.',
      });
    }
  }

  /** As {@link check}, but creates the folder of a new archive if its parent is there. */
  async checkOrCreate(): Promise<void> {
    if (this.#identity === undefined && (await this.#create())) await syncFolder(dirname(this.path));
    await this.check();
  }

  async #create(): Promise<boolean> {
    try {
      await mkdir(this.path, { mode: this.#mode });
      return true;
    } catch (error) {
      // check() says what is wrong when the parent is missing. Anything but "exists" may still come with a folder
      // that is there: mkdir of a mount point below a parent without write permission gives EACCES.
      const errno = errnoOf(error);
      if (errno === 'EEXIST' || errno === 'ENOENT' || errno === 'ENOTDIR') return false;
      if ((await present(stat(this.path), `looking up ${this.path}`)) !== undefined) return false;
      throw fsError(error, `creating the folder ${this.path}`);
    }
  }

  /**
   * Creates the folder `parts` with all its parents and makes their names durable. False when a parent vanished on
   * the way: another process prunes, the caller tries again.
   */
  async ensureFolder(parts: readonly string[]): Promise<boolean> {
    let path = this.path;
    for (const part of parts) {
      const parent = path;
      path = join(parent, part);
      if (this.#durable.has(path)) continue;
      try {
        await mkdir(path, { mode: this.#mode });
      } catch (error) {
        const errno = errnoOf(error);
        if (errno === 'ENOENT') return this.#vanished(parent);
        if (errno !== 'EEXIST') throw fsError(error, `creating the folder ${path}`);
      }
      if (!(await syncFolder(parent))) return this.#vanished(parent);
      if (this.#durable.size >= MOST_KNOWN) this.#durable.clear();
      this.#durable.add(path);
    }
    return true;
  }

  async #vanished(folder: string): Promise<false> {
    this.forget(folder);
    await this.check();
    return false;
  }

  /** Makes durable that entries of a folder are gone, and so may be the folder itself and those above it. */
  async syncRemoval(folder: string): Promise<void> {
    let path = folder;
    while (!(await syncFolder(path)) && path !== this.path) path = dirname(path);
  }

  /** Forgets that a folder and its parents were made durable: one of them is gone. */
  forget(folder: string): void {
    for (let path = folder; path.length > this.path.length; path = dirname(path)) this.#durable.delete(path);
  }
}

/** Makes the entries of a folder durable. False when the folder is not there. */
export async function syncFolder(path: string): Promise<boolean> {
  const what = `syncing the folder ${path}`;
  const handle = await present(open(path, 'r'), what);
  if (handle === undefined) return false;
  try {
    await handle.sync();
  } catch (error) {
    const errno = errnoOf(error);
    // Some network file systems have no fsync of folders: there the names are durable, or not, without it.
    if (errno !== 'EINVAL' && errno !== 'ENOTSUP' && errno !== 'EOPNOTSUPP') throw fsError(error, what);
  } finally {
    await handle.close();
  }
  return true;
}
