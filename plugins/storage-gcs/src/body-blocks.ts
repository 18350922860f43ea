import { releaseChunk } from '@pgark/sdk';

/** Part of a body, as pieces that nobody else holds. */
export interface Block {
  readonly pieces: readonly Uint8Array[];
  readonly byteLength: number;
  /** Whether the body ends with it. */
  readonly last: boolean;
}

/** Memory is taken in pieces of this size, so that a small body takes little of it. */
const PIECE = 1024 * 1024;

/**
 * Cuts a body into blocks of `blockSize` bytes. A block is given out when the next byte has come or the body has ended, so it is
 * known of each whether it is the last; a body that fits is one block, an empty one too.
 */
export async function* blocksOf(
  body: AsyncIterable<Uint8Array>,
  blockSize: number,
): AsyncGenerator<Block, void, undefined> {
  let pieces: Uint8Array[] = [];
  let filled = 0;
  for await (const chunk of body) {
    for (let offset = 0; offset < chunk.byteLength;) {
      if (filled === blockSize) {
        yield { pieces, byteLength: filled, last: false };
        pieces = [];
        filled = 0;
      }
      const part = chunk.subarray(offset, offset + blockSize - filled);
      append(pieces, part, filled, blockSize);
      filled += part.byteLength;
      offset += part.byteLength;
    }
    releaseChunk(chunk);
  }
  yield { pieces: trimmed(pieces, filled), byteLength: filled, last: true };
}

/** Copies `part` behind the `filled` bytes that are in `pieces`: a chunk is only valid until the next one is asked for. */
function append(pieces: Uint8Array[], part: Uint8Array, filled: number, blockSize: number): void {
  let position = filled;
  for (let offset = 0; offset < part.byteLength;) {
    const within = position % PIECE;
    if (within === 0) pieces.push(Buffer.allocUnsafeSlow(Math.min(PIECE, blockSize - position)));
    const piece = pieces.at(-1) as Uint8Array;
    const bytes = part.subarray(offset, offset + piece.byteLength - within);
    piece.set(bytes, within);
    position += bytes.byteLength;
    offset += bytes.byteLength;
  }
}

/** Without what the last piece has left over. */
function trimmed(pieces: readonly Uint8Array[], filled: number): readonly Uint8Array[] {
  const rest = filled % PIECE;
  const last = pieces.at(-1);
  return last === undefined || rest === 0 ? pieces : [...pieces.slice(0, -1), last.subarray(0, rest)];
}

/** The pieces without their first `count` bytes. */
export function withoutFirst(pieces: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  const left: Uint8Array[] = [];
  let skip = count;
  for (const piece of pieces) {
    if (skip < piece.byteLength) left.push(piece.subarray(skip));
    skip = Math.max(0, skip - piece.byteLength);
  }
  return left;
}
