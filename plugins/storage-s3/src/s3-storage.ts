import { randomUUID } from 'node:crypto';
import type { HeadObjectCommandOutput, S3 } from '@aws-sdk/client-s3';
import {
  ArchiveError,
  AskedOnce,
  checkedBody,
  checkKey,
  isArchiveError,
  putStep,
  resolveRange,
  throwIfAborted,
  type CallOptions,
  type GetOptions,
  type ListOptions,
  type LockProof,
  type ObjectInfo,
  type PluginContext,
  type PutOptions,
  type RemoveResult,
  type RetainOptions,
  type Storage,
  type StorageCapabilities,
} from '@pgark/sdk';
import { makeAgents } from './agents.ts';
import { BlockReader } from './block-reader.ts';
import { sending } from './body-slices.ts';
import { openClient, type Client } from './client.ts';
import { explain } from './explain.ts';
import { listObjects } from './list-objects.ts';
import { readObject } from './read-object.ts';
import { decodeMetadata, encodeMetadata, UPLOAD_MARK } from './metadata.ts';
import { MultipartUpload } from './multipart-upload.ts';
import { abortOf, breakLock, extendLock, requireObjectLock } from './object-lock.ts';
import { settingsOf, type S3StorageOptions, type Settings } from './options.ts';
import { partSizes } from './part-sizes.ts';
import { PastStorage } from './past-storage.ts';
import { removeObjects, retentionOf } from './remove-objects.ts';
import { codeOf, isExplained, isInTheWay, isReset, s3Error, statusOf } from './s3-error.ts';

/** What each object is stored with. */
interface Target {
  readonly Bucket: string;
  readonly Key: string;
  readonly Metadata?: Readonly<Record<string, string>>;
  readonly [header: string]: unknown;
}

/** Whose object is under the key of a put that may have succeeded. */
type Finding = 'ours' | 'theirs' | 'none';

/**
 * Objects of a bucket of Amazon S3, or of a service that speaks its protocol.
 *
 * An object up to `singlePut` is one request; a larger one goes in parts, of which a few are sent at once. Memory of one `put` is
 * bounded by `singlePut` and `parallelParts + 1` parts. An object shows when its last request has succeeded: that request is not
 * cancelled by an abort any more but waited for, because whether it had an effect could not be told otherwise. Where its answer is lost,
 * the key is looked up: an object of one request must have its bytes, one of parts the mark of the upload.
 *
 * Without `conditionalPut`, `ifAbsent` looks the key up before, which two writers at once can both pass: it is declared so.
 */
export class S3Storage implements Storage {
  readonly capabilities: StorageCapabilities;
  readonly #settings: Settings;
  readonly #context: Pick<PluginContext, 'directory' | 'logger'>;
  #client: Promise<Client> | undefined;
  /** Whether the bucket locks objects. */
  #lockable: AskedOnce | undefined;
  #closed = false;

  constructor(options: S3StorageOptions, context: Pick<PluginContext, 'directory' | 'logger'>) {
    this.#settings = settingsOf(options);
    this.#context = context;
    this.capabilities = {
      conditionalPut: this.#settings.conditionalPut,
      retention: this.#settings.objectLock !== undefined,
      metadata: true,
    };
  }

  async put(key: string, body: AsyncIterable<Uint8Array>, options: PutOptions): Promise<void> {
    const s3 = await this.#begin(options.signal, `storing ${checkKey(key)}`);
    const { singlePut } = this.#settings;
    const { size, signal } = options;
    if ('ObjectLockMode' in this.#target(key, options)) await this.#requireLocks(s3, signal);
    const stop = new AbortController();
    const reading = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
    const reader = new BlockReader(checkedBody(body, { key, size, signal: reading }));
    try {
      if (size === undefined || size <= singlePut) {
        const bytes = await reader.gather(singlePut, size);
        if (await reader.isAtEnd()) return await this.#putWhole(s3, key, bytes, options);
        reader.putBack(bytes);
      }
      await this.#putInParts(s3, key, reader, stop, options);
    } finally {
      await reader.close();
    }
  }

  /** Some services take what is to be locked into any bucket, and lock nothing (H-62). AWS refuses it. */
  async #requireLocks(s3: S3, signal: AbortSignal | undefined): Promise<void> {
    const { bucket, provider } = this.#settings;
    if (provider === 'aws') return;
    const warn = (message: string): void => this.#context.logger.warn({}, message);
    this.#lockable ??= new AskedOnce(() => requireObjectLock(s3, bucket, warn));
    await this.#lockable.get(signal, `looking up the Object Lock of ${bucket}`);
  }

