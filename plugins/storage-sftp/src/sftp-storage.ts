import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import {
  ArchiveError,
  checkedBody,
  checkKey,
  isArchiveError,
  putStep,
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
import type { Connection } from './connection.ts';
import { dial } from './dial.ts';
import { Draft, type Look } from './draft.ts';
import { listFolder } from './listing.ts';
import type { SftpStorageOptions } from './options.ts';
import { Pool, unlessAborted } from './pool.ts';
import { publish, refuseExisting } from './publish.ts';
import { removeObjects } from './remove.ts';
import { full, isFile, Root, TEMPORARY_FOLDER } from './root.ts';
import { mapped, present, sftpError, STATUS, statusOf } from './sftp-error.ts';
import { TemporaryFiles, type TemporaryFile } from './temporary-files.ts';
import { batchesOf, readRange } from './transfer.ts';

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
    const check = async (connection: Connection): Promise<void> => {
      if (options.ifAbsent) await refuseExisting(connection, this.#root, key);
    };
    const beginning = Draft.begin(this.#pool, this.#temporary, key, { check, signal });
    try {
      const draft = await unlessAborted(beginning, signal, what);
      await unlessAborted(this.#fill(draft, key, body, options), signal, what);
      await this.#publish(draft, key, options);
    } finally {
      const discarded = beginning.then(
        (draft) => draft.end(),
        () => undefined, // nothing was made, and why is on its way out
      );
      // A peer that may be dead does not hold a call that was cancelled.
      if (signal?.aborted !== true) await discarded;
    }
  }

  /** Writes the body, a batch at a time while the next one is read. */
  async #fill(draft: Draft, key: string, body: AsyncIterable<Uint8Array>, options: PutOptions): Promise<void> {
    const { size, signal } = options;
    const stop = new AbortController();
    const either = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
    let sending = Promise.resolve();
    let failure: { readonly error: unknown } | undefined;
    try {
      for await (const batch of batchesOf(checkedBody(body, { key, size, signal: either }))) {
        await sending;
        if (batch.byteLength === 0) break;
        sending = this.#send(draft, key, batch, options, either).catch((error: unknown) => {
          failure ??= { error };
          stop.abort();
        });
      }
      await sending;
    } catch (error) {
      // Before the sending is stopped: what failed first is what the caller is told.
      const first = failure?.error ?? error;
      stop.abort();
      await sending;
      throw first;
    }
    if (failure !== undefined) throw failure.error;
  }

  async #send(draft: Draft, key: string, batch: Uint8Array, options: PutOptions, signal: AbortSignal): Promise<void> {
    const step = { name: `bytes from ${draft.size}`, signal };
    await this.#onWhole(draft, key, options, step, () => draft.write(batch));
    draft.confirm(batch);
  }

  /** Syncs the file and gives it its name. What comes of the last request is waited for, also after an abort. */
  async #publish(draft: Draft, key: string, options: PutOptions): Promise<void> {
    const { ifAbsent, signal } = options;
    const never = new AbortController().signal;
    const sync = { name: 'sync', signal: signal ?? never };
    const file = await this.#onWhole(draft, key, options, sync, (cancel) => this.#finish(draft, key, cancel));
    const path = this.#root.join(key);
    let sent = false;
    let taken: unknown;
    let look: Look | undefined;
    /** False when the next step goes on. */
    const attempt = async (cancel: AbortSignal): Promise<boolean> => {
      const connection = await draft.connect(sent ? cancel : AbortSignal.any([cancel, signal ?? never]));
      if (sent) {
        // The request of an earlier attempt may have succeeded.
        look ??= draft.lookAt(path);
        const found = await look.next(connection);
        throwIfAborted(cancel, `storing ${key}`);
        if (found !== 'other') return found === 'same';
        look = undefined;
        if (taken !== undefined) throw taken;
      }
      throwIfAborted(signal, `storing ${key}`);
      const again = sent;
      sent = true;
      try {
        const link = this.capabilities.conditionalPut;
        await publish(connection, this.#root, file.path, key, { ifAbsent, link, signal });
        return true;
      } catch (error) {
        // A server that hung may work off the request of a connection that has ended after we have looked.
        if (!again || !isArchiveError(error, 'STORAGE_EXISTS')) throw error;
        taken = error;
        return false;
      }
    };
    const step = { name: 'completion' };
    while (!(await putStep(options, step, (cancel) => this.#explained(draft, key, { cancel }, () => attempt(cancel)))));
  }

  /** Runs a step on a file that has all confirmed bytes. After a loss these are copied first, a piece a step. */
  async #onWhole<Value>(
    draft: Draft,
    key: string,
    options: PutOptions,
    step: { readonly name: string; readonly signal: AbortSignal },
    work: (cancel: AbortSignal) => Promise<Value>,
  ): Promise<Value> {
    const { signal } = step;
    for (;;) {
      const result = await putStep(options, { name: draft.nameOf(step.name), signal }, (cancel) =>
        this.#explained(draft, key, { cancel, over: signal }, async () => {
          const restored = await draft.restore(cancel);
          return restored === 'ready' ? { value: await work(cancel) } : restored;
        }),
      );
      if (result === 'more') continue;
      if ('value' in result) return result.value;
      throw result;
    }
  }

  /** Makes sure that the file is whole and on the disk, and gives it. */
  async #finish(draft: Draft, key: string, cancel: AbortSignal): Promise<TemporaryFile> {
    const { file, size } = draft;
    if (draft.isComplete) return file;
    const { connection, handle } = file;
    const syncing = this.#sync(file).catch((error: unknown) => {
      if (statusOf(error) !== undefined) file.spoilt = true;
      throw error;
    });
    // Sent together: the server works on them in order.
    const [, info] = await Promise.all([syncing, connection.fstat(handle)]);
    throwIfAborted(cancel, `storing ${key}`);
    if (info.size !== size) {
      throw new ArchiveError('STORAGE_CORRUPT', `the server has ${info.size} of the ${size} bytes of ${key}`);
    }
    draft.complete();
    await this.#temporary.close(file);
    return file;
  }

  /** Runs an attempt of a step as a turn of the draft; its errors come as {@link ArchiveError}. */
  #explained<Value>(
    draft: Draft,
    key: string,
    { cancel, over }: { readonly cancel: AbortSignal; readonly over?: AbortSignal },
    work: () => Promise<Value>,
  ): Promise<Value> {
    const what = `storing ${key}`;
    return draft.turn(cancel, over, async () => {
      try {
        return await work();
      } catch (error) {
        if (isArchiveError(error)) throw error;
        if (statusOf(error) === STATUS.FAILURE && (await draft.connection.isFull(this.#root.path)))
          throw full(what, error);
        throw sftpError(error, what);
      }
    });
  }

  async #sync({ connection, handle }: TemporaryFile): Promise<void> {
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
