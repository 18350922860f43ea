import type { Codec, CodecContext } from '../contracts/codec.ts';
import { encodeThrough } from '../contracts/codec-chain.ts';
import { ArchiveError, throwIfAborted } from '../contracts/errors.ts';
import type { PutOptions, Storage } from '../contracts/storage.ts';
import { Digest } from './digest.ts';
import { hashInThread } from './hash-thread.ts';
import { hashInPlace, hashNothing } from './hasher.ts';

/** What was stored: sizes in bytes, digests as 64 lower-case hex digits. */
export interface StoredObject {
  readonly key: string;
  readonly plainSize: number;
  /** Absent when it was not wanted (`plainHash`). */
  readonly plainSha256?: string;
  readonly storedSize: number;
  readonly storedSha256: string;
}

export interface StoreOptions {
  /** In order of application; none stores the bytes as they are. */
  readonly codecs: readonly Codec[];
  /** How many blocks each codec may work on at once. */
  readonly concurrency: number;
  /** Length of the source, if known: a source of another length is `STORAGE_CORRUPT` and leaves nothing. */
  readonly size?: number;
  /** First hex digits of the SHA-256 that the source must have: another source is `STORAGE_CORRUPT` and leaves nothing. */
  readonly plainDigest?: string;
  /**
   * Whether the source is hashed too, default true. Hashing costs about what compressing does: false for what is covered
   * otherwise. Without codecs it is the hash of the stored bytes anyway.
   */
  readonly plainHash?: boolean;
  /** For objects of hundreds of megabytes: hash in a thread of its own. Default false. */
  readonly large?: boolean;
  readonly signal?: AbortSignal;
  readonly retainUntil?: Date;
  /** Told with every chunk that goes to the storage: bytes so far of this object, plain and stored. */
  readonly onBytes?: (plain: number, stored: number) => void;
}

/**
 * Stores one object once: source, digest, codecs in order, digest, `storage.put` with `ifAbsent`.
 *
 * A source that can be read again (its iterator is another object than itself) makes a body that can be read again,
 * so that a storage which retries may do so; any other body is read once and refuses a second reading.
 *
 * Errors: those of the source, the codecs and the storage as they are (`STORAGE_EXISTS` among them); `ABORTED`.
 */
export async function store(
  storage: Storage,
  key: string,
  source: AsyncIterable<Uint8Array>,
  options: StoreOptions,
): Promise<StoredObject> {
  const { plain, stored } = await put(storage, key, source, { ...options, storedHash: true });
  return {
    key,
    plainSize: plain.size,
    ...(options.plainHash === false && options.codecs.length > 0 ? {} : { plainSha256: plain.sha256 }),
    storedSize: stored.size,
    storedSha256: stored.sha256,
  };
}

/**
 * As {@link store}, for an object of which no digest is kept but that of its content, in its name: what goes to the storage is not hashed,
 * which nobody would look at.
 */
export async function storeNamed(
  storage: Storage,
  key: string,
  source: AsyncIterable<Uint8Array>,
  options: StoreOptions,
): Promise<void> {
  await put(storage, key, source, { ...options, storedHash: false });
}

interface AttemptOptions extends StoreOptions {
  readonly storedHash: boolean;
}

async function put(
  storage: Storage,
  key: string,
  source: AsyncIterable<Uint8Array>,
  options: AttemptOptions,
): Promise<Attempt> {
  const { codecs, signal } = options;
  throwIfAborted(signal, `storing ${key}`);
  let attempt: Attempt | undefined;
  const open = (): AsyncIterable<Uint8Array> => {
    attempt = begin(key, source, options);
    return attempt.body;
  };
  const size = codecs.length === 0 ? options.size : undefined;
  const call: PutOptions = {
    ifAbsent: true,
    ...(size === undefined ? {} : { size }),
    ...(signal === undefined ? {} : { signal }),
    ...(options.retainUntil === undefined ? {} : { retainUntil: options.retainUntil }),
  };
  if (isOneShot(source)) {
    const body = readOnce(key, open);
    try {
      await storage.put(key, body, call);
    } catch (error) {
      // The producer must learn that nobody reads on, even if nobody began; but it may be what hangs.
      body.return().catch(() => undefined);
      throw error;
    }
  } else {
    await storage.put(key, { [Symbol.asyncIterator]: () => iterate(open()) }, call);
  }

  if (attempt?.stored.ended !== true) {
    throw new ArchiveError('STORAGE_CORRUPT', `${key} was stored without being read to its end`, {
      hint: 'The storage plugin breaks its contract: report it to its author, and do not trust this object.',
    });
  }
  return attempt;
}

interface Attempt {
  readonly plain: Digest;
  readonly stored: Digest;
  readonly body: AsyncIterable<Uint8Array>;
}

/** One reading of the source: fresh digests around fresh codec streams. */
function begin(key: string, source: AsyncIterable<Uint8Array>, options: AttemptOptions): Attempt {
  const { codecs, concurrency, signal, onBytes, plainHash = true, storedHash } = options;
  const context: CodecContext = { concurrency, ...(signal === undefined ? {} : { signal }) };
  const hash = options.large === true ? hashInThread : hashInPlace;
  const plain = new Digest(plainHash || (storedHash && codecs.length === 0) ? hash : hashNothing);
  const stored = codecs.length === 0 ? plain : new Digest(storedHash ? hash : hashNothing);
  const report = (): void => onBytes?.(plain.size, stored.size);
  const ended = (): void => checkSource(key, plain, options);
  if (codecs.length === 0) return { plain, stored, body: plain.tap(source, { ended, passed: report }) };
  const body = encodeThrough(codecs, plain.tap(source, { ended }), context);
  return { plain, stored, body: stored.tap(body, { passed: report }) };
}

function checkSource(key: string, plain: Digest, { size, plainDigest }: StoreOptions): void {
  if (size !== undefined && plain.size !== size) {
    throw new ArchiveError('STORAGE_CORRUPT', `${key} should have ${size} bytes, its source gave ${plain.size}`);
  }
  if (plainDigest !== undefined && !plain.sha256.startsWith(plainDigest)) {
    throw new ArchiveError('STORAGE_CORRUPT', `the source of ${key} does not have the digest ${plainDigest}`, {
      hint: 'It changed while it was read, or the disk it was read from is failing; nothing was stored.',
    });
  }
}

function iterate(source: AsyncIterable<Uint8Array>): AsyncIterator<Uint8Array> {
  return source[Symbol.asyncIterator]();
}

/** Whether reading the source a second time would go on where the first one stopped: generators, streams of Node and of the web. */
function isOneShot(source: AsyncIterable<Uint8Array>): boolean {
  return 'next' in source || 'pipe' in source || 'getReader' in source;
}

interface OneReading extends AsyncIterableIterator<Uint8Array> {
  return(): Promise<IteratorResult<Uint8Array>>;
}

/** A generator read again gives nothing at all, and an empty object would be stored: this one refuses. */
function readOnce(key: string, open: () => AsyncIterable<Uint8Array>): OneReading {
  let inner: AsyncIterator<Uint8Array> | undefined;
  const started = (): AsyncIterator<Uint8Array> => (inner ??= iterate(open()));
  let handed = false;
  return {
    next: () => started().next(),
    return: async () => (await started().return?.()) ?? { done: true, value: undefined },
    [Symbol.asyncIterator]() {
      if (handed) throw new ArchiveError('INTERNAL', `the source of ${key} cannot be read a second time`);
      handed = true;
      return this;
    },
  };
}
