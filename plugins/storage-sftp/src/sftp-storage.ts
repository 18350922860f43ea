import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import {
  ArchiveError,
  checkedBody,
  checkKey,
  isArchiveError,
  resolveRange,
  throwIfAborted,
  type CallOptions,
  type GetOptions,
  type ListOptions,
  type Logger,
  type ObjectInfo,
  type PluginContext,
  type PutOptions,
  type RemoveResult,
  type Storage,
  type StorageCapabilities,
} from '@pgark/sdk';
import type { Connection, Handle } from './connection.ts';
import { dial } from './dial.ts';
import { listFolder } from './listing.ts';
import type { SftpStorageOptions } from './options.ts';
import { Pool, unlessAborted } from './pool.ts';
import { publish, refuseExisting } from './publish.ts';
import { removeObjects } from './remove.ts';
import { full, isFile, Root, TEMPORARY_FOLDER } from './root.ts';
import { mapped, present, sftpError, STATUS, statusOf } from './sftp-error.ts';
import { TemporaryFiles, type TemporaryFile } from './temporary-files.ts';
import { readRange, writeBody } from './transfer.ts';

/**
 * Objects as files of a folder on another host, the key being the path.
 *
 * An object is written into a temporary file, synced, and published by a hard link, which is atomic and refuses an existing name. Its
 * folder is not synced: SFTP cannot. Parts of a key are names of files: at most 255 bytes each, and a key cannot go on below
 * another one (`a` and `a/b`); both are `STORAGE_INVALID_KEY`, as is the first part `.pgark-tmp`.
 */
export class SftpStorage implements Storage {
  readonly capabilities: StorageCapabilities;
  readonly #options: SftpStorageOptions;
  readonly #logger: Logger;
  readonly #root: Root;
  readonly #temporary: TemporaryFiles;
  readonly #pool: Pool;
  #fsync: boolean;
  #closed = false;

  constructor(options: SftpStorageOptions, context: Pick<PluginContext, 'directory' | 'logger'>) {
    this.#options = options;
    this.#logger = context.logger;
    this.#fsync = options.fsync ?? true;
    this.capabilities = { conditionalPut: options.createOnly !== 'none', retention: false, metadata: false };
    this.#root = new Root(options.path, Number.parseInt(options.directoryMode ?? '0750', 8));
    this.#temporary = new TemporaryFiles(this.#root, Number.parseInt(options.fileMode ?? '0440', 8), context.logger);
    const local = (path: string | undefined): string | undefined =>
      path?.startsWith('~/') === true ? join(homedir(), path.slice(2)) : path && resolve(context.directory, path);
    const target = {
      user: options.user,
      hostKeys: {
        host: options.host,
        port: options.port ?? 22,
        knownHosts: local(options.knownHosts),
        hostKey: options.hostKey,
      },
      credentials: {
        privateKeyFile: local(options.privateKeyFile),
        privateKey: options.privateKey,
        passphrase: options.passphrase,
        agent: local(options.agent),
        password: options.password,
      },
      connectTimeout: options.connectTimeout ?? 20_000,
      timeout: options.timeout ?? 60_000,
      keepaliveInterval: options.keepaliveInterval ?? 15_000,
      keepaliveCount: options.keepaliveCount ?? 3,
    };
    this.#pool = new Pool(options.connections ?? 4, (ended) => dial(target, ended));
  }

  async put(key: string, body: AsyncIterable<Uint8Array>, options: PutOptions): Promise<void> {
    const what = `storing ${key}`;
    const { signal } = options;
    this.#begin(signal, what);
    this.#check(key);
    await this.#use(signal, what, async (connection) => {
      if (options.ifAbsent) await unlessAborted(refuseExisting(connection, this.#root, key), signal, what);
      const creating = this.#temporary.create(connection);
      try {
        const temporary = await unlessAborted(creating, signal, what);
        await unlessAborted(this.#fill(connection, temporary, key, body, options), signal, what);
        throwIfAborted(signal, what);
        // From here on the object may be there, and an abort comes too late: the answer is waited for.
        await publish(connection, this.#root, temporary.path, key, {
          ifAbsent: options.ifAbsent,
          link: this.capabilities.conditionalPut,
          signal,
        });
      } finally {
        const discarded = creating.then(
          (temporary) => this.#temporary.discard(connection, temporary),
          () => undefined, // nothing was made, and why is on its way out
        );
        // A peer that may be dead does not hold a call that was cancelled.
        if (signal?.aborted !== true) await discarded;
      }
    });
  }

