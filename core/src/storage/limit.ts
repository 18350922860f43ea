import type { Storage } from '../contracts/index.ts';
import { Line } from './line.ts';
import { withRetain } from './optional.ts';

/**
 * At most `calls` calls at once; the others wait in line. A loop over `get` or `list` counts until it is left, a `put` also while a step of
 * it waits for its next attempt: whoever took its place would meet the same storage.
 */
export function withLimit(storage: Storage, calls: number): Storage {
  const line = new Line(calls, 'waiting for the storage');
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
    ...withRetain(
      storage,
      (retain) => (key, until, options) => once(options?.signal, () => retain(key, until, options)),
    ),
  };
}
