import { constants, createZstdCompress, type ZstdCompress } from 'node:zlib';

/** No output of one frame fills it: the stream below then never waits for its reader. */
const NEVER_FULL = 1024 * 1024 * 1024;

export interface FrameCompressorOptions {
  readonly level: number;
  /** Bytes of most blocks. */
  readonly blockSize: number;
  /** Finds repetitions far apart, within a window of so many bytes as a power of two; by default the window is that of the level. */
  readonly longWindowLog?: number;
}

/**
 * Makes one whole frame of each block, one at a time, in the thread pool. The context of the library is kept from frame to frame:
 * the one-shot call makes a new one, of megabytes, each time, and the collector then runs after every few blocks.
 */
export class FrameCompressor {
  readonly #stream: ZstdCompress;

  constructor({ level, blockSize, longWindowLog }: FrameCompressorOptions) {
    this.#stream = createZstdCompress({
      // Every write ends a frame, which then also tells its content size.
      flush: constants.ZSTD_e_end,
      // While more room is left than a frame can need, the library writes into it directly, not through a buffer of its own.
      chunkSize: Math.max(4 * 1024 * 1024, 2 * blockSize),
      readableHighWaterMark: NEVER_FULL,
      params: {
        [constants.ZSTD_c_compressionLevel]: level,
        [constants.ZSTD_c_checksumFlag]: 1,
        ...(longWindowLog === undefined
          ? {}
          : { [constants.ZSTD_c_enableLongDistanceMatching]: 1, [constants.ZSTD_c_windowLog]: longWindowLog }),
      },
    } as Parameters<typeof createZstdCompress>[0]);
    // The call under way is told by its own callback.
    this.#stream.on('error', () => undefined);
  }

  compress(block: Uint8Array): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      this.#stream.write(block, (error) => {
        if (error !== null && error !== undefined) reject(error);
        else resolve((this.#stream.read() as Buffer | null) ?? new Uint8Array(0));
      });
    });
  }

  close(): void {
    this.#stream.destroy();
  }
}
