import type { BlockBlobClient } from '@azure/storage-blob';
import {
  ArchiveError,
  checkKey,
  isArchiveError,
  throwIfAborted,
  type CallOptions,
  type GetOptions,
  type ListOptions,
  type ObjectInfo,
  type PutOptions,
  type RemoveResult,
  type RetainOptions,
  type Storage,
  type StorageCapabilities,
} from '@pgark/sdk';
import { faultIn, isRetained } from './azure-error.ts';
import { connect, type Connection } from './connection.ts';
import { download } from './download.ts';
import { listing } from './listing.ts';
import { decodeMetadata } from './metadata.ts';
import { DEFAULT_BLOCK_SIZE, DEFAULT_TIMEOUT, type AzureStorageOptions } from './options.ts';
import { upload } from './upload.ts';
import { watched } from './watch.ts';

/** Objects that are deleted at once. */
const REMOVED_AT_ONCE = 16;

/**
 * Objects as block blobs of a container.
 *
 * `ifAbsent` is the condition `If-None-Match: *` on the request that stores the object, so the service lets one writer win. Objects
 * that are being written are uncommitted blocks, which nobody sees. Retries are left to the stack around it.
 */
export class AzureStorage implements Storage {
  readonly capabilities: StorageCapabilities;
  readonly #options: AzureStorageOptions;
  readonly #timeout: number;
  #connection: Promise<Connection> | undefined;
  #closed = false;

  constructor(options: AzureStorageOptions) {
    this.#options = options;
    this.#timeout = 1000 * (options.timeout ?? DEFAULT_TIMEOUT);
    this.capabilities = { conditionalPut: true, retention: options.immutability !== undefined, metadata: true };
  }

  async put(key: string, body: AsyncIterable<Uint8Array>, options: PutOptions): Promise<void> {
    const blob = await this.#blob(key, options.signal, `storing ${key}`);
    const { accessTier, blockSize = DEFAULT_BLOCK_SIZE, immutability } = this.#options;
    await upload(blob, key, body, options, { accessTier, blockSize, immutability, timeout: this.#timeout });
  }

  async *get(key: string, options: GetOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    const blob = await this.#blob(key, options.signal, `reading ${key}`);
    yield* download(blob, key, options, this.#timeout);
  }

  async stat(key: string, options: CallOptions = {}): Promise<ObjectInfo> {
    const what = `looking up ${key}`;
    const blob = await this.#blob(key, options.signal, what);
    const { contentLength, lastModified, metadata } = await watched(
      { what, signal: options.signal, timeout: this.#timeout },
      (watch) => blob.getProperties({ abortSignal: watch.signal }),
    );
    if (contentLength === undefined || lastModified === undefined) {
      throw new ArchiveError('STORAGE_UNAVAILABLE', `${what} failed: the answer has no length or no time`);
    }
    const own = decodeMetadata(metadata);
    const info = { key, size: contentLength, modified: lastModified.getTime() };
    return own === undefined ? info : { ...info, metadata: own };
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ObjectInfo, void, undefined> {
    const { container } = await this.#begin(options.signal, `listing ${prefix}`);
    yield* listing(container, prefix, options, this.#timeout);
  }

  async remove(keys: readonly string[], options: CallOptions = {}): Promise<RemoveResult> {
    for (const key of keys) checkKey(key);
    const { container } = await this.#begin(options.signal, 'removing objects');
    const waiting = [...new Set(keys)];
    const retained = new Set<string>();
    let failed = false;
    const remover = async (): Promise<void> => {
      for (let key = waiting.shift(); key !== undefined && !failed; key = waiting.shift()) {
        try {
          if (!(await this.#removeOne(container.getBlockBlobClient(key), key, options.signal))) retained.add(key);
        } catch (error) {
          failed = true;
          throw error;
        }
      }
    };
    // All have ended before the call does: nothing is deleted after it.
    const results = await Promise.allSettled(Array.from({ length: REMOVED_AT_ONCE }, remover));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
    return { retained: keys.filter((key) => retained.delete(key)) };
  }

  /** False when the storage keeps the object. */
  async #removeOne(blob: BlockBlobClient, key: string, signal: AbortSignal | undefined): Promise<boolean> {
    try {
      await watched({ what: `removing ${key}`, signal, timeout: this.#timeout }, (watch) =>
        blob.delete({ abortSignal: watch.signal, deleteSnapshots: 'include' }),
      );
      return true;
    } catch (error) {
      if (isArchiveError(error, 'STORAGE_NOT_FOUND')) return true;
      if (isRetained(faultIn(error))) return false;
      throw error;
    }
  }

  async retain(key: string, until: Date, options: RetainOptions = {}): Promise<Date> {
    const { ifBefore = until, signal } = options;
    const what = `locking ${key}`;
    const { immutability: policyMode } = this.#options;
    const blob = await this.#blob(key, signal, what);
    if (policyMode === undefined)
      throw new ArchiveError('STORAGE_UNSUPPORTED', `${key} cannot be locked: the storage has no "immutability"`);
    return watched({ what, signal, timeout: this.#timeout }, async (watch) => {
      const end = (await blob.getProperties({ abortSignal: watch.signal })).immutabilityPolicyExpiresOn;
      if (end !== undefined && (end >= ifBefore || end >= until)) return end;
      watch.progress();
      await blob.setImmutabilityPolicy({ expiriesOn: until, policyMode }, { abortSignal: watch.signal });
      return until;
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    const connection = this.#connection;
    this.#connection = undefined;
    // One that could not be made holds nothing.
    (await connection?.catch(() => undefined))?.close();
  }

  async #blob(key: string, signal: AbortSignal | undefined, what: string): Promise<BlockBlobClient> {
    checkKey(key);
    return (await this.#begin(signal, what)).container.getBlockBlobClient(key);
  }

  async #begin(signal: AbortSignal | undefined, what: string): Promise<Connection> {
    if (this.#closed) throw new ArchiveError('INTERNAL', `${what} failed: the storage is closed`);
    throwIfAborted(signal, what);
    this.#connection ??= connect(this.#options);
    return this.#connection;
  }
}
