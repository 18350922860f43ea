import type { Codec, CodecContext } from '../contracts/codec.ts';
import { decodeThrough } from '../contracts/codec-chain.ts';
import { ArchiveError, isArchiveError, throwIfAborted } from '../contracts/errors.ts';
import type { Storage } from '../contracts/storage.ts';
import { Digest } from './digest.ts';
import { hashInThread } from './hash-thread.ts';
import { hashInPlace, hashNothing } from './hasher.ts';
import type { StoredObject } from './store.ts';

/** What an object must turn out to be; only what is given is checked. */
export interface Expectation {
  readonly plainSha256?: string | undefined;
  /** The first 32 hex digits of the SHA-256 of the plain bytes, as in an object's name. */
  readonly plainDigest?: string;
  readonly plainSize?: number;
  readonly storedSize?: number;
  readonly storedSha256?: string;
}

export interface LoadOptions {
  /** In the order in which they were applied when the object was stored. */
  readonly codecs: readonly Codec[];
  /** How many blocks each codec may work on at once. */
  readonly concurrency: number;
  /** For objects of hundreds of megabytes: hash what is read in a thread of its own. Default false. */
  readonly large?: boolean;
  readonly signal?: AbortSignal;
  readonly expect?: Expectation;
  /** Told at the end what the object turned out to be, all of it hashed. */
  readonly onEnd?: (facts: Required<Omit<StoredObject, 'key'>>) => void;
}

/**
 * Reads one object: `storage.get`, codecs backwards, plain bytes. What `expect` says is compared after the last chunk
 * and before the loop ends: who reads to the end has the right bytes, who leaves earlier knows nothing yet.
 *
 * Errors, all naming the key: `STORAGE_CORRUPT` when the stored bytes are not those expected (or the plain ones, without
 * codecs), `CODEC_CORRUPT` when they cannot be decoded or decode to other bytes, `CODEC_KEY`, those of the storage, and
 * `ABORTED`.
 */
export async function* load(storage: Storage, key: string, options: LoadOptions): AsyncGenerator<Uint8Array> {
  const { codecs, concurrency, signal, expect = {} } = options;
  throwIfAborted(signal, `reading ${key}`);
  const context: CodecContext = { concurrency, ...(signal === undefined ? {} : { signal }) };
  const hash = options.large === true ? hashInThread : hashInPlace;
  const wantAll = options.onEnd !== undefined;
  const wantPlain = wantAll || expect.plainSha256 !== undefined || expect.plainDigest !== undefined;
  const wantStored = wantAll || expect.storedSha256 !== undefined;

  let stream: AsyncIterable<Uint8Array> = storage.get(key, signal === undefined ? {} : { signal });
  let stored: Digest | undefined;
  if (codecs.length > 0) {
    const digest = (stored = new Digest(wantStored ? hash : hashNothing));
    const tapped = digest.tap(stream, { ended: () => checkStored(key, digest, expect) });
    stream = decodeThrough(codecs, tapped, context);
  }
  // Without codecs the stored bytes are the plain ones, and hashed once.
  const hashPlain = wantPlain || (wantStored && codecs.length === 0);
  const plain = new Digest(hashPlain ? hash : hashNothing);
  try {
    for await (const chunk of plain.tap(stream)) {
      yield chunk;
      throwIfAborted(signal, `reading ${key}`);
    }
  } catch (error) {
    throw withKey(error, key);
  }
  if (stored === undefined) checkStored(key, plain, expect);
  else if (!stored.ended) throw new ArchiveError('CODEC_CORRUPT', `${key} holds more bytes than the codec read`);
  checkPlain(key, plain, expect, codecs.length === 0 ? 'STORAGE_CORRUPT' : 'CODEC_CORRUPT');
  const bytes = stored ?? plain;
  options.onEnd?.({
    plainSize: plain.size,
    plainSha256: plain.sha256,
    storedSize: bytes.size,
    storedSha256: bytes.sha256,
  });
}

function checkStored(key: string, stored: Digest, expect: Expectation): void {
  if (expect.storedSize !== undefined && expect.storedSize !== stored.size) {
    throw new ArchiveError(
      'STORAGE_CORRUPT',
      `${key} should be ${expect.storedSize} bytes, the storage gave ${stored.size}`,
    );
  }
  if (expect.storedSha256 !== undefined && expect.storedSha256 !== stored.sha256) {
    throw new ArchiveError(
      'STORAGE_CORRUPT',
      `${key} should have SHA-256 ${expect.storedSha256}, the storage gave ${stored.sha256}`,
    );
  }
}

function checkPlain(key: string, plain: Digest, expect: Expectation, code: 'STORAGE_CORRUPT' | 'CODEC_CORRUPT'): void {
  if (expect.plainSize !== undefined && expect.plainSize !== plain.size) {
    throw new ArchiveError(code, `${key} should hold ${expect.plainSize} bytes, it holds ${plain.size}`);
  }
  const wanted = expect.plainSha256 ?? expect.plainDigest;
  if (wanted === undefined) return;
  if (plain.sha256 !== (expect.plainSha256 ?? plain.sha256) || !plain.sha256.startsWith(expect.plainDigest ?? '')) {
    throw new ArchiveError(
      code,
      `${key} should hold content with SHA-256 ${wanted}, it holds ${plain.sha256.slice(0, wanted.length)}`,
    );
  }
}

/** A codec knows its input as a stream: say which object it was. */
function withKey(error: unknown, key: string): unknown {
  if (!isArchiveError(error) || error.message.includes(key)) return error;
  if (error.code !== 'CODEC_CORRUPT' && error.code !== 'CODEC_KEY') return error;
  return new ArchiveError(error.code, `${key}: ${error.message}`, {
    cause: error.cause ?? error,
    hint: error.hint,
    details: error.details,
  });
}