  async #putWhole(s3: S3, key: string, bytes: Uint8Array, options: PutOptions): Promise<void> {
    throwIfAborted(options.signal, `storing ${key}`);
    const find = (): Promise<Finding> => this.#compare(key, bytes);
    await this.#decide(s3, key, options, find, async (condition, signal, moved) => {
      try {
        await s3.putObject({ ...this.#target(key, options), Body: bytes, ...condition }, sending(signal, moved));
      } catch (error) {
        // Some services close the connection on an upload whose key is taken before they have read it, and the answer is lost.
        const found = options.ifAbsent && isReset(error) ? await find().catch(() => 'none') : 'none';
        if (found === 'theirs') throw exists(key);
        if (found === 'none') throw error;
      }
    });
  }

  /** Whether the object has just these bytes. */
  async #compare(key: string, bytes: Uint8Array): Promise<Finding> {
    let position = 0;
    try {
      if ((await this.stat(key)).size !== bytes.byteLength) return 'theirs';
      for await (const chunk of this.get(key)) {
        if (Buffer.compare(chunk, bytes.subarray(position, position + chunk.byteLength)) !== 0) return 'theirs';
        position += chunk.byteLength;
      }
    } catch (error) {
      if (isArchiveError(error, 'STORAGE_NOT_FOUND')) return 'none';
      throw error;
    }
    return 'ours';
  }

  async #putInParts(
    s3: S3,
    key: string,
    reader: BlockReader,
    stop: AbortController,
    options: PutOptions,
  ): Promise<void> {
    const { signal } = options;
    // Not needed where the condition decides, but it may save the sending of gigabytes.
    if (options.ifAbsent) await putStep(options, { name: 'lookup' }, () => this.#refuseExisting(s3, key, signal));
    const mark = randomUUID();
    const target = this.#target(key, options);
    const upload = await MultipartUpload.begin({
      s3,
      settings: this.#settings,
      target: { ...target, Metadata: { ...target.Metadata, [UPLOAD_MARK]: mark } },
      options,
      warn: (fields, message) => this.#context.logger.warn(fields, message),
    });
    try {
      await upload.send(reader, partSizes(this.#settings, key, options.size), { signal, failed: () => stop.abort() });
      const find = (): Promise<Finding> => this.#findMark(s3, key, mark);
      await this.#decide(s3, key, options, find, (condition, own) => upload.complete(condition, own));
    } catch (error) {
      // Before the rest is cancelled: what failed first is what the caller is told.
      const first = upload.failure?.error ?? error;
      await upload.abandon({ persistent: !isArchiveError(first, 'STORAGE_UNAVAILABLE') });
      throwIfAborted(signal, `storing ${key}`);
      throw first;
    }
  }

  async #findMark(s3: S3, key: string, mark: string): Promise<Finding> {
    const metadata = await this.#look(s3, key, undefined, (head) => head.Metadata ?? {});
    if (metadata === undefined) return 'none';
    return metadata[UPLOAD_MARK] === mark ? 'ours' : 'theirs';
  }

  /** The request that makes the object visible. When it was sent before, it may have succeeded: `find` tells. */
  async #decide(
    s3: S3,
    key: string,
    options: PutOptions,
    find: () => Promise<Finding>,
    request: (condition: { readonly IfNoneMatch?: '*' }, signal: AbortSignal, moved: () => void) => Promise<void>,
  ): Promise<void> {
    let sent = false;
    const lost = await putStep(options, { name: 'completion' }, async (signal, moved) => {
      const again = sent;
      const settled = async (): Promise<boolean> => {
        const found = again ? await find() : 'none';
        if (found === 'theirs' && options.ifAbsent) throw exists(key);
        return found === 'ours';
      };
      if (await settled()) return undefined;
      try {
        await this.#checkReplaceable(s3, key, options);
        throwIfAborted(options.signal, `storing ${key}`);
        sent = true;
        await request(this.#condition(options), signal, moved);
        // Some services say so while the request of an earlier attempt is still at work: what counts is that the object is there.
        if (again && (await find()) === 'none') throw unseen(key);
      } catch (error) {
        // The request of an earlier attempt can take effect as late as this: what stands in the way may be its object.
        if (isInTheWay(error) && (await settled())) return undefined;
        const failure = isArchiveError(error) ? error : await this.#putError(s3, key, error, { ...options, again });
        if (codeOf(error) === 'NoSuchUpload') return failure;
        throw failure;
      }
      return undefined;
    });
    // Only another upload can help.
    if (lost !== undefined) throw lost;
  }

  /** What the condition cannot say: the key is taken, or what is there is held by a lock. */
  async #checkReplaceable(s3: S3, key: string, options: PutOptions): Promise<void> {
    if (options.ifAbsent) {
      if (!this.#settings.conditionalPut) await this.#refuseExisting(s3, key, options.signal);
      return;
    }
    // A versioned bucket would take a new version over one that is held.
    if (this.#settings.objectLock === undefined) return;
    if ((await retentionOf(s3, this.#settings.bucket, key, options.signal)) === 'retained') {
      throw new ArchiveError('STORAGE_DENIED', `the object ${key} is under retention and cannot be replaced`);
    }
  }

  async #refuseExisting(s3: S3, key: string, signal: AbortSignal | undefined): Promise<void> {
    if ((await this.#head(s3, key, signal)) !== undefined) throw exists(key);
  }

  #condition(options: PutOptions): { readonly IfNoneMatch?: '*' } {
    return options.ifAbsent && this.#settings.conditionalPut ? { IfNoneMatch: '*' } : {};
  }

  #target(key: string, { metadata, retainUntil }: PutOptions): Target {
    const { bucket, storageClass, encryption, kmsKeyId, objectLock } = this.#settings;
    // S3 refuses a date that has passed, though it asks for nothing.
    const holds = objectLock !== undefined && retainUntil !== undefined && retainUntil.getTime() > Date.now();
    return {
      Bucket: bucket,
      Key: key,
      ...(metadata === undefined ? {} : { Metadata: encodeMetadata(metadata) }),
      ...(storageClass === undefined ? {} : { StorageClass: storageClass }),
      ...(encryption === undefined ? {} : { ServerSideEncryption: encryption }),
      ...(kmsKeyId === undefined ? {} : { SSEKMSKeyId: kmsKeyId }),
      ...(holds ? { ObjectLockMode: objectLock, ObjectLockRetainUntilDate: retainUntil } : {}),
    };
  }

  /** For a conflict with another request S3 does not say which of the two won; with `again` the other may be ours, and was looked for. */
  async #putError(
    s3: S3,
    key: string,
    error: unknown,
    { ifAbsent, again }: { ifAbsent: boolean; again: boolean },
  ): Promise<ArchiveError> {
    if (statusOf(error) === 412) return exists(key);
    const isDecided = statusOf(error) === 409 && ifAbsent && !again;
    if (isDecided && (await this.#head(s3, key, undefined)) !== undefined) return exists(key);
    return s3Error(error, `storing ${key}`, 'bucket');
  }

  async *get(key: string, options: GetOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    const what = `reading ${checkKey(key)}`;
    const { range, signal } = options;
    const s3 = await this.#begin(signal, what);
    if (range !== undefined) resolveRange(key, range, Number.MAX_SAFE_INTEGER);
    if (range !== undefined && range.start === range.end) {
      // HTTP has no range of no bytes.
      resolveRange(key, range, (await this.stat(key, options)).size);
      return;
    }
    const { bucket, idleTimeout } = this.#settings;
    try {
      yield* readObject(s3, { bucket, key, range, signal, idleTimeout });
    } catch (error) {
      throwIfAborted(signal, what);
      const isSilent = statusOf(error) === 404 && !isExplained(error);
      throw isSilent ? await explain(s3, { bucket, key, what, signal }, error) : error;
    }
  }

  async stat(key: string, options: CallOptions = {}): Promise<ObjectInfo> {
    const s3 = await this.#begin(options.signal, `looking up ${checkKey(key)}`);
    const info = await this.#head(s3, key, options.signal);
    if (info === undefined) throw new ArchiveError('STORAGE_NOT_FOUND', `there is no object ${key}`);
    return info;
  }

  /** Undefined when the storage says that the key is not there. */
  #head(s3: S3, key: string, signal: AbortSignal | undefined): Promise<ObjectInfo | undefined> {
    return this.#look(s3, key, signal, (head) => ({
      key,
      size: head.ContentLength ?? 0,
      modified: head.LastModified?.getTime() ?? 0,
      ...(head.Metadata === undefined ? {} : { metadata: decodeMetadata(head.Metadata) }),
    }));
  }

  async #look<Value>(
    s3: S3,
    key: string,
    signal: AbortSignal | undefined,
    take: (head: HeadObjectCommandOutput) => Value,
  ): Promise<Value | undefined> {
    const what = `looking up ${key}`;
    try {
      return take(await s3.headObject({ Bucket: this.#settings.bucket, Key: key }, abortOf(signal)));
    } catch (error) {
      throwIfAborted(signal, what);
      const explained = await explain(s3, { bucket: this.#settings.bucket, key, what, signal }, error);
      if (explained.code === 'STORAGE_NOT_FOUND') return undefined;
      throw explained;
    }
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ObjectInfo, void, undefined> {
    const s3 = await this.#begin(options.signal, `listing ${prefix}`);
    yield* listObjects(s3, this.#settings.bucket, prefix, options);
  }

  async remove(keys: readonly string[], options: CallOptions = {}): Promise<RemoveResult> {
    for (const key of keys) checkKey(key);
    const s3 = await this.#begin(options.signal, 'removing objects');
    const { bucket, objectLock } = this.#settings;
    const retained = await removeObjects(s3, {
      bucket,
      keys: [...new Set(keys)],
      mayBeHeld: objectLock !== undefined,
      signal: options.signal,
    });
    return { retained };
  }

  async retain(key: string, until: Date, options: RetainOptions = {}): Promise<Date> {
    const { ifBefore = until, signal } = options;
    const { bucket, objectLock: mode } = this.#settings;
    const s3 = await this.#begin(signal, `locking ${checkKey(key)}`);
    if (mode === undefined)
      throw new ArchiveError('STORAGE_UNSUPPORTED', `${key} cannot be locked: the storage has no "objectLock"`);
    return extendLock(s3, { bucket, key, signal, mode, until, ifBefore });
  }

  asOf(moment: Date): Storage {
    return new PastStorage({
      moment,
      settings: this.#settings,
      begin: (signal, what) => this.#begin(signal, what),
      warn: (message) => this.#context.logger.warn({}, message),
      close: () => this.close(),
    });
  }

  async proveLock(key: string, { signal }: CallOptions = {}): Promise<LockProof> {
    const s3 = await this.#begin(signal, `trying the lock of ${checkKey(key)}`);
    return breakLock(s3, { bucket: this.#settings.bucket, key, signal });
  }

  async close(): Promise<void> {
    this.#closed = true;
    const client = this.#client;
    this.#client = undefined;
    // One that could not be opened has nothing to close, and whoever tried to open it was told why.
    await client?.then(({ close }) => close()).catch(() => undefined);
  }

  /** The client; the first call makes it. */
  async #begin(signal: AbortSignal | undefined, what: string): Promise<S3> {
    if (this.#closed) throw new ArchiveError('INTERNAL', `${what} failed: the storage is closed`);
    throwIfAborted(signal, what);
    if (this.#client === undefined) {
      const { directory, logger } = this.#context;
      const opening = makeAgents(this.#settings, directory).then((agents) =>
        openClient(this.#settings, agents, (message) => logger.warn({}, message)),
      );
      this.#client = opening;
      // The next call tries again: the file of a certificate may come later.
      opening.catch(() => (this.#client = this.#client === opening ? undefined : this.#client));
    }
    return (await this.#client).s3;
  }
}

function unseen(key: string): ArchiveError {
  const message = `storing ${key} failed: the storage says that the object is made, and does not show it yet`;
  return new ArchiveError('STORAGE_UNAVAILABLE', message);
}

function exists(key: string): ArchiveError {
  return new ArchiveError('STORAGE_EXISTS', `the object ${key} exists`);
}
