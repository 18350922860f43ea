import { releaseChunk } from '@pgark/sdk';

/** A part of a body, in memory that nobody else holds. */
export interface Block {
  readonly pieces: readonly Uint8Array[];
  readonly byteLength: number;
  /** Whether the body ends with it. */
  readonly last: boolean;
}

/** A request says that it has moved after each piece; smaller ones say so more often. */
const PIECE = 256 * 1024;

/**
 * Cuts a body into blocks of `blockSize` bytes. A block is given out when the body goes on behind it or has ended, so that the last one is
 * known as such; a body without bytes is one block without bytes.
 */
export async function* blocksOf(
  body: AsyncIterable<Uint8Array>,
  blockSize: number,
): AsyncGenerator<Block, void, undefined> {
  let pieces: Uint8Array[] = [];
  let byteLength = 0;
  for await (const chunk of body) {
    for (let taken = 0; taken < chunk.byteLength;) {
      if (byteLength === blockSize) {
        yield { pieces, byteLength, last: false };
        pieces = [];
        byteLength = 0;
      }
      const part = chunk.subarray(taken, taken + Math.min(PIECE, blockSize - byteLength));
      pieces.push(Uint8Array.from(part)); // the chunk is only lent
      taken += part.byteLength;
      byteLength += part.byteLength;
    }
    releaseChunk(chunk);
  }
  yield { pieces: pieces.length === 0 ? [new Uint8Array(0)] : pieces, byteLength, last: true };
}
