import { releaseChunk } from 'pgark/contracts';

/** Reads a chunked stream by counts of bytes. Keeps no view of a chunk once the next one is asked for; chunks that are used up are released. */
export class ByteReader {
  readonly #iterator: AsyncIterator<Uint8Array>;
  #chunk: Uint8Array = new Uint8Array(0);
  #taken = 0;
  #ended = false;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#iterator = source[Symbol.asyncIterator]();
  }

  /** Whether all bytes of the source were taken. */
  async atEnd(): Promise<boolean> {
    return !(await this.#fill());
  }

  /** Copies the next bytes into `target` until it is full; false when the source ends before. */
  async read(target: Uint8Array): Promise<boolean> {
    for (let filled = 0; filled < target.byteLength;) {
      if (!(await this.#fill())) return false;
      const part = this.#take(target.byteLength - filled);
      target.set(part, filled);
      filled += part.byteLength;
    }
    return true;
  }

  /** The next bytes, at most `count`, as a view that holds until the next call; undefined at the end of the source. */
  async next(count: number): Promise<Uint8Array | undefined> {
    return (await this.#fill()) ? this.#take(count) : undefined;
  }

  /** As {@link next}, but no further than the first `byte`, which is the last of what is given. */
  async nextThrough(byte: number, count: number): Promise<Uint8Array | undefined> {
    if (!(await this.#fill())) return undefined;
    const at = this.#chunk.subarray(this.#taken, this.#taken + count).indexOf(byte);
    return this.#take(at === -1 ? count : at + 1);
  }

  /** Ends the source. */
  async close(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    await this.#iterator.return?.();
  }

  #take(count: number): Uint8Array {
    const part = this.#chunk.subarray(this.#taken, this.#taken + count);
    this.#taken += part.byteLength;
    return part;
  }

  async #fill(): Promise<boolean> {
    while (this.#taken === this.#chunk.byteLength) {
      if (this.#ended) return false;
      releaseChunk(this.#chunk);
      this.#chunk = new Uint8Array(0);
      this.#taken = 0;
      try {
        const step = await this.#iterator.next();
        if (step.done === true) this.#ended = true;
        else this.#chunk = step.value;
      } catch (error) {
        this.#ended = true;
        throw error;
      }
    }
    return true;
  }
}
