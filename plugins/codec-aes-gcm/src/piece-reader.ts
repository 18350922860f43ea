import { releaseChunk } from '@pgark/sdk';

export interface Piece {
  /** Holds until the next piece is asked for. */
  readonly bytes: Uint8Array;
  /** Whether the stream ends with it. */
  readonly last: boolean;
}

const NOTHING = new Uint8Array(0);

/** Reads a chunked stream by counts of bytes. Chunks are released as soon as they are used up. */
export class PieceReader {
  readonly #iterator: AsyncIterator<Uint8Array>;
  #chunk: Uint8Array = NOTHING;
  /** What is left of the chunk. */
  #rest: Uint8Array = NOTHING;
  #ended = false;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#iterator = source[Symbol.asyncIterator]();
  }

  /** A copy of the next bytes: fewer than `count` only at the end of the stream. */
  async take(count: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafe(count);
    let filled = 0;
    while (filled < count && (await this.#fill())) filled += this.#move(bytes, filled);
    return bytes.subarray(0, filled);
  }

  /**
   * All that follows, in pieces of `size` bytes of which the last may be shorter, and is empty only when nothing follows. A piece is known to be
   * the last or not before it is given out; it is copied only where it is not within one chunk of the source.
   */
  async *pieces(size: number): AsyncGenerator<Piece> {
    let memory: Buffer | undefined;
    let filled = 0;
    while (await this.#fill()) {
      if (memory !== undefined && filled === size) {
        yield { bytes: memory, last: false };
        filled = 0;
      } else if (filled === 0 && this.#rest.byteLength > size) {
        const bytes = this.#rest.subarray(0, size);
        this.#rest = this.#rest.subarray(size);
        yield { bytes, last: false };
      } else {
        memory ??= Buffer.allocUnsafeSlow(size);
        filled += this.#move(memory, filled);
      }
    }
    yield { bytes: memory?.subarray(0, filled) ?? NOTHING, last: true };
  }

  /** Ends the source. */
  async close(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    await this.#iterator.return?.();
  }

  #move(target: Uint8Array, at: number): number {
    const part = this.#rest.subarray(0, target.byteLength - at);
    target.set(part, at);
    this.#rest = this.#rest.subarray(part.byteLength);
    return part.byteLength;
  }

  /** Whether there are bytes at hand; false at the end of the source. */
  async #fill(): Promise<boolean> {
    while (this.#rest.byteLength === 0) {
      releaseChunk(this.#chunk);
      this.#chunk = NOTHING;
      if (this.#ended) return false;
      // An error of the source is its end, too: it is not to be told to end once more.
      this.#ended = true;
      const step = await this.#iterator.next();
      if (step.done === true) return false;
      this.#ended = false;
      this.#chunk = this.#rest = step.value;
    }
    return true;
  }
}
