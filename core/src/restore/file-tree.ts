/** Writes files below a folder, and never anywhere else. */
import { constants } from 'node:fs';
import { chmod, lchown, lstat, mkdir, open, readlink, symlink, type FileHandle } from 'node:fs/promises';
import { ArchiveError, errnoOf } from '../contracts/errors.ts';
import { pathFault } from '../postgres/cluster-path.ts';
import { textToBytes } from '../postgres/lossless-text.ts';
import type { Owner } from './owner.ts';
import { restoreError } from './restore-error.ts';

const { O_CREAT, O_NOFOLLOW, O_TRUNC, O_WRONLY } = constants;

/** A folder that a backup is unpacked into. Paths are those of `cluster-path.ts`; symlinks on the way are refused. */
export class FileTree {
  readonly root: string;
  readonly #rootBytes: Buffer;
  readonly #owner: Owner | undefined;
  readonly #directoryMode: number;
  /** Folders that are known to be real ones. */
  readonly #directories = new Set<string>(['']);

  constructor(root: string, options: { readonly owner: Owner | undefined; readonly directoryMode: number }) {
    this.root = root;
    this.#rootBytes = Buffer.from(root);
    this.#owner = options.owner;
    this.#directoryMode = options.directoryMode;
  }

  /** Gives the folder itself to its owner. */
  static async own(
    root: string,
    { owner, mode }: { readonly owner: Owner | undefined; readonly mode: number },
  ): Promise<void> {
    try {
      await chmod(root, mode);
      if (owner !== undefined) await lchown(root, owner.uid, owner.gid);
    } catch (error) {
      throw restoreError(error, `setting the owner of ${root}`);
    }
  }

  /** The place of a path in the file system; bytes, because names need not be text. */
  place(path: string): Buffer {
    const fault = pathFault(path);
    if (fault !== undefined)
      throw new ArchiveError('BACKUP_CORRUPT', `the path of an entry ${fault}: ${JSON.stringify(path)}`);
    return Buffer.concat([this.#rootBytes, Buffer.from('/'), textToBytes(path)]);
  }

  /** Opens a file for writing, from its beginning. */
  async create(path: string, mode: number): Promise<FileHandle> {
    await this.#parents(path);
    const place = this.place(path);
    try {
      const handle = await open(place, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o600);
      await handle.chmod(mode);
      if (this.#owner !== undefined) await handle.chown(this.#owner.uid, this.#owner.gid);
      return handle;
    } catch (error) {
      throw restoreError(error, `creating ${this.root}/${path}`);
    }
  }

  /** Writes a whole small file. */
  async write(path: string, content: Uint8Array, mode: number): Promise<void> {
    const handle = await this.create(path, mode);
    try {
      await handle.writeFile(content);
    } catch (error) {
      throw restoreError(error, `writing ${this.root}/${path}`);
    } finally {
      await handle.close();
    }
  }

  async directory(path: string, mode: number): Promise<void> {
    await this.#parents(path);
    await this.#directory(path, mode);
  }

  async link(path: string, target: string): Promise<void> {
    await this.#parents(path);
    const place = this.place(path);
    try {
      await symlink(target, place);
      if (this.#owner !== undefined) await lchown(place, this.#owner.uid, this.#owner.gid);
    } catch (error) {
      if (errnoOf(error) === 'EEXIST' && (await linkTarget(place)) === target) return;
      throw restoreError(error, `linking ${this.root}/${path}`);
    }
  }

  /** Gives a file or folder that something else made to the owner of the tree. */
  async adopt(path: string, mode: number): Promise<void> {
    const place = this.place(path);
    try {
      await chmod(place, mode);
      if (this.#owner !== undefined) await lchown(place, this.#owner.uid, this.#owner.gid);
    } catch (error) {
      throw restoreError(error, `setting the owner of ${this.root}/${path}`);
    }
  }

  /** Makes sure that all folders above a path are real folders. Servers send a folder before what is in it, but nothing relies on that. */
  async #parents(path: string): Promise<void> {
    const parts = path.split('/').slice(0, -1);
    for (let length = 1; length <= parts.length; length++) {
      const folder = parts.slice(0, length).join('/');
      if (!this.#directories.has(folder)) await this.#directory(folder, this.#directoryMode);
    }
  }

  async #directory(path: string, mode: number): Promise<void> {
    const place = this.place(path);
    try {
      await mkdir(place);
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw restoreError(error, `creating the folder ${this.root}/${path}`);
      if (!(await lstat(place)).isDirectory())
        throw new ArchiveError('BACKUP_CORRUPT', `${path} is used as a folder, but is something else in ${this.root}`);
    }
    await this.adopt(path, mode);
    this.#directories.add(path);
  }
}

async function linkTarget(place: Buffer): Promise<string | undefined> {
  try {
    return await readlink(place);
  } catch {
    return undefined; // it is no link
  }
}
