import { leaseChunk } from '@pgark/sdk';

/** Memory for the output of one stream, used again where its reader releases it. */
export class BlockPool {
  readonly #size: number;
  readonly #free: Buffer[] = [];

  constructor(size: number) {
    this.#size = size;
  }

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#size);
  }

  /** The first bytes of a block that was taken, to be given out. */
  give(block: Buffer, length: number): Uint8Array {
    return leaseChunk(block.subarray(0, length), () => {
      if (block.byteLength === this.#size) this.#free.push(block);
    });
  }
}
