import { releaseChunk } from '@pgark/sdk';

/** Bytes of the first memory for an object whose size is not known. */
const FIRST = 64 * 1024;

/** Cuts a body into blocks. They are copies: a chunk is only valid until the next one is asked for, and may be leased. */
export class BlockReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  /** What came, and how far it was taken. Not cut: what is left of a leased chunk would be no leased one. */
  readonly #waiting: { readonly chunk: Uint8Array; taken: number }[] = [];
  #ended = false;

  constructor(body: AsyncIterable<Uint8Array>) {
    this.#chunks = body[Symbol.asyncIterator]();
  }

  /** The next bytes, `limit` of them or all that are left. The memory grows with them, unless it is known to be needed. */
  async gather(limit: number, expected?: number): Promise<Uint8Array> {
    let memory = allocate(Math.min(limit, expected ?? FIRST));
    let filled = 0;
    for (;;) {
      filled += this.#take(memory, filled);
      if (filled === limit || (await this.isAtEnd())) return memory.subarray(0, filled);
      if (filled < memory.byteLength) continue;
      const larger = allocate(Math.min(limit, memory.byteLength * 4));
      larger.set(memory);
      memory = larger;
    }
  }

  /** Fills `memory`, as far as the body goes, and gives how many bytes that were. */
  async fill(memory: Uint8Array): Promise<number> {
    let filled = 0;
    while (filled < memory.byteLength && !(await this.isAtEnd())) filled += this.#take(memory, filled);
    return filled;
  }

  /** Puts bytes back that `gather` gave: they are the next ones again. */
  putBack(bytes: Uint8Array): void {
    this.#waiting.unshift({ chunk: bytes, taken: 0 });
  }

  /** Whether nothing is left; waits for the body where it has to say so. */
  async isAtEnd(): Promise<boolean> {
    while (this.#waiting.length === 0 && !this.#ended) {
      const next = await this.#chunks.next();
      if (next.done === true) this.#ended = true;
      else if (next.value.byteLength > 0) this.#waiting.push({ chunk: next.value, taken: 0 });
      else releaseChunk(next.value);
    }
    return this.#waiting.length === 0;
  }

  /** Ends the body. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }

  #take(memory: Uint8Array, at: number): number {
    const first = this.#waiting[0];
    if (first === undefined) return 0;
    const bytes = first.chunk.subarray(first.taken, first.taken + memory.byteLength - at);
    const count = bytes.byteLength;
    memory.set(bytes, at);
    first.taken += count;
    if (first.taken === first.chunk.byteLength) {
      this.#waiting.shift();
      releaseChunk(first.chunk); // from here on neither it nor a view of it has a length
    }
    return count;
  }
}

/** Memory of its own, not a slice of the pool of Node: its bytes are sent while others fill the pool. */
export function allocate(bytes: number): Uint8Array {
  return Buffer.allocUnsafeSlow(bytes);
}
