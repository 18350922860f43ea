import { constants, createZstdCompress, createZstdDecompress, type ZstdCompress, type ZstdDecompress } from 'node:zlib';
import { leaseMemory, leaseOwned } from '@pgark/sdk';
import type { OutputMemory } from './output-memory.ts';

const MIB = 1024 * 1024;

/** Bytes of content of a frame that is decoded whole. */
export const MOST_CONTENT: number = 8 * MIB;

/** No output of one frame fills it: the streams below then never wait for their reader. */
const NEVER_FULL = 1024 * MIB;

/**
 * What a stream of Node's zlib knows of the memory into which it writes. It takes pieces of its own one after the other and forgets them, and
 * each is then new to the kernel, which costs as much as to fill it. There is no other way to give it memory; Node has kept these names since
 * they were first relied on.
 */
interface Steered {
  _outBuffer?: unknown;
  _outOffset?: unknown;
  _chunkSize?: unknown;
}

/**
 * Takes one whole frame, or the content of one, at a time, and works on it in the thread pool. The context of the library is kept from frame
 * to frame: the one-shot calls make a new one each time, and the collector then runs after every few blocks.
 */
export class FrameCoder {
  readonly #stream: ZstdCompress | ZstdDecompress;
  #failed: (error: unknown) => void = () => undefined;

  constructor(stream: ZstdCompress | ZstdDecompress) {
    this.#stream = stream;
    // Of bytes that the library refuses the callback of the write is never told.
    this.#stream.on('error', (error) => this.#failed(error));
  }

  /**
   * What comes of the bytes, as a leased chunk: in a piece of `size` bytes of the memory, and what does not fit there in one of its own. The
   * coder cannot be used again after an error.
   */
  async run(bytes: Uint8Array, size: number, memory: OutputMemory): Promise<Uint8Array> {
    const piece = this.#isSteerable() ? memory.take(size) : undefined;
    if (piece !== undefined)
      Object.assign<object, Steered>(this.#stream, { _outBuffer: piece, _outOffset: 0, _chunkSize: size });
    const made = await this.#write(bytes);
    if (made !== null && made.buffer === piece?.buffer)
      return leaseMemory(made as Buffer<ArrayBuffer>, (bytes) => memory.give(Buffer.from(bytes)));
    // Node has joined it in memory of its own.
    if (piece !== undefined) memory.give(piece);
    if (made === null) return new Uint8Array(0);
    return piece === undefined ? made : leaseOwned(made);
  }

  #write(bytes: Uint8Array): Promise<Buffer | null> {
    return new Promise((resolve, reject) => {
      this.#failed = reject;
      this.#stream.write(bytes, (error) => {
        if (error === null || error === undefined) resolve(this.#stream.read() as Buffer | null);
        else reject(error);
      });
    });
  }

  #isSteerable(): boolean {
    const { _outBuffer, _outOffset, _chunkSize } = this.#stream as Steered;
    return Buffer.isBuffer(_outBuffer) && typeof _outOffset === 'number' && typeof _chunkSize === 'number';
  }

  close(): void {
    this.#stream.destroy();
  }
}

export interface FrameCompressorOptions {
  readonly level: number;
  /** Bytes of most blocks. */
  readonly blockSize: number;
  /** Finds repetitions far apart, within a window of so many bytes as a power of two; by default the window is that of the level. */
  readonly longWindowLog?: number;
}

/** Makes one whole frame of each block. */
export function frameCompressor({ level, blockSize, longWindowLog }: FrameCompressorOptions): FrameCoder {
  const stream = createZstdCompress({
    // Every write ends a frame, which then also tells its content size.
    flush: constants.ZSTD_e_end,
    chunkSize: 2 * frameRoom(blockSize),
    readableHighWaterMark: NEVER_FULL,
    params: {
      [constants.ZSTD_c_compressionLevel]: level,
      [constants.ZSTD_c_checksumFlag]: 1,
      ...(longWindowLog === undefined
        ? {}
        : { [constants.ZSTD_c_enableLongDistanceMatching]: 1, [constants.ZSTD_c_windowLog]: longWindowLog }),
    },
  } as Parameters<typeof createZstdCompress>[0]);
  return new FrameCoder(stream);
}

/** Makes the content of each whole frame. */
export function frameDecompressor(): FrameCoder {
  const stream = createZstdDecompress({
    chunkSize: contentRoom(undefined),
    readableHighWaterMark: NEVER_FULL,
  } as Parameters<typeof createZstdDecompress>[0]);
  return new FrameCoder(stream);
}

/** Bytes into which the frame of a block fits: with less left, the library writes through a buffer of its own. */
export function frameRoom(blockSize: number): number {
  return blockSize + (blockSize >> 6) + 4096;
}

/**
 * Bytes into which the content of a frame fits, with some left, without which Node would ask for more. The claim of a header is not trusted:
 * beyond what a frame that is decoded whole may have it is a lie.
 */
export function contentRoom(claimed: number | undefined): number {
  let room = claimed === undefined ? 4 * MIB : 64 * 1024;
  while (room < Math.min(claimed ?? 0, MOST_CONTENT)) room *= 2;
  return room + 4096;
}
