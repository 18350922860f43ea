/**
 * One case of the fuzz run: random content in random chunks through a codec and back; then the encoded stream is damaged in random ways,
 * and whatever comes of it must be what the contract of codecs allows (CODEC-01, CODEC-03, CODEC-04, CODEC-05).
 */
import { isArchiveError, type Codec } from '@pgark/sdk';
import { Random } from '@pgark/sdk/testing';
import { randomChunks, randomContent } from './content.ts';
import { damage } from './damage.ts';
import type { FuzzTarget } from './targets.ts';

/** What came of the damaged streams of some cases. */
export interface FuzzCounts {
  /** An error, as it should be. */
  found: number;
  /** The same bytes: the damage was in what means nothing. */
  same: number;
  /** Another row of whole streams, which only the digest around the codec can tell. */
  otherStreams: number;
}

export interface FuzzOptions {
  /** Milliseconds after which a call counts as hanging; default 60,000. */
  readonly patience?: number;
  /** Bytes by which a case may let the process grow; default 512 MiB. */
  readonly memory?: number;
}

/** The codec broke its contract. */
export class FuzzFailure extends Error {
  readonly seed: number;
  /** The stream that was decoded wrongly, if it came to that. */
  readonly stream: Uint8Array | undefined;

  constructor(message: string, seed: number, stream: Uint8Array | undefined, cause?: unknown) {
    super(message, { cause });
    this.seed = seed;
    this.stream = stream;
  }
}

/** Damaged streams of each case. */
const ROUNDS = 6;
const MIB = 1024 * 1024;

/** Runs the case that `seed` stands for. Throws {@link FuzzFailure}. */
export async function fuzzCodec(target: FuzzTarget, seed: number, options: FuzzOptions = {}): Promise<FuzzCounts> {
  const { patience = 60_000, memory = 512 * MIB } = options;
  const random = new Random(seed);
  const codec = target.create();
  const counts: FuzzCounts = { found: 0, same: 0, otherStreams: 0 };
  const before = process.memoryUsage.rss();
  const fail = (what: string, stream?: Uint8Array, cause?: unknown): FuzzFailure =>
    new FuzzFailure(what, seed, stream, cause);
  const settled = async <Value>(promise: Promise<Value>, what: string, stream?: Uint8Array): Promise<Value> => {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(fail(`${what} hangs`, stream)), patience);
    });
    try {
      return await Promise.race([promise, late]);
    } finally {
      clearTimeout(timer);
    }
  };

  const content = randomContent(random, target.blockSize);
  const other = randomContent(random, target.blockSize);
  const step = async <Value>(promise: Promise<Value>, what: string, stream?: Uint8Array): Promise<Value> => {
    try {
      return await settled(promise, what, stream);
    } catch (error) {
      throw error instanceof FuzzFailure ? error : fail(`${what} failed: ${told(error)}`, stream, error);
    }
  };
  const encoded = await step(run(codec, 'encode', random, content), 'encoding');
  const otherEncoded = await step(run(codec, 'encode', random, other), 'encoding');
  const stream = joined(encoded);
  const otherStream = joined(otherEncoded);
  const decoded = await step(run(codec, 'decode', random, stream), 'decoding', stream);
  if (!joined(decoded).equals(content)) throw fail('what was decoded is not what was encoded', stream);
  await step(stopped(codec, new Random(random.integer(2 ** 32)), content), 'stopping');

  const wholes = target.concatenates
    ? await wholeContents(codec, random, [encoded, otherEncoded], [content, other])
    : [];
  for (let round = 0; round < ROUNDS; round++) {
    const { what, bytes } = damage(random, stream, otherStream);
    // Streams of one codec are alike at the begin: spliced there, they are whole.
    if (bytes.equals(stream) || bytes.equals(otherStream)) continue;
    const limit = content.byteLength + other.byteLength + 64 * MIB;
    let result: Buffer;
    try {
      result = joined(await settled(run(codec, 'decode', random, bytes, limit), `decoding a stream, ${what},`, bytes));
    } catch (error) {
      if (error instanceof FuzzFailure) throw error;
      const allowed =
        isArchiveError(error, 'CODEC_CORRUPT') || (codec.keyIds !== undefined && isArchiveError(error, 'CODEC_KEY'));
      if (!allowed)
        throw fail(`a stream, ${what}, was neither decoded nor CODEC_CORRUPT: ${told(error)}`, bytes, error);
      counts.found++;
      continue;
    }
    if (result.equals(content)) counts.same++;
    else if (isRowOf(result, wholes)) counts.otherStreams++;
    else throw fail(`a stream of ${content.byteLength} bytes, ${what}, gave ${result.byteLength} other bytes`, bytes);
  }
  const growth = process.memoryUsage.rss() - before;
  if (growth > memory) throw fail(`the process grew by ${Math.round(growth / MIB)} MiB`);
  return counts;
}

