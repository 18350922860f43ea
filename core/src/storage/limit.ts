import { throwIfAborted, type Storage } from '../contracts/index.ts';

/**
 * At most `calls` calls at once; the others wait in line. A loop over `get` or `list` counts until it is left, a `put` also while a step of
 * it waits for its next attempt: whoever took its place would meet the same storage.
 */
export function withLimit(storage: Storage, calls: number): Storage {
  const line = new Line(calls);
  const once = async <Value>(signal: AbortSignal | undefined, call: () => Promise<Value>): Promise<Value> => {
    await line.enter(signal);
    try {
      return await call();
    } finally {
      line.leave();
    }
  };
  async function* loop<Item>(
    signal: AbortSignal | undefined,
    open: () => AsyncIterable<Item>,
  ): AsyncGenerator<Item, void, undefined> {
    await line.enter(signal);
    try {
      yield* open();
    } finally {
      line.leave();
    }
  }
  return {
    capabilities: storage.capabilities,
    put: (key, body, options) => once(options.signal, () => storage.put(key, body, options)),
    get: (key, options) => loop(options?.signal, () => storage.get(key, options)),
    stat: (key, options) => once(options?.signal, () => storage.stat(key, options)),
    list: (prefix, options) => loop(options?.signal, () => storage.list(prefix, options)),
    remove: (keys, options) => once(options?.signal, () => storage.remove(keys, options)),
    close: () => storage.close(),
  };
}

/** So many at once, the others in the order in which they came. */
class Line {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(places: number) {
    this.#free = places;
  }

  async enter(signal: AbortSignal | undefined): Promise<void> {
    throwIfAborted(signal, 'waiting for the storage');
    if (this.#free > 0) {
      this.#free--;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const abort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(go), 1);
        try {
          throwIfAborted(signal, 'waiting for the storage');
        } catch (error) {
          reject(error);
        }
      };
      const go = (): void => {
        signal?.removeEventListener('abort', abort);
        resolve();
      };
      signal?.addEventListener('abort', abort, { once: true });
      this.#waiting.push(go);
    });
  }

  leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free++;
    else next();
  }
}
