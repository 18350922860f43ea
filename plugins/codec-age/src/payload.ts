import { setImmediate as nextTurn } from 'node:timers/promises';
import { leaseChunk, mapOrdered, type ByteReader, type CodecContext } from '@pgark/sdk';
import { runInThread, threadLimit } from './chunk-threads.ts';
import { BLOCK_CHUNKS, CHUNK, openBlock, SEALED, sealBlock, type Block } from './chunks.ts';
import { corrupt } from './corrupt.ts';

/** Memory of blocks that nobody uses. It outlives a stream, because most streams are small and soon followed by another. */
const free: Uint8Array[] = [];

/** Blocks of memory that are kept. */
const MOST_FREE = 8;

/** Blocks of a stream that are worked on in place: to start a thread takes as long as they do, and most WAL segments have no more. */
const IN_PLACE = 16;

export interface PayloadOptions extends CodecContext {
  /** 32 bytes, of this payload alone. */
  readonly key: Uint8Array;
  /** What is being done, for the message of `ABORTED`. */
  readonly what: string;
}

/** The sealed chunks of the content that the reader gives, in leased blocks of about 1 MiB. Does not end the source. */
export function sealPayload(content: ByteReader, options: PayloadOptions): AsyncGenerator<Uint8Array> {
  return blockwise('seal', content, options);
}

/**
 * The content of the sealed chunks that the reader gives, in leased blocks of 1 MiB; each only when all of it is known to be as it was
 * sealed. Does not end the source. Errors: `CODEC_CORRUPT` for anything that is not the whole payload.
 */
export function openPayload(sealed: ByteReader, options: PayloadOptions): AsyncGenerator<Uint8Array> {
  return blockwise('open', sealed, options);
}

function blockwise(
  direction: 'seal' | 'open',
  source: ByteReader,
  { key, ...options }: PayloadOptions,
): AsyncGenerator<Uint8Array> {
  const threaded = threadLimit() > 0;
  const work = async (block: Block): Promise<Uint8Array> => {
    const inThread = threaded && block.first >= IN_PLACE * BLOCK_CHUNKS;
    const { memory, result } = inThread
      ? await runInThread({ direction, block, key })
      : { memory: block.memory, result: await inPlace(direction, block, key) };
    if ('fault' in result) throw corrupt(result.fault);
    return given(memory, result.length);
  };
  // One more than can be worked on: the threads need not wait until the next block is read.
  const concurrency = options.concurrency + 1;
  return mapOrdered(blocks(source, direction === 'seal' ? CHUNK : SEALED), work, { ...options, concurrency });
}

async function inPlace(
  direction: 'seal' | 'open',
  block: Block,
  key: Uint8Array,
): Promise<ReturnType<typeof sealBlock>> {
  // A source that always has bytes would otherwise keep everything else waiting until its end.
  await nextTurn();
  return direction === 'seal' ? sealBlock(block, key) : openBlock(block, key);
}

/** The first bytes of the memory, to be given out. */
function given(memory: Uint8Array, length: number): Uint8Array {
  const release = (): void => {
    if (free.length < MOST_FREE) free.push(memory);
  };
  if (length > memory.byteLength / 4) return leaseChunk(memory.subarray(0, length), release);
  // Small objects are kept, often many at once: not with the memory of large ones.
  const copy = new Uint8Array(memory.subarray(0, length));
  release();
  return copy;
}

/** Cuts the bytes into blocks. `size`: bytes of a chunk as the reader gives it. An empty source is one empty block. */
async function* blocks(source: ByteReader, size: number): AsyncGenerator<Block> {
  let last = false;
  for (let first = 0; !last; first += BLOCK_CHUNKS) {
    // Not from Node's pool of small buffers, whose memory cannot go to a thread.
    const memory = free.pop() ?? Buffer.allocUnsafeSlow(BLOCK_CHUNKS * SEALED);
    let length = 0;
    for (let at = 0; at < memory.byteLength; at += SEALED) length += await fill(source, memory.subarray(at, at + size));
    last = await source.atEnd();
    yield { memory, length, first, last };
  }
}

/** Fills the target; gives how many bytes there were, fewer only at the end of the source. */
async function fill(source: ByteReader, target: Uint8Array): Promise<number> {
  let filled = 0;
  while (filled < target.byteLength) {
    const part = await source.next(target.byteLength - filled);
    if (part === undefined) break;
    target.set(part, filled);
    filled += part.byteLength;
  }
  return filled;
}
