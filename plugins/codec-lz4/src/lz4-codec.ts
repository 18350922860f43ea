import { mapBlocks, type Codec, type CodecContext } from '@pgark/sdk';
import { compressFrame } from 'lz4-napi';
import { decodeFrames } from './decode.ts';
import { join } from './join.ts';

/** Bytes of content that are worked on at once. */
const BATCH_SIZE: number = 1024 * 1024;

/**
 * Bytes of content per frame. Measured: frames of 1 MiB take 100 MB more memory than these, and make the objects smaller by 2 % only. The
 * likely reason, which was not looked up, is that the library holds about a hundred results of each thread before it gives memory back.
 */
const FRAME_SIZE: number = 64 * 1024;

/**
 * Standard lz4 (LZ4 Frame Format, version 1.6): frames of 64 KiB of content, each with a checksum of it, compressed in the thread pool.
 * `decode` reads what any other producer of such frames writes, too; frames of many blocks on one core.
 */
export class Lz4Codec implements Codec {
  readonly id: string = 'lz4';
  readonly suffix: string = 'lz4';

  encode(source: AsyncIterable<Uint8Array>, context: CodecContext): AsyncIterable<Uint8Array> {
    return mapBlocks(source, compressFrames, { ...context, blockSize: BATCH_SIZE, what: 'lz4 compression' });
  }

  decode(source: AsyncIterable<Uint8Array>, context: CodecContext): AsyncIterable<Uint8Array> {
    return decodeFrames(source, context);
  }
}

async function compressFrames(content: Uint8Array): Promise<Uint8Array> {
  const frames: Buffer[] = [];
  // At least one: nothing is an empty frame.
  for (let at = 0; at === 0 || at < content.byteLength; at += FRAME_SIZE)
    frames.push(await compressFrame(content.subarray(at, at + FRAME_SIZE), { contentChecksum: true }));
  return join(frames);
}
