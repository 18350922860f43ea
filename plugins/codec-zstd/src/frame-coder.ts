import { constants, createZstdCompress, createZstdDecompress, type ZstdCompress, type ZstdDecompress } from 'node:zlib';
import { OutputMemory } from './output-memory.ts';

const MIB = 1024 * 1024;

/** No output of one frame fills it: the streams below then never wait for their reader. */
const NEVER_FULL = 1024 * MIB;

/**
 * Takes one whole frame, or the content of one, at a time, and works on it in the thread pool. The context of the library is kept from frame
 * to frame: the one-shot calls make a new one each time, and the collector then runs after every few blocks.
 */
export class FrameCoder {
  readonly #stream: ZstdCompress | ZstdDecompress;
  readonly #memory: OutputMemory;
  #failed: (error: unknown) => void = () => undefined;

  /** `chunkSize`: bytes of each piece of memory that the stream takes. */
  constructor(stream: ZstdCompress | ZstdDecompress, chunkSize: number) {
    this.#stream = stream;
    this.#memory = new OutputMemory(chunkSize);
    // Of bytes that the library refuses the callback of the write is never told.
    this.#stream.on('error', (error) => this.#failed(error));
  }

  /** What comes of the bytes, as a leased chunk. The coder cannot be used again after an error. */
  run(bytes: Uint8Array): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      this.#failed = reject;
      this.#stream.write(bytes, (error) => {
        if (error !== null && error !== undefined) {
          reject(error);
          return;
        }
        const made = this.#stream.read() as Buffer | null;
        resolve(made === null ? new Uint8Array(0) : this.#memory.lease(made));
      });
    });
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
  // While more room is left than a frame can need, the library writes into it directly, not through a buffer of its own.
  const chunkSize = Math.max(4 * MIB, 2 * blockSize);
  const stream = createZstdCompress({
    // Every write ends a frame, which then also tells its content size.
    flush: constants.ZSTD_e_end,
    chunkSize,
    readableHighWaterMark: NEVER_FULL,
    params: {
      [constants.ZSTD_c_compressionLevel]: level,
      [constants.ZSTD_c_checksumFlag]: 1,
      ...(longWindowLog === undefined
        ? {}
        : { [constants.ZSTD_c_enableLongDistanceMatching]: 1, [constants.ZSTD_c_windowLog]: longWindowLog }),
    },
  } as Parameters<typeof createZstdCompress>[0]);
  return new FrameCoder(stream, chunkSize);
}

/** Makes the content of each whole frame. Four of the usual size fill a piece of memory to the byte. */
export function frameDecompressor(): FrameCoder {
  const chunkSize = 4 * MIB;
  const stream = createZstdDecompress({
    chunkSize,
    readableHighWaterMark: NEVER_FULL,
  } as Parameters<typeof createZstdDecompress>[0]);
  return new FrameCoder(stream, chunkSize);
}
