import { createDeflate, createInflate } from 'node:zlib';
import { ArchiveError, throughStream, type Codec, type CodecContext } from '@pgark/sdk';

export interface __Name__CodecOptions {
  /** 1 (fastest) to 9 (smallest). */
  readonly level: number;
}

/** Bytes of output per chunk; the default of 16 KiB costs a quarter of the speed. */
const CHUNK_SIZE = 256 * 1024;

/**
 * One zlib stream (RFC 1950), which ends with a checksum: a format without one could not promise that altered input is an error
 * (CODEC-03). It works on one core; `mapBlocks` of the SDK is for formats whose blocks can be worked on at once.
 */
export class __Name__Codec implements Codec {
  readonly id: string = '__name__';
  readonly suffix: string = '__name__';
  readonly #level: number;

  constructor(options: __Name__CodecOptions) {
    this.#level = options.level;
  }

  encode(source: AsyncIterable<Uint8Array>, context: CodecContext): AsyncIterable<Uint8Array> {
    const failed = (cause: unknown): ArchiveError =>
      new ArchiveError('INTERNAL', '__name__ compression failed', { cause });
    return throughStream(source, createDeflate({ level: this.#level, chunkSize: CHUNK_SIZE }), {
      ...context,
      what: '__name__ compression',
      failed,
      unread: () => failed(undefined),
    });
  }

  decode(source: AsyncIterable<Uint8Array>, context: CodecContext): AsyncIterable<Uint8Array> {
    return throughStream(source, createInflate({ chunkSize: CHUNK_SIZE }), {
      ...context,
      what: '__name__ decompression',
      failed: (error) => corrupt('the __name__ stream is damaged or cut short', error),
      unread: () => corrupt('other bytes follow the __name__ stream'),
    });
  }
}

function corrupt(message: string, cause?: unknown): ArchiveError {
  const detail = cause instanceof Error ? `: ${cause.message}` : '';
  return new ArchiveError('CODEC_CORRUPT', `${message}${detail}`, { cause });
}