  async #fill(
    connection: Connection,
    temporary: TemporaryFile,
    key: string,
    body: AsyncIterable<Uint8Array>,
    { size, signal }: PutOptions,
  ): Promise<void> {
    const what = `storing ${key}`;
    const source = watched(checkedBody(body, { key, size, signal }));
    try {
      const written = await writeBody(connection, temporary.handle, source);
      // Sent together: the server works on them in order.
      const [, info] = await Promise.all([
        this.#sync(connection, temporary.handle),
        connection.fstat(temporary.handle),
      ]);
      if (info.size !== written) {
        throw new ArchiveError('STORAGE_CORRUPT', `the server has ${info.size} of the ${written} bytes of ${key}`);
      }
      await this.#temporary.close(connection, temporary);
    } catch (error) {
      // The body's own error goes out as it was thrown (STOR-02).
      if (source.failure?.error === error || isArchiveError(error)) throw error;
      if (statusOf(error) === STATUS.FAILURE && (await connection.isFull(this.#root.path))) throw full(what, error);
      throw sftpError(error, what);
    }
  }

  async #sync(connection: Connection, handle: Handle): Promise<void> {
    if (!this.#fsync) return;
    try {
      await connection.fsync(handle);
    } catch (error) {
      if (statusOf(error) !== STATUS.OP_UNSUPPORTED) throw error;
      this.#fsync = false;
      this.#logger.warn(
        { server: this.#options.host },
        'the SFTP server does not offer fsync: a crash of its machine can lose objects that were just stored',
      );
    }
  }

  async *get(key: string, options: GetOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    const what = `reading ${key}`;
    const { signal } = options;
    this.#begin(signal, what);
    this.#check(key);
    const lease = this.#pool.lease();
    let close: (() => void) | undefined;
    try {
      const connection = await unlessAborted(lease.connection, signal, what);
      // Looked up before it is opened: the open of a pipe that someone put there would hang all of the session.
      await unlessAborted(this.#lookUp(connection, key), signal, what);
      const opening = connection.open(this.#root.join(key), 'r');
      close = () => {
        // Not waited for: the bytes are there, or an error is on its way out.
        opening.then((handle) => connection.close(handle)).catch(() => undefined);
      };
      const handle = await unlessAborted(present(opening, what), signal, what);
      if (handle === undefined) throw notFound(key);
      const info = await unlessAborted(mapped(connection.fstat(handle), what), signal, what);
      const pieces = readRange(connection, handle, key, resolveRange(key, options.range, info.size));
      for (;;) {
        throwIfAborted(signal, what);
        const next = await unlessAborted(pieces.next(), signal, what);
        if (next.done === true) return;
        yield next.value;
      }
    } finally {
      close?.();
      lease.release();
    }
  }

  async stat(key: string, options: CallOptions = {}): Promise<ObjectInfo> {
    const what = `looking up ${key}`;
    this.#begin(options.signal, what);
    this.#check(key);
    return this.#use(options.signal, what, (connection) =>
      unlessAborted(this.#lookUp(connection, key), options.signal, what),
    );
  }

  async #lookUp(connection: Connection, key: string): Promise<ObjectInfo> {
    const info = await present(connection.stat(this.#root.join(key)), `looking up ${key}`);
    if (info === undefined || !isFile(info)) {
      await this.#root.check(connection);
      throw notFound(key);
    }
    await this.#root.checkOnce(connection);
    return { key, size: info.size, modified: info.mtime * 1000 };
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ObjectInfo, void, undefined> {
    const what = `listing ${prefix}`;
    this.#begin(options.signal, what);
    const lease = this.#pool.lease();
    try {
      const connection = await unlessAborted(lease.connection, options.signal, what);
      await unlessAborted(this.#root.check(connection), options.signal, what);
      yield* listFolder(connection, this.#root, prefix, options);
    } finally {
      lease.release();
    }
  }

  async remove(keys: readonly string[], options: CallOptions = {}): Promise<RemoveResult> {
    const what = 'removing objects';
    this.#begin(options.signal, what);
    for (const key of keys) this.#check(key);
    await this.#use(options.signal, what, async (connection) => {
      await unlessAborted(this.#root.check(connection), options.signal, what);
      await unlessAborted(removeObjects(connection, this.#root, keys, options.signal), options.signal, what);
    });
    return { retained: [] };
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#pool.close();
  }

  async #use<Value>(
    signal: AbortSignal | undefined,
    what: string,
    work: (connection: Connection) => Promise<Value>,
  ): Promise<Value> {
    const lease = this.#pool.lease();
    try {
      return await work(await unlessAborted(lease.connection, signal, what));
    } finally {
      lease.release();
    }
  }

  #begin(signal: AbortSignal | undefined, what: string): void {
    if (this.#closed) throw new ArchiveError('INTERNAL', `${what} failed: the storage is closed`);
    throwIfAborted(signal, what);
  }

  #check(key: string): void {
    checkKey(key);
    if (key === TEMPORARY_FOLDER || key.startsWith(`${TEMPORARY_FOLDER}/`)) {
      throw new ArchiveError('STORAGE_INVALID_KEY', `the key ${key} begins with the reserved ${TEMPORARY_FOLDER}`);
    }
  }
}

function notFound(key: string): ArchiveError {
  return new ArchiveError('STORAGE_NOT_FOUND', `there is no object ${key}`);
}

/** The same stream, which remembers the error that it ended with. */
function watched(
  source: AsyncIterable<Uint8Array>,
): AsyncIterable<Uint8Array> & { readonly failure: { readonly error: unknown } | undefined } {
  let failure: { readonly error: unknown } | undefined;
  return {
    get failure() {
      return failure;
    },
    async *[Symbol.asyncIterator]() {
      try {
        yield* source;
      } catch (error) {
        failure = { error };
        throw error;
      }
    },
  };
}
