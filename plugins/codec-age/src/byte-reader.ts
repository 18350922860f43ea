import { releaseChunk } from '@pgark/sdk';

/** Reads a chunked stream by counts of bytes, and releases its chunks. Keeps no view of a chunk once the next one is asked for. */
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
    return this.#taken === this.#chunk.byteLength && !(await this.#fill());
  }

  /** Copies the next bytes into `target`; gives how many, fewer than it holds only where the source ends. */
  async read(target: Uint8Array): Promise<number> {
    let filled = 0;
    while (filled < target.byteLength) {
      if (this.#taken === this.#chunk.byteLength && !(await this.#fill())) break;
      const part = this.#chunk.subarray(this.#taken, this.#taken + target.byteLength - filled);
      target.set(part, filled);
      this.#taken += part.byteLength;
      filled += part.byteLength;
    }
    return filled;
  }

  /**
   * A copy of the next bytes up to the first line feed and with it; without one where the source ends before, or when there are `most`
   * bytes and none of them is a line feed.
   */
  async readLine(most: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    let length = 0;
    while (length < most && !(await this.atEnd())) {
      const rest = this.#chunk.subarray(this.#taken, this.#taken + most - length);
      const at = rest.indexOf(0x0a);
      const part = at === -1 ? rest.slice() : rest.slice(0, at + 1);
      this.#taken += part.byteLength;
      length += part.byteLength;
      parts.push(part);
      if (at !== -1) break;
    }
    return Buffer.concat(parts);
  }

  /** Ends the source. */
  async close(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    await this.#iterator.return?.();
  }

  /** Takes the next chunk that has bytes; false at the end of the source. */
  async #fill(): Promise<boolean> {
    do {
      if (this.#ended) return false;
      releaseChunk(this.#chunk);
      this.#taken = 0;
      this.#chunk = new Uint8Array(0);
      try {
        const step = await this.#iterator.next();
        if (step.done === true) this.#ended = true;
        else this.#chunk = step.value;
      } catch (error) {
        this.#ended = true;
        throw error;
      }
    } while (this.#chunk.byteLength === 0);
    return true;
  }
}
