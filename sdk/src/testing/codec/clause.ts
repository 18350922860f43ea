import assert from 'node:assert/strict';
import { isArchiveError, type Codec } from 'pgark/contracts';
import type { Random } from '../storage/random.ts';

/** What the suite needs to know of a codec. */
export interface CodecSuiteOptions {
  /** Makes the codec; called for each test. */
  readonly create: () => Codec | Promise<Codec>;
  /** The well-known tool of the format. Its tests are skipped where it is not installed, or when there is none. */
  readonly tool?: CodecTool;
  /** Bytes of content in the largest piece that the codec works on alone; default 4 MiB. */
  readonly blockSize?: number;
  /** Whether two streams, one after the other, are a stream again; default false. */
  readonly concatenates?: boolean;
  /** Makes of an encoded stream one of a later version of the format. Without it, for formats without versions, its test is skipped. */
  readonly future?: (encoded: Uint8Array) => Uint8Array;
  /** For codecs with keys; without one of these its tests are skipped. */
  readonly keys?: CodecKeys;
  /** What the codec is known not to do, by the id of the clause. An id that does not exist is an error. */
  readonly knownGaps?: readonly { readonly id: string; readonly reason: string }[];
  /** Seed of all random content; by default another one on every run, told when a test fails. */
  readonly seed?: number;
  /** Milliseconds for one test; default 60,000. */
  readonly timeout?: number;
  /** Milliseconds after which a call counts as hanging; default 15,000, far from what a correct codec takes. */
  readonly patience?: number;
}

/** The same codec with other keys than `create` gives it, which has one to write for and can read what it writes. */
export interface CodecKeys {
  /** Can neither read what that of `create` writes, nor write what that one reads. */
  readonly other?: () => Codec | Promise<Codec>;
  /** Reads what that of `create` writes, and has no key to write for. */
  readonly readOnly?: () => Codec | Promise<Codec>;
  /** Writes what that of `create` reads, and cannot read it itself. */
  readonly writeOnly?: () => Codec | Promise<Codec>;
  /** What must be in no text: the secrets of all these codecs, as they were given or as bytes. */
  readonly secrets?: readonly (string | Uint8Array)[];
}

/** Commands, as arguments without a shell, that read standard input and write standard output. */
export interface CodecTool {
  readonly decode: readonly [string, ...string[]];
  /** Each a way in which the tool may write the format. */
  readonly encode: readonly (readonly [string, ...string[]])[];
}

/** One promise of the contract, or a part of it, as a test. */
export interface CodecClause {
  /** `CODEC-03/truncated`: the promise in `contracts/codec.ts`, and a name for the part. */
  readonly id: string;
  readonly title: string;
  run(context: CodecClauseContext): Promise<void>;
}

/** Thrown by a clause that cannot be tried here. */
export class CodecClauseSkipped extends Error {}

/** What a clause works with. */
export class CodecClauseContext {
  readonly codec: Codec;
  readonly options: CodecSuiteOptions;
  readonly random: Random;

  constructor(codec: Codec, options: CodecSuiteOptions, random: Random) {
    this.codec = codec;
    this.options = options;
    this.random = random;
  }

  get blockSize(): number {
    return this.options.blockSize ?? 4 * 1024 * 1024;
  }

  async encode(chunks: Chunks, concurrency = 2, codec: Codec = this.codec): Promise<Buffer> {
    return this.settled(joined(codec.encode(stream(chunks), { concurrency })), 'encoding');
  }

  async decode(chunks: Chunks, concurrency = 2, codec: Codec = this.codec): Promise<Buffer> {
    return this.settled(joined(codec.decode(stream(chunks), { concurrency })), 'decoding');
  }

  /** Waits for a promise, but not for ever. */
  async settled<Value>(promise: Promise<Value>, what: string): Promise<Value> {
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<never>((_resolve, reject) => {
      const giveUp = (): void => reject(new assert.AssertionError({ message: `${what} hangs` }));
      timer = setTimeout(giveUp, this.options.patience ?? 15_000);
    });
    try {
      return await Promise.race([promise, limit]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** The error with which the promise rejects. */
  async failureOf(promise: Promise<unknown>, what: string): Promise<unknown> {
    try {
      await this.settled(promise, what);
    } catch (error) {
      return error;
    }
    throw new assert.AssertionError({ message: `${what} did not fail` });
  }

  /** Content that compresses by about a half: runs of random bytes and of repetition. */
  content(length: number): Buffer {
    const bytes = Buffer.alloc(length);
    for (let at = 0; at < length;) {
      const run = Math.min(length - at, 1 + this.random.integer(2000));
      if (this.random.integer(2) === 0) bytes.set(this.random.bytes(run), at);
      else bytes.fill(this.random.integer(256), at, at + run);
      at += run;
    }
    return bytes;
  }

  /** Asserts that decoding fails as the contract says. */
  async rejectsAsCorrupt(chunks: Chunks, what: string): Promise<void> {
    const outcome = await this.tryDecode(chunks);
    if ('error' in outcome) return;
    throw new assert.AssertionError({
      message: `${what} was decoded without an error, to ${outcome.bytes.length} bytes`,
    });
  }

  /** Decodes what may be damaged: the bytes, or an error that the contract allows. Another error is thrown. */
  async tryDecode(chunks: Chunks): Promise<DecodeOutcome> {
    try {
      return { bytes: await this.decode(chunks) };
    } catch (error) {
      // With keys, damage in what wraps the key may look like another key.
      if (isArchiveError(error, 'CODEC_CORRUPT')) return { error };
      if (this.codec.keyIds !== undefined && isArchiveError(error, 'CODEC_KEY')) return { error };
      throw error;
    }
  }
}

/** What came of decoding what may be damaged. */
export type DecodeOutcome =
  | { readonly bytes: Buffer; readonly error?: undefined }
  /** `CODEC_CORRUPT`, or `CODEC_KEY` of a codec with keys. */
  | { readonly error: unknown };

/** A stream, the chunks of one, or its only chunk. */
export type Chunks = Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

export async function* stream(chunks: Chunks): AsyncGenerator<Uint8Array, void, undefined> {
  if (chunks instanceof Uint8Array) yield chunks;
  else yield* chunks;
}

async function joined(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** `bytes` in chunks of `length`. */
export function* inChunks(bytes: Uint8Array, length: number): Generator<Uint8Array, void, undefined> {
  for (let start = 0; start < bytes.byteLength; start += length) yield bytes.subarray(start, start + length);
}

/** Compares bytes without printing megabytes of them. */
export function assertBytes(actual: Uint8Array, expected: Uint8Array, what: string): void {
  assert.equal(actual.byteLength, expected.byteLength, `${what}: length`);
  if (Buffer.compare(actual, expected) === 0) return;
  const at = actual.findIndex((byte, index) => byte !== expected[index]);
  throw new assert.AssertionError({ message: `${what}: the bytes differ from offset ${at} on` });
}
