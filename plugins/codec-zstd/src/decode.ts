import { createZstdDecompress } from 'node:zlib';
import { abortable, ByteReader, mapOrdered, releaseChunk, throughStream, type CodecContext } from '@pgark/sdk';
import { CoderPool } from './coder-pool.ts';
import { corrupt } from './corrupt.ts';
import { contentRoom, frameDecompressor } from './frame-coder.ts';
import { FrameScanner, type SmallFrame } from './frame-scanner.ts';

const WHAT = 'zstd decompression';

const coders = new CoderPool(frameDecompressor);

/** Bytes of output per chunk of a frame that is decoded as a stream. */
const STREAM_CHUNK = 256 * 1024;

/**
 * Decodes any sequence of zstd frames. The borders of frames are found without decompressing: small frames are decoded
 * whole, several at once in the thread pool; a frame that is too large for that goes through a streaming decoder.
 */
export async function* decodeFrames(
  source: AsyncIterable<Uint8Array>,
  context: CodecContext,
): AsyncGenerator<Uint8Array> {
  const reader = new ByteReader(abortable(source, context.signal, WHAT));
  try {
    if (await reader.atEnd()) throw corrupt('the zstd stream is empty, which no zstd stream is');
    const scanner = new FrameScanner(reader);
    for (;;) {
      for await (const content of mapOrdered(scanner.smallFrames(), decodeWhole, { ...context, what: WHAT })) {
        if (content.byteLength > 0) yield content;
      }
      const large = scanner.takeLarge();
      if (large === undefined) return;
      yield* throughStream(large, createZstdDecompress({ chunkSize: STREAM_CHUNK }), {
        ...context,
        what: WHAT,
        failed: (error) => corrupt('a zstd frame is damaged', error),
        unread: () => corrupt('a zstd frame ends before its last block'),
      });
    }
  } finally {
    await reader.close();
  }
}

async function decodeWhole({ bytes, contentSize }: SmallFrame): Promise<Uint8Array> {
  let content: Uint8Array;
  try {
    content = await coders.run(bytes, contentRoom(contentSize));
  } catch (error) {
    throw corrupt('a zstd frame is damaged', error);
  }
  releaseChunk(bytes);
  if (contentSize !== undefined && content.byteLength !== contentSize)
    throw corrupt(`a zstd frame has ${content.byteLength} bytes of content and claims ${contentSize}`);
  return content;
}
