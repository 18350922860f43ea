import { mapBlocks, type Codec, type CodecContext } from '@pgark/sdk';
import { CoderPool } from './coder-pool.ts';
import { decodeFrames } from './decode.ts';
import { frameCompressor, frameRoom } from './frame-coder.ts';

export interface ZstdCodecOptions {
  /** 1 (fastest) to 19 (smallest). */
  readonly level: number;
  /** Whether repetitions that are up to 16 MiB apart are found; by default only those within the window of the level. */
  readonly long?: boolean;
}

const MIB = 1024 * 1024;

/** Up to this level the window is half a MiB, and larger frames would not make smaller objects. */
const SMALL_WINDOW_LEVEL = 2;

/** With `long`: the whole frame is the window, which every decoder of zstd accepts up to 128 MiB. */
const LONG_WINDOW_LOG = 24;

/**
 * Standard zstd (RFC 8878): frames of 1 to 4 MiB of content, with `long` of 16 MiB, each with its content size and checksum, compressed in the
 * thread pool.
 * `decode` reads what any other producer of zstd writes, too.
 */
export class ZstdCodec implements Codec {
  readonly id: string = 'zstd';
  readonly suffix: string = 'zst';
  readonly #level: number;
  readonly #long: boolean;
  readonly #coders: CoderPool;

  constructor(options: ZstdCodecOptions) {
    this.#level = options.level;
    this.#long = options.long ?? false;
    const { blockSize } = this;
    const longWindowLog = this.#long ? { longWindowLog: LONG_WINDOW_LOG } : {};
    this.#coders = new CoderPool(() => frameCompressor({ level: this.#level, blockSize, ...longWindowLog }));
  }

  /** Bytes of content in every frame but the last. */
  get blockSize(): number {
    if (this.#long) return 2 ** LONG_WINDOW_LOG;
    return this.#level <= SMALL_WINDOW_LEVEL ? MIB : 4 * MIB;
  }

  encode(source: AsyncIterable<Uint8Array>, context: CodecContext): AsyncGenerator<Uint8Array> {
    const { blockSize } = this;
    const room = frameRoom(blockSize);
    const encodeBlock = (block: Uint8Array): Promise<Uint8Array> => this.#coders.run(block, room);
    return mapBlocks(source, encodeBlock, { ...context, blockSize, what: 'zstd compression' });
  }

  decode(source: AsyncIterable<Uint8Array>, context: CodecContext): AsyncIterable<Uint8Array> {
    return decodeFrames(source, context);
  }
}
