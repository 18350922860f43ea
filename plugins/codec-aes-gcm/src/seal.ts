import { BlockPool } from './block-pool.ts';
import { CHUNK_LENGTH, SEALED_LENGTH, sealChunk } from './chunks.ts';
import type { SealedHeader } from './object-key.ts';
import type { PieceReader } from './piece-reader.ts';

/** Chunks that are sealed in one go and given out together: half a millisecond of work. */
export const BLOCK_CHUNKS = 4;

/** The header and the sealed chunks of a stream. */
export async function* seal(reader: PieceReader, { header, payloadKey }: SealedHeader): AsyncGenerator<Uint8Array> {
  const headerLength = header.bytes.byteLength;
  const pool = new BlockPool(headerLength + BLOCK_CHUNKS * SEALED_LENGTH);
  let block: Buffer | undefined;
  let filled = 0;
  let index = 0;
  for await (const { bytes, last } of reader.pieces(CHUNK_LENGTH)) {
    // A small object takes the memory that it needs.
    block ??= last ? Buffer.allocUnsafe(headerLength + bytes.byteLength + SEALED_LENGTH - CHUNK_LENGTH) : pool.take();
    if (index === 0) {
      block.set(header.bytes);
      filled = headerLength;
    }
    filled += sealChunk(payloadKey, { index, last }, bytes, block, filled);
    index += 1;
    if (!last && index % BLOCK_CHUNKS !== 0) continue;
    yield pool.give(block, filled);
    block = undefined;
    filled = 0;
  }
}
