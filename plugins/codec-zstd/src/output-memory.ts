import { freeMemory } from '@pgark/sdk';

/** Bytes that are kept when nobody uses them. */
const MOST_FREE = 16 * 1024 * 1024;

/** Pieces of memory that are used again, by whoever wants one of just that size. */
export class OutputMemory {
  readonly #free = new Map<number, Buffer[]>();
  #bytes = 0;

  take(size: number): Buffer {
    const memory = this.#free.get(size)?.pop();
    if (memory === undefined) return Buffer.allocUnsafeSlow(size);
    this.#bytes -= size;
    return memory;
  }

  /** Takes memory back that nobody looks at any more. */
  give(memory: Buffer): void {
    const size = memory.byteLength;
    if (this.#bytes + size > MOST_FREE) {
      freeMemory(memory.buffer as ArrayBuffer);
      return;
    }
    this.#bytes += size;
    const free = this.#free.get(size);
    if (free === undefined) this.#free.set(size, [memory]);
    else free.push(memory);
  }

  /** Frees what nobody uses. */
  clear(): void {
    for (const memory of [...this.#free.values()].flat()) freeMemory(memory.buffer as ArrayBuffer);
    this.#free.clear();
    this.#bytes = 0;
  }
}
