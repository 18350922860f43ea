import { releaseChunk } from '@pgark/sdk';

/** Bytes of the first memory for an object whose size is not known. */
const FIRST = 64 * 1024;

/** Cuts a body into blocks. They are copies: a chunk is only valid until the next one is asked for, and may be leased. */
export class BlockReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  /** What came and was not taken yet; `#offset` bytes of the first one were. */
  readonly #waiting: Uint8Array[] = [];
  #offset = 0;
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
    const first = this.#waiting.shift();
    if (first !== undefined) this.#waiting.unshift(first.subarray(this.#offset));
    this.#waiting.unshift(bytes);
    this.#offset = 0;
  }

  /** Whether nothing is left; waits for the body where it has to say so. */
  async isAtEnd(): Promise<boolean> {
    while (this.#waiting.length === 0 && !this.#ended) {
      const next = await this.#chunks.next();
      if (next.done === true) this.#ended = true;
      else if (next.value.byteLength > 0) this.#waiting.push(next.value);
      else releaseChunk(next.value);
    }
    return this.#waiting.length === 0;
  }

  /** Ends the body. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }

  #take(memory: Uint8Array, at: number): number {
    const chunk = this.#waiting[0];
    if (chunk === undefined) return 0;
    const bytes = chunk.subarray(this.#offset, this.#offset + memory.byteLength - at);
    memory.set(bytes, at);
    this.#offset += bytes.byteLength;
    if (this.#offset === chunk.byteLength) {
      this.#waiting.shift();
      this.#offset = 0;
      releaseChunk(chunk);
    }
    return bytes.byteLength;
  }
}

/** Memory of its own, not a slice of the pool of Node: its bytes are sent while others fill the pool. */
export function allocate(bytes: number): Uint8Array {
  return Buffer.allocUnsafeSlow(bytes);
}
