import type { KeyObject } from 'node:crypto';
import { BlockPool } from './block-pool.ts';
import { CHUNK_LENGTH, openChunk, SEALED_LENGTH, type ChunkPlace } from './chunks.ts';
import { corrupt } from './corrupt.ts';
import type { PieceReader } from './piece-reader.ts';
import { BLOCK_CHUNKS } from './seal.ts';

/** The content of the sealed chunks that follow a header. Nothing of a chunk is given out that was not authenticated. */
export async function* open(reader: PieceReader, payloadKey: KeyObject): AsyncGenerator<Uint8Array> {
  const pool = new BlockPool(BLOCK_CHUNKS * CHUNK_LENGTH);
  let block: Buffer | undefined;
  let filled = 0;
  let index = 0;
  for await (const { bytes, last } of reader.pieces(SEALED_LENGTH)) {
    block ??= last ? Buffer.allocUnsafe(bytes.byteLength) : pool.take();
    const place = { index, last };
    const length = openChunk(payloadKey, place, bytes, block, filled);
    if (length === undefined) throw refusal(payloadKey, place, bytes);
    if (length === 0 && index > 0) throw corrupt('the aes-gcm stream ends with an empty chunk, which none does');
    filled += length;
    index += 1;
    if (!last && index % BLOCK_CHUNKS !== 0) continue;
    if (filled > 0) yield pool.give(block, filled);
    block = undefined;
    filled = 0;
  }
}

/** Why a chunk does not open in its place: what an operator looks for is another thing when the object was cut. */
function refusal(key: KeyObject, { index, last }: ChunkPlace, sealed: Uint8Array): Error {
  const elsewhere = openChunk(key, { index, last: !last }, sealed, Buffer.allocUnsafe(sealed.byteLength), 0);
  if (last && (elsewhere !== undefined || sealed.byteLength === 0)) {
    return corrupt(
      `the aes-gcm stream is cut short: it ends before chunk ${index + (elsewhere === undefined ? 0 : 1)}`,
    );
  }
  if (elsewhere !== undefined) return corrupt(`the aes-gcm stream goes on behind its last chunk, ${index}`);
  return corrupt(`chunk ${index} of the aes-gcm stream is ${last ? 'cut short, ' : ''}altered or out of its place`);
}
