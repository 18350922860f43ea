import { setTimeout as sleep } from 'node:timers/promises';
import { throwIfAborted, type Storage } from '../contracts/index.ts';
import { withRetain } from './optional.ts';

/** Bytes per second of all calls together; without a limit where left out. */
export interface ThrottleOptions {
  readonly upload?: number;
  readonly download?: number;
}

/**
 * Holds the bytes that go to and come from a storage to a rate: the network belongs to the database first. The few bytes of a step of a `put`
 * that is sent again are not counted a second time.
 */
export function withThrottle(storage: Storage, options: ThrottleOptions): Storage {
  const up = options.upload === undefined ? undefined : new Rate(options.upload);
  const down = options.download === undefined ? undefined : new Rate(options.download);
  return {
    capabilities: storage.capabilities,
    put: (key, body, call) =>
      storage.put(
        key,
        // An object that can be read again, if the body can: the retries are above.
        up === undefined ? body : { [Symbol.asyncIterator]: () => up.passed(body, call.signal) },
        call,
      ),
    get: (key, call) =>
      down === undefined ? storage.get(key, call) : down.passed(storage.get(key, call), call?.signal),
    stat: (key, call) => storage.stat(key, call),
    list: (prefix, call) => storage.list(prefix, call),
    remove: (keys, call) => storage.remove(keys, call),
    close: () => storage.close(),
    ...withRetain(storage, (retain) => retain),
  };
}

/** One line for the bytes of all: each chunk passes when those before it have had their time. */
class Rate {
  readonly #bytesPerSecond: number;
  /** When the line is free, on the clock of `performance`. */
  #free = 0;

  constructor(bytesPerSecond: number) {
    this.#bytesPerSecond = bytesPerSecond;
  }

  async *passed(
    chunks: AsyncIterable<Uint8Array>,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of chunks) {
      const now = performance.now();
      const wait = this.#free - now;
      this.#free = Math.max(now, this.#free) + (chunk.byteLength / this.#bytesPerSecond) * 1000;
      if (wait > 0) {
        // An abort ends the sleep; that it does is asked for right after.
        await sleep(wait, undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
        throwIfAborted(signal, 'waiting for the rate limit of the storage');
      }
      yield chunk;
    }
  }
}