/** The chunks that a direction gives. */
async function run(
  codec: Codec,
  direction: 'encode' | 'decode',
  random: Random,
  bytes: Uint8Array,
  limit = Infinity,
): Promise<Buffer[]> {
  // A randomness of its own: how the chunks of two streams follow each other is not for the seed to say.
  const own = new Random(random.integer(2 ** 32));
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of codec[direction](randomChunks(own, bytes), { concurrency: 1 + own.integer(6) })) {
    chunks.push(Buffer.from(chunk));
    size += chunk.byteLength;
    if (size > limit) throw new RangeError(`it goes on behind ${limit} bytes`);
    if (own.integer(8) === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  return chunks;
}

/** A source that fails, or an abort, at a random place: the error comes back. */
async function stopped(codec: Codec, random: Random, content: Uint8Array): Promise<void> {
  const abort = new AbortController();
  const at = random.integer(content.byteLength + 1);
  const thrown = random.integer(2) === 0 ? new Error('the source failed') : undefined;
  let stop = false;
  const source = async function* (): AsyncGenerator<Uint8Array> {
    yield* randomChunks(random, content.subarray(0, at));
    stop = true;
    if (thrown !== undefined) throw thrown;
    abort.abort();
    yield content.subarray(at);
  };
  const encoding = async (): Promise<void> => {
    for await (const chunk of codec.encode(source(), { concurrency: 2, signal: abort.signal })) void chunk;
  };
  const outcome: unknown = await encoding().catch((error: unknown) => error);
  const isRight = thrown === undefined ? isArchiveError(outcome, 'ABORTED') : outcome === thrown;
  if (!isRight || !stop)
    throw new Error(`expected ${thrown === undefined ? 'ABORTED' : 'its error'}, got ${told(outcome)}`);
}

/** What each chunk is by itself, where it is a stream, and what the streams are. */
async function wholeContents(
  codec: Codec,
  random: Random,
  streams: readonly (readonly Buffer[])[],
  contents: readonly Buffer[],
): Promise<readonly Buffer[]> {
  const wholes = [...contents];
  for (const chunks of streams) {
    const alone = await Promise.all(
      chunks.map((chunk) => run(codec, 'decode', random, chunk).then(joined, () => undefined)),
    );
    wholes.push(...alone.filter((one) => one !== undefined));
  }
  return wholes.filter(({ byteLength }) => byteLength > 0);
}

/** Whether the bytes are a row of these pieces, each as often as it likes. */
function isRowOf(bytes: Buffer, pieces: readonly Buffer[]): boolean {
  if (pieces.length === 0) return false;
  const reached = new Set([0]);
  for (const at of reached) {
    if (at === bytes.byteLength) return true;
    for (const piece of pieces) {
      const end = at + piece.byteLength;
      if (end <= bytes.byteLength && bytes.subarray(at, end).equals(piece)) reached.add(end);
    }
  }
  return reached.has(bytes.byteLength);
}

function joined(chunks: readonly Buffer[]): Buffer {
  return Buffer.concat(chunks);
}

function told(error: unknown): string {
  return isArchiveError(error) ? `${error.code}: ${error.message}` : String(error);
}
