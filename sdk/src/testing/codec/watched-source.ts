import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

/** A source of a codec that counts what is asked of it, and knows whether it was ended. Afterwards it throws, or never answers, if so told. */
export class WatchedSource implements AsyncIterable<Uint8Array> {
  readonly #chunks: Iterator<Uint8Array>;
  readonly #then: { readonly error?: Error; readonly silent?: boolean };
  #reached: () => void = () => undefined;
  readonly reachedEnd: Promise<void> = new Promise((resolve) => (this.#reached = resolve));
  #end: () => void = () => undefined;
  readonly whenEnded: Promise<void> = new Promise((resolve) => (this.#end = resolve));
  bytes = 0;
  calls = 0;
  #ended = false;

  constructor(chunks: Iterable<Uint8Array>, behaviour: { readonly error?: Error; readonly silent?: boolean } = {}) {
    this.#chunks = chunks[Symbol.iterator]();
    this.#then = behaviour;
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return {
      next: async () => {
        this.calls++;
        await new Promise((resolve) => setImmediate(resolve));
        const step = this.#chunks.next();
        if (step.done !== true) {
          this.bytes += step.value.byteLength;
          // A view of its own for each reader of the same bytes, so that CODEC-05/released sees who keeps it.
          return { done: false, value: step.value.subarray() };
        }
        this.#reached();
        if (this.#then.silent === true) return new Promise(() => undefined);
        this.#finish();
        if (this.#then.error !== undefined) throw this.#then.error;
        return { done: true, value: undefined };
      },
      return: () => {
        this.#finish();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  get ended(): boolean {
    return this.#ended;
  }

  #finish(): void {
    this.#ended = true;
    this.#end();
  }

  /** Resolves when nothing was asked of the source for a while. */
  async untilStill(): Promise<void> {
    for (let before = -1; before !== this.calls;) {
      before = this.calls;
      await sleep(150);
    }
  }

  async assertQuiet(what: string): Promise<void> {
    assert.ok(this.ended, `${what} did not end its source`);
    const { calls } = this;
    await sleep(50);
    assert.equal(this.calls, calls, `${what} went on reading its source`);
  }
}
