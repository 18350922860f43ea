import { constants } from 'node:fs';
import { link, open, rename, rmdir, stat, unlink, type FileHandle } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import {
  ArchiveError,
  checkedBody,
  checkKey,
  errnoOf,
  leaseMemory,
  resolveRange,
  throwIfAborted,
  type CallOptions,
  type GetOptions,
  type ListOptions,
  type ObjectInfo,
  type PluginContext,
  type PutOptions,
  type RemoveResult,
  type Storage,
  type StorageCapabilities,
} from '@pgark/sdk';
import { fsError, isAbsent, mapped, present } from './fs-error.ts';
import { listFolder } from './listing.ts';
import { Root, syncFolder } from './root.ts';
import { TEMPORARY_FOLDER, TemporaryFiles } from './temporary-files.ts';
import { writeBody } from './write-body.ts';

export interface FsStorageOptions {
  /**
   * Folder of the archive, relative to the config file's folder. The first `put` creates it if its parent is there;
   * nothing else does, so that a disk that is not mounted is never taken for an empty archive.
   */
  readonly path: string;
  /** Mode of objects as octal text, narrowed by the umask; default `0640`. */
  readonly fileMode?: string;
  /** Mode of folders as octal text, narrowed by the umask; default `0750`. */
  readonly directoryMode?: string;
}

/** Bytes of one chunk that `get` gives. */
const CHUNK = 1024 * 1024;

/** How often a `put` makes its folder again that others prune. */
const FOLDER_ATTEMPTS = 100;

/**
 * Objects as files of a folder, the key being the path.
 *
 * An object is written into a temporary file, synced, and published by link(2), which is atomic and refuses an
 * existing name; then its folder is synced. Parts of a key are names of files: at most 255 bytes each, and a key
 * cannot go on below another one (`a` and `a/b`); both are `STORAGE_INVALID_KEY`, as is the first part `.pgark-tmp`.
 */
export class FsStorage implements Storage {
  readonly capabilities: StorageCapabilities = { conditionalPut: true, retention: false, metadata: false };
  readonly #root: Root;
  readonly #temporary: TemporaryFiles;
  #closed = false;

  constructor(options: FsStorageOptions, context: Pick<PluginContext, 'directory' | 'logger'>) {
    const directory = Number.parseInt(options.directoryMode ?? '0750', 8);
    const file = Number.parseInt(options.fileMode ?? '0640', 8);
    this.#root = new Root(resolve(context.directory, options.path), directory);
    this.#temporary = new TemporaryFiles(this.#root, { file, directory }, context.logger);
  }

  async put(key: string, body: AsyncIterable<Uint8Array>, options: PutOptions): Promise<void> {
    const what = `storing ${key}`;
    this.#begin(options.signal, what);
    const path = this.#pathOf(key);
    await this.#root.checkOrCreate();
    if (options.ifAbsent && (await present(stat(path), what)) !== undefined) await this.#refuse(key);
    const temporary = await this.#temporary.create();
    try {
      const { size, signal } = options;
      await writeBody(temporary.handle, checkedBody(body, { key, size, signal }), (written) => mapped(written, what));
      await mapped(temporary.handle.datasync(), what);
      await mapped(temporary.handle.close(), what);
      throwIfAborted(signal, what);
      await this.#publish(temporary.path, key, options);
    } finally {
      await this.#temporary.discard(temporary);
    }
  }

  /** Gives the temporary file its name. From then on the object is there, and an abort comes too late. */
  async #publish(temporary: string, key: string, options: PutOptions): Promise<void> {
    const path = this.#pathOf(key);
    const folder = dirname(path);
    for (let attempt = 1; !(await this.#tryPublish(temporary, key, options)); attempt++) {
      if (attempt === FOLDER_ATTEMPTS) {
        throw new ArchiveError('STORAGE_UNAVAILABLE', `storing ${key} failed: ${folder} vanished again and again`);
      }
    }
    await syncFolder(folder);
  }

  /** False when the folder vanished: a `remove` prunes folders that are empty for the moment. */
  async #tryPublish(temporary: string, key: string, options: PutOptions): Promise<boolean> {
    const path = this.#pathOf(key);
    if (!(await this.#root.ensureFolder(key.split('/').slice(0, -1)))) return false;
    throwIfAborted(options.signal, `storing ${key}`);
    try {
      if (options.ifAbsent) await link(temporary, path);
      else await rename(temporary, path);
      return true;
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === 'ENOENT') {
        this.#root.forget(dirname(path));
        await this.#root.check();
        return false;
      }
      if (errno === 'EEXIST' && options.ifAbsent) return this.#refuse(key);
      if (options.ifAbsent && isWithoutLinks(errno)) throw linkError(error, this.#root.path);
      throw fsError(error, `storing ${key}`);
    }
  }

  /**
   * Says that the key is taken. The writer that won may not have come to syncing the folder, and whoever hears of the
   * object may rely on it: so it is made durable here first.
   */
  async #refuse(key: string): Promise<never> {
    const path = this.#pathOf(key);
    const info = await mapped(stat(path), `looking up ${key}`);
    if (info.isDirectory()) {
      throw new ArchiveError('STORAGE_INVALID_KEY', `${key} cannot be stored: a folder has this name`);
    }
    await this.#root.ensureFolder(key.split('/').slice(0, -1));
    await syncFolder(dirname(path));
    throw new ArchiveError('STORAGE_EXISTS', `the object ${key} exists`);
  }

