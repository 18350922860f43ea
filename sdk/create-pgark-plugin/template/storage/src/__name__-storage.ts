import { randomUUID } from 'node:crypto';
import { link, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import {
  ArchiveError,
  checkedBody,
  checkKey,
  compareKeys,
  errnoOf,
  isArchiveError,
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
import { answered, failure } from './failures.ts';

export interface __Name__StorageOptions {
  /** Folder that holds the objects, relative to the config file's folder. It must exist: one that is not mounted is not empty. */
  readonly path: string;
}

/** Bytes of one chunk that `get` gives. */
const CHUNK = 1024 * 1024;

/** Where bodies are written until they are whole. No key leads here, because folders of keys end with `.d`. */
const UNFINISHED = 'unfinished';

/**
 * Objects as files of a folder: `a/b` is the file `a.d/b.o`, so that a key may go on below another one.
 *
 * A part of a key has at most 253 bytes here.
 */
export class __Name__Storage implements Storage {
  readonly capabilities: StorageCapabilities = { conditionalPut: true, retention: false, metadata: false };
  readonly #root: string;
  #closed = false;

  constructor(options: __Name__StorageOptions, context: Pick<PluginContext, 'directory'>) {
    this.#root = resolve(context.directory, options.path);
  }

  async put(key: string, body: AsyncIterable<Uint8Array>, options: PutOptions): Promise<void> {
    const { ifAbsent, size, signal } = options;
    const what = `storing ${key}`;
    this.#begin(what, signal);
    const path = this.#pathOf(key);
    await this.#makeUnfinished(what);
    const unfinished = join(this.#root, UNFINISHED, randomUUID());
    const file = await answered(open(unfinished, 'wx'), what);
    try {
      try {
        // Errors of the body pass as they are (STOR-02): only what the back end answers is translated.
        for await (const chunk of checkedBody(body, { key, size, signal })) await answered(file.writeFile(chunk), what);
        await answered(file.sync(), what);
      } finally {
        await file.close();
      }
      await answered(mkdir(dirname(path), { recursive: true }), what);
      // From the next line on the object is there, and an abort comes too late (STOR-04).
      throwIfAborted(signal, what);
      await this.#publish(unfinished, path, key, ifAbsent);
    } finally {
      // What cannot be removed is no object, and is in nobody's way.
      await rm(unfinished, { force: true }).catch(() => undefined);
    }
    await this.#syncFoldersOf(path, what);
  }

  /** Makes the object visible in one step that fails when another writer was faster (STOR-05). */
  async #publish(unfinished: string, path: string, key: string, ifAbsent: boolean): Promise<void> {
    try {
      if (ifAbsent) await link(unfinished, path);
      else await rename(unfinished, path);
    } catch (error) {
      if (errnoOf(error) === 'EEXIST') throw new ArchiveError('STORAGE_EXISTS', `the object ${key} exists`);
      throw failure(error, `storing ${key}`);
    }
  }

  async *get(key: string, options: GetOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    const { range, signal } = options;
    const what = `reading ${key}`;
    this.#begin(what, signal);
    const file = await this.#found(open(this.#pathOf(key), 'r'), key, what);
    // Also when the reader leaves the loop early (STOR-11).
    try {
      const { size } = await answered(file.stat(), what);
      const { start, end } = resolveRange(key, range, size);
      for (let at = start; at < end;) {
        throwIfAborted(signal, what);
        const chunk = Buffer.allocUnsafe(Math.min(CHUNK, end - at));
        const { bytesRead } = await answered(file.read(chunk, 0, chunk.byteLength, at), what);
        // Never a short body (STOR-09).
        if (bytesRead === 0) throw new ArchiveError('STORAGE_CORRUPT', `${key} ended after ${at} of ${size} bytes`);
        at += bytesRead;
        yield chunk.subarray(0, bytesRead);
      }
    } finally {
      await file.close();
    }
  }

  async stat(key: string, options: CallOptions = {}): Promise<ObjectInfo> {
    const what = `looking up ${key}`;
    this.#begin(what, options.signal);
    const { size, mtimeMs } = await this.#found(stat(this.#pathOf(key)), key, what);
    return { key, size, modified: mtimeMs };
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ObjectInfo, void, undefined> {
    const what = `listing ${prefix}`;
    this.#begin(what, options.signal);
    await this.#checkRoot(what);
    for await (const key of this.#keys('', prefix, options.startAfter)) {
      throwIfAborted(options.signal, what);
      const info = await this.stat(key).catch((error: unknown) => {
        // Removed since its folder was read.
        if (isArchiveError(error, 'STORAGE_NOT_FOUND')) return undefined;
        throw error;
      });
      if (info !== undefined) yield info;
    }
  }

  /** The keys below a folder, which is given as the beginning of its keys: empty, or with a slash at its end. */
  async *#keys(folder: string, prefix: string, startAfter = ''): AsyncGenerator<string, void, undefined> {
    const names = await answered(readdir(join(this.#root, foldersOf(folder))), `listing ${folder}`);
    const entries = names.flatMap((name) => {
      if (name.endsWith('.o')) return [`${folder}${name.slice(0, -2)}`];
      return name.endsWith('.d') ? [`${folder}${name.slice(0, -2)}/`] : [];
    });
    // A folder sorts by its slash, as its keys do (STOR-12).
    for (const entry of entries.sort(compareKeys)) {
      const isAfter = compareKeys(entry, startAfter) > 0;
      if (entry.endsWith('/')) {
        const mayMatch = entry.startsWith(prefix) || prefix.startsWith(entry);
        if (mayMatch && (isAfter || startAfter.startsWith(entry))) yield* this.#keys(entry, prefix, startAfter);
      } else if (isAfter && entry.startsWith(prefix)) yield entry;
    }
  }

  async remove(keys: readonly string[], options: CallOptions = {}): Promise<RemoveResult> {
    const what = 'removing objects';
    this.#begin(what, options.signal);
    const paths = keys.map((key) => this.#pathOf(key));
    await this.#checkRoot(what);
    for (const path of paths) {
      throwIfAborted(options.signal, what);
      await answered(rm(path, { force: true }), what);
    }
    return { retained: [] };
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #begin(what: string, signal: AbortSignal | undefined): void {
    if (this.#closed) throw new ArchiveError('INTERNAL', `${what} failed: the storage is closed`);
    throwIfAborted(signal, what);
  }

  #pathOf(key: string): string {
    checkKey(key);
    const parts = key.split('/');
    return join(this.#root, foldersOf(key), `${parts.at(-1) ?? ''}.o`);
  }

  /** Waits for an answer about one object. That the object is missing is said only when the storage itself is there (STOR-06). */
  async #found<Value>(answer: Promise<Value>, key: string, what: string): Promise<Value> {
    try {
      return await answer;
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw failure(error, what);
      await this.#checkRoot(what);
      throw new ArchiveError('STORAGE_NOT_FOUND', `there is no object ${key}`);
    }
  }

  async #checkRoot(what: string): Promise<void> {
    try {
      await stat(this.#root);
    } catch (error) {
      throw errnoOf(error) === 'ENOENT' ? this.#rootMissing(what) : failure(error, what);
    }
  }

  async #makeUnfinished(what: string): Promise<void> {
    try {
      await mkdir(join(this.#root, UNFINISHED));
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === 'EEXIST') return;
      throw errno === 'ENOENT' ? this.#rootMissing(what) : failure(error, what);
    }
  }

  #rootMissing(what: string): ArchiveError {
    return new ArchiveError('STORAGE_MISCONFIGURED', `${what} failed: the folder ${this.#root} does not exist`);
  }

  /** Makes the names on the way to a file durable, too: a power cut must not take the object away (STOR-07). */
  async #syncFoldersOf(path: string, what: string): Promise<void> {
    const folders: string[] = [];
    for (let folder = dirname(path); folder.length >= this.#root.length; folder = dirname(folder)) folders.push(folder);
    await answered(Promise.all(folders.map(syncFolder)), what);
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** The folders of a key or of a beginning that ends with a slash, as they are called on disk. */
function foldersOf(key: string): string {
  const folders = key.split('/').slice(0, -1);
  return folders.map((part) => `${part}.d`).join('/');
}
