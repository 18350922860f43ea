/** Memory for segments that were read for their digest, and are archived at once: they are neither read nor hashed a second time. */
import { leaseChunk } from '../contracts/lease.ts';
import type { HeldBytes } from '../wal-command/local-file.ts';

/** Larger ones are read twice: memory is bounded whatever the size of a segment. */
const LARGEST = 16 * 1024 * 1024;
/** Segments that wait to be taken; pieces of memory that are kept for the next ones. */
const MOST = 4;

interface Held {
  bytes: Uint8Array<ArrayBuffer> | undefined;
}

export class SegmentMemory {
  readonly #waiting: Held[] = [];
  readonly #free: Uint8Array<ArrayBuffer>[] = [];

  /** Memory of a segment of this size, which the caller fills before anybody may take it; undefined when it is too large. */
  hold(size: number): HeldBytes | undefined {
    if (size > LARGEST) return undefined;
    const memory =
      this.#free.find(({ byteLength }) => byteLength === size) ?? new Uint8Array(Buffer.allocUnsafeSlow(size).buffer);
    if (this.#free.includes(memory)) this.#free.splice(this.#free.indexOf(memory), 1);
    const held: Held = { bytes: memory };
    this.#waiting.push(held);
    // Nobody has come for the oldest. Its memory is not used again: its file may still be on its way into it.
    if (this.#waiting.length > MOST) this.#drop(this.#waiting[0]);
    let present = memory;
    return {
      get memory() {
        return present;
      },
      replace: (other) => {
        present = other;
        if (held.bytes !== undefined) held.bytes = other;
      },
      take: () => {
        const { bytes } = held;
        this.#drop(held);
        // A view of its own each time, as a lease is of one consumer.
        return bytes && leaseChunk(bytes.subarray(), () => this.#give(bytes));
      },
    };
  }

  #drop(held: Held | undefined): void {
    if (held === undefined) return;
    held.bytes = undefined;
    this.#waiting.splice(0, this.#waiting.length, ...this.#waiting.filter((other) => other !== held));
  }

  #give(memory: Uint8Array<ArrayBuffer>): void {
    if (this.#free.length < MOST) this.#free.push(memory);
  }
}
