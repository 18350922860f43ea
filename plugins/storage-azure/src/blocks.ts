import { releaseChunk } from '@pgark/sdk';

/** The first memory of a block whose length is not known; it doubles as it fills. */
const FIRST = 64 * 1024;

/**
 * Cuts a body into blocks of `blockSize` bytes, the last one shorter; an empty body has none. Each is a copy: a chunk of a body is
 * only valid until the next one is asked for.
 */
export class Blocks {
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #blockSize: number;
  #first: number;
  /** Memory of blocks that were given back. */
  readonly #free: Uint8Array[] = [];
  #rest: Uint8Array | undefined;
  /** What the body threw. */
  failure: { readonly error: unknown } | undefined;

  constructor(body: AsyncIterable<Uint8Array>, blockSize: number, size: number | undefined) {
    this.#chunks = body[Symbol.asyncIterator]();
    this.#blockSize = blockSize;
    this.#first = Math.min(blockSize, Math.max(size ?? FIRST, 1));
  }

  /** The next block; undefined at the end. */
  async next(): Promise<Uint8Array | undefined> {
    let memory = this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#first);
    // Whoever comes for a second block has filled the first.
    this.#first = this.#blockSize;
    let filled = 0;
    while (filled < this.#blockSize) {
      const chunk = this.#rest ?? (await this.#read());
      if (chunk === undefined) break;
      const part = chunk.subarray(0, this.#blockSize - filled);
      if (filled + part.byteLength > memory.byteLength) memory = this.#grown(memory, filled, part.byteLength);
      memory.set(part, filled);
      filled += part.byteLength;
      this.#rest = part.byteLength < chunk.byteLength ? chunk.subarray(part.byteLength) : undefined;
      if (this.#rest === undefined) releaseChunk(chunk);
    }
    return filled === 0 ? undefined : memory.subarray(0, filled);
  }

  /** Says that a block is not needed any more. */
  giveBack(block: Uint8Array): void {
    if (block.byteLength === this.#blockSize) this.#free.push(block);
  }

  /** Ends the body. */
  async end(): Promise<void> {
    await this.#chunks.return?.();
  }

  /** The next chunk that holds anything. */
  async #read(): Promise<Uint8Array | undefined> {
    for (;;) {
      const step = await this.#chunks.next().catch((error: unknown) => {
        this.failure = { error };
        throw error;
      });
      if (step.done === true) return undefined;
      if (step.value.byteLength > 0) return step.value;
    }
  }

  #grown(memory: Uint8Array, filled: number, more: number): Uint8Array {
    const grown = Buffer.allocUnsafeSlow(Math.min(this.#blockSize, Math.max(filled + more, 2 * memory.byteLength)));
    grown.set(memory.subarray(0, filled));
    return grown;
  }
}
