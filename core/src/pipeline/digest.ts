import { hashInPlace, type Hasher } from './hasher.ts';

/** What is called as the stream passes; what it throws, the reader gets. */
export interface DigestWatcher {
  /** After each chunk was counted. */
  passed?(): void;
  /** At the end of the source, when the digest is known and the reader does not know of the end yet. */
  ended?(): void;
}

/** SHA-256 and length of the bytes that pass through {@link Digest.tap}. */
export class Digest {
  readonly #begin: () => Hasher;
  #size = 0;
  #sha256: string | undefined;

  /** `begin` is called when the stream is read. */
  constructor(begin: () => Hasher = hashInPlace) {
    this.#begin = begin;
  }

  /** Bytes so far. */
  get size(): number {
    return this.#size;
  }

  /** Whether the stream was read to its end. */
  get ended(): boolean {
    return this.#sha256 !== undefined;
  }

  /** 64 lower-case hex digits, known once the stream has ended. */
  get sha256(): string {
    if (this.#sha256 === undefined) throw new TypeError('the digest of a stream is known at its end');
    return this.#sha256;
  }

  /**
   * Passes the chunks on; once only. Not a generator, so that leaving it reaches the source at once, even while the source is
   * being waited for.
   */
  tap(source: AsyncIterable<Uint8Array>, watcher: DigestWatcher = {}): AsyncIterableIterator<Uint8Array> {
    const iterator = source[Symbol.asyncIterator]();
    let hasher: Hasher | undefined;
    return {
      next: async () => {
        const step = await iterator.next();
        hasher ??= this.#begin();
        try {
          if (step.done !== true) {
            const hashed = hasher.update(step.value);
            if (hashed !== undefined) await hashed;
            this.#size += step.value.byteLength;
            watcher.passed?.();
            return step;
          }
          this.#sha256 ??= await hasher.digest();
          watcher.ended?.();
          return step;
        } catch (error) {
          hasher.discard();
          if (step.done !== true) await iterator.return?.();
          throw error;
        }
      },
      return: async () => {
        hasher?.discard();
        return (await iterator.return?.()) ?? { done: true, value: undefined };
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }
}
