import { freeMemory, leaseChunk, leaseOwned } from '@pgark/sdk';

interface Piece {
  readonly memory: ArrayBuffer;
  /** Chunks of it that were given out and not released. */
  lent: number;
  /** Whether the stream has left it, so that it gives no further chunk of it. */
  full: boolean;
}

/**
 * Gives back the memory into which a stream of Node's zlib writes. The stream takes a piece of `pieceSize` bytes, fills it with what it gives
 * out, and forgets it; here it is freed with the last of its chunks, and not left to the collector.
 */
export class OutputMemory {
  readonly #pieceSize: number;
  #present: Piece | undefined;

  constructor(pieceSize: number) {
    this.#pieceSize = pieceSize;
  }

  /** Leases what the stream gave, in the order in which it did. */
  lease(chunk: Uint8Array): Uint8Array {
    const memory = chunk.buffer as ArrayBuffer;
    if (memory.byteLength !== this.#pieceSize) {
      // It began in one piece and ended in the next: Node has joined both parts in memory of its own.
      this.#leave();
      return leaseOwned(chunk);
    }
    if (this.#present?.memory !== memory) {
      this.#leave();
      this.#present = { memory, lent: 0, full: false };
    }
    const piece = this.#present;
    piece.lent++;
    return leaseChunk(chunk, () => {
      piece.lent--;
      freeIfDone(piece);
    });
  }

  #leave(): void {
    const piece = this.#present;
    if (piece === undefined) return;
    this.#present = undefined;
    piece.full = true;
    freeIfDone(piece);
  }
}

function freeIfDone({ memory, lent, full }: Piece): void {
  if (full && lent === 0) freeMemory(memory);
}
