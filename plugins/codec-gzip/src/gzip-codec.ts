import { promisify } from 'node:util';
import { createGunzip, gzip, type ZlibOptions } from 'node:zlib';
import { ArchiveError, mapBlocks, throughStream, type Codec, type CodecContext } from '@pgark/sdk';

export interface GzipCodecOptions {
  /** 1 (fastest) to 9 (smallest). */
  readonly level: number;
}

/** Bytes of content per member. The window of gzip is 32 KiB: larger members make no smaller objects. */
const BLOCK_SIZE = 1024 * 1024;

/** Bytes of output per chunk; the default of 16 KiB costs a quarter of the speed. */
const CHUNK_SIZE = 1024 * 1024;

const compress = promisify<Uint8Array, ZlibOptions, Buffer>(gzip);

/**
 * Standard gzip (RFC 1952): one member of 1 MiB of content after the other, compressed in the thread pool. `decode` reads
 * what any other producer of gzip writes, too; members carry no length, so that it works on one core.
 */
export class GzipCodec implements Codec {
  readonly id: string = 'gzip';
  readonly suffix: string = 'gz';
  readonly #level: number;

  constructor(options: GzipCodecOptions) {
    this.#level = options.level;
  }

  encode(source: AsyncIterable<Uint8Array>, context: CodecContext): AsyncIterable<Uint8Array> {
    const work = (block: Uint8Array): Promise<Buffer> => compress(block, { level: this.#level, chunkSize: CHUNK_SIZE });
    return mapBlocks(source, work, { ...context, blockSize: BLOCK_SIZE, what: 'gzip compression' });
  }

  decode(source: AsyncIterable<Uint8Array>, context: CodecContext): AsyncIterable<Uint8Array> {
    return throughStream(source, createGunzip({ chunkSize: 256 * 1024 }), {
      ...context,
      what: 'gzip decompression',
      failed: (error) => corrupt('the gzip stream is damaged or cut short', error),
      unread: () => corrupt('bytes that are not gzip follow the gzip stream'),
    });
  }
}

function corrupt(message: string, cause?: unknown): ArchiveError {
  const detail = cause instanceof Error ? `: ${cause.message}` : '';
  return new ArchiveError('CODEC_CORRUPT', `${message}${detail}`, { cause });
}