  async *get(key: string, options: GetOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    const what = `reading ${key}`;
    this.#begin(options.signal, what);
    const handle = await this.#open(key);
    try {
      const info = await mapped(handle.stat(), what);
      if (!info.isFile()) throw notFound(key);
      const { start, end } = resolveRange(key, options.range, info.size);
      const free: Buffer<ArrayBuffer>[] = [];
      for (let position = start; position < end;) {
        throwIfAborted(options.signal, what);
        const memory = free.pop() ?? Buffer.allocUnsafeSlow(Math.min(CHUNK, end - start));
        const wanted = memory.subarray(0, Math.min(memory.byteLength, end - position));
        const length = await readChunk(handle, key, position, wanted);
        position += length;
        yield leaseMemory(memory.subarray(0, length), (bytes) => free.push(Buffer.from(bytes)));
      }
    } finally {
      await handle.close();
    }
  }

  async #open(key: string): Promise<FileHandle> {
    // Without O_NONBLOCK the open of a pipe that someone put there would wait for ever.
    const flags = constants.O_RDONLY | constants.O_NONBLOCK;
    const handle = await present(open(this.#pathOf(key), flags), `reading ${key}`);
    if (handle !== undefined) return handle;
    await this.#root.check();
    throw notFound(key);
  }

  async stat(key: string, options: CallOptions = {}): Promise<ObjectInfo> {
    const what = `looking up ${key}`;
    this.#begin(options.signal, what);
    const info = await present(stat(this.#pathOf(key)), what);
    if (info?.isFile() !== true) {
      await this.#root.check();
      throw notFound(key);
    }
    return { key, size: info.size, modified: info.mtimeMs };
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ObjectInfo, void, undefined> {
    this.#begin(options.signal, `listing ${prefix}`);
    await this.#root.check();
    yield* listFolder(this.#root, prefix, options);
  }

  async remove(keys: readonly string[], options: CallOptions = {}): Promise<RemoveResult> {
    this.#begin(options.signal, 'removing objects');
    const paths = keys.map((key) => this.#pathOf(key));
    await this.#root.check();
    const folders = new Set<string>();
    try {
      for (const path of paths) {
        throwIfAborted(options.signal, 'removing objects');
        if (await removeFile(path)) folders.add(dirname(path));
      }
    } finally {
      for (const folder of folders) await this.#prune(folder);
      for (const folder of folders) await this.#root.syncRemoval(folder);
    }
    return { retained: [] };
  }

  /** Deletes folders that have become empty, upwards. rmdir(2) takes no full one, so a `put` loses nothing by it. */
  async #prune(folder: string): Promise<void> {
    for (let path = folder; path !== this.#root.path; path = dirname(path)) {
      this.#root.forget(path);
      try {
        await rmdir(path);
      } catch (error) {
        // Mostly ENOTEMPTY. Whatever it is: a folder without objects is not to be seen in any call, so it may stay.
        if (errnoOf(error) !== 'ENOENT') return;
      }
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #begin(signal: AbortSignal | undefined, what: string): void {
    if (this.#closed) throw new ArchiveError('INTERNAL', `${what} failed: the storage is closed`);
    throwIfAborted(signal, what);
  }

  #pathOf(key: string): string {
    checkKey(key);
    if (key === TEMPORARY_FOLDER || key.startsWith(`${TEMPORARY_FOLDER}/`)) {
      throw new ArchiveError('STORAGE_INVALID_KEY', `the key ${key} begins with the reserved ${TEMPORARY_FOLDER}`);
    }
    return join(this.#root.path, key);
  }
}

function notFound(key: string): ArchiveError {
  return new ArchiveError('STORAGE_NOT_FOUND', `there is no object ${key}`);
}

/** Reads up to `length` bytes into memory of their own: nobody else ever writes to a chunk that was given out. */
/** Bytes that were read. */
async function readChunk(handle: FileHandle, key: string, position: number, into: Uint8Array): Promise<number> {
  const { bytesRead } = await mapped(handle.read(into, 0, into.byteLength, position), `reading ${key}`);
  if (bytesRead === 0) {
    throw new ArchiveError('STORAGE_CORRUPT', `the object ${key} ended at ${position} while it was read`);
  }
  return bytesRead;
}

/** False when the file was not there. */
async function removeFile(path: string): Promise<boolean> {
  try {
    await unlink(path);
    return true;
  } catch (error) {
    if (isAbsent(error)) return false;
    // A folder is no object. Linux says EISDIR, others EPERM.
    if ((await present(stat(path), `looking up ${path}`))?.isDirectory() === true) return false;
    throw fsError(error, `removing ${path}`);
  }
}

function isWithoutLinks(errno: string | undefined): boolean {
  return ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EXDEV', 'EMLINK'].includes(errno ?? '');
}

function linkError(cause: unknown, path: string): ArchiveError {
  const message = `the file system of ${path} does not take a hard link (${errnoOf(cause)})`;
  return new ArchiveError('STORAGE_MISCONFIGURED', message, {
    cause,
    hint: 'Objects are published by a link, which never overwrites: use a file system that has them (ext4, xfs, zfs, nfs; not fat), all of the archive on one.',
  });
}
