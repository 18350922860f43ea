import { abortable, ByteReader, mapOrdered, throwIfAborted, type CodecContext } from '@pgark/sdk';
import { decompressFrame } from 'lz4-napi';
import { corrupt } from './corrupt.ts';
import { FrameScanner, type SmallFrame } from './frame-scanner.ts';
import { join } from './join.ts';
import { Turns } from './turns.ts';

const WHAT = 'lz4 decompression';

/** Small frames that are worked on one after the other and given out in one piece: 1 MiB of those that this codec writes. */
const BATCH_LENGTH = 16;

/**
 * Decodes any sequence of lz4 frames. Those that are small, as this codec writes them, are decoded whole, several at once in the thread
 * pool. The library is given nothing else: it makes one buffer of what a frame claims, takes a frame without its end for a whole one,
 * and passes over what follows.
 */
export async function* decodeFrames(
  source: AsyncIterable<Uint8Array>,
  context: CodecContext,
): AsyncGenerator<Uint8Array> {
  const reader = new ByteReader(abortable(source, context.signal, WHAT));
  try {
    if (await reader.atEnd()) throw corrupt('the lz4 stream is empty, which no lz4 stream is');
    const scanner = new FrameScanner(reader, new Turns(context.signal, WHAT));
    for (;;) {
      for await (const content of mapOrdered(batches(scanner.smallFrames()), decodeBatch, { ...context, what: WHAT })) {
        if (content.byteLength > 0) yield content;
      }
      const large = scanner.takeLarge();
      if (large === undefined) return;
      for await (const content of large) {
        yield content;
        throwIfAborted(context.signal, WHAT);
      }
    }
  } finally {
    await reader.close();
  }
}

async function* batches(frames: AsyncIterable<SmallFrame>): AsyncGenerator<readonly SmallFrame[]> {
  let batch: SmallFrame[] = [];
  for await (const frame of frames) {
    if (batch.push(frame) < BATCH_LENGTH) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

async function decodeBatch(frames: readonly SmallFrame[]): Promise<Uint8Array> {
  const contents: Buffer[] = [];
  try {
    for (const frame of frames) contents.push(await decompressFrame(frame));
  } catch (error) {
    throw corrupt('an lz4 frame is damaged', error);
  }
  return join(contents);
}
