import { createDeflate, createInflate } from 'node:zlib';
import { ArchiveError, throughStream, type Codec, type CodecContext } from '@pgark/sdk';

export interface ZlibCodecOptions {
  /** 1 (fastest) to 9 (smallest). */
  readonly level: number;
}

/** Bytes of output per chunk; the default of 16 KiB costs a quarter of the speed. */
const CHUNK_SIZE = 256 * 1024;

/**
 * The zlib format (RFC 1950): one stream per object, with an Adler-32 of the content at its end, so that what is cut short or altered is
 * found. It cannot be cut into blocks, so it works on one core; a format that can is better off with `mapBlocks`.
 */
export class ZlibCodec implements Codec {
  readonly id: string = 'zlib';
  /** As pigz calls its files of this format. */
  readonly suffix: string = 'zz';
  readonly #level: number;

  constructor({ level }: ZlibCodecOptions) {
    this.#level = level;
  }

  encode(source: AsyncIterable<Uint8Array>, context: CodecContext): AsyncIterable<Uint8Array> {
    return throughStream(source, createDeflate({ level: this.#level, chunkSize: CHUNK_SIZE }), {
      ...context,
      what: 'zlib compression',
      failed: (cause) => new ArchiveError('INTERNAL', 'zlib compression failed', { cause }),
      unread: () => new ArchiveError('INTERNAL', 'zlib compression ended before its input did'),
    });
  }

  decode(source: AsyncIterable<Uint8Array>, context: CodecContext): AsyncIterable<Uint8Array> {
    return throughStream(source, createInflate({ chunkSize: CHUNK_SIZE }), {
      ...context,
      what: 'zlib decompression',
      failed: (error) => corrupt('the zlib stream is damaged or cut short', error),
      unread: () => corrupt('bytes that are not of it follow the zlib stream'),
    });
  }
}

function corrupt(message: string, cause?: unknown): ArchiveError {
  return new ArchiveError('CODEC_CORRUPT', message, { cause });
}
