import { ArchiveError, type Storage } from '../contracts/index.ts';

export interface WatchdogOptions {
  /** Milliseconds without progress after which a call fails. */
  readonly stall: number;
}

/**
 * Ends calls that stand still: a peer that is gone without a word must not hold a backup, or a segment, for ever (H-54).
 *
 * Progress is a chunk or an entry that came, a chunk that was asked for, or the end of the call; while this side makes the
 * other wait no time counts. A call that stands still is cancelled by its signal and fails with `STORAGE_UNAVAILABLE`, which the
 * retries above take up, at once and whether the back end heeds the signal or not.
 */
export function withWatchdog(storage: Storage, { stall }: WatchdogOptions): Storage {
  const watch = (what: string, signal: AbortSignal | undefined): Watch => new Watch(what, stall, signal);
  const once = async <Value>(watching: Watch, call: () => Promise<Value>): Promise<Value> => {
    try {
      return await watching.during(call);
    } finally {
      watching.end();
    }
  };
  return {
    capabilities: storage.capabilities,
    put: (key, body, options) => {
      const watching = watch(`storing ${key}`, options.signal);
      const watched = { [Symbol.asyncIterator]: () => watching.source(body) };
      return once(watching, () => storage.put(key, watched, { ...options, signal: watching.signal }));
    },
    get: (key, options) => {
      const watching = watch(`reading ${key}`, options?.signal);
      return watching.reader(() => storage.get(key, { ...options, signal: watching.signal }));
    },
    stat: (key, options) => {
      const watching = watch(`looking at ${key}`, options?.signal);
      return once(watching, () => storage.stat(key, { ...options, signal: watching.signal }));
    },
    list: (prefix, options) => {
      const watching = watch(`listing ${prefix}`, options?.signal);
      return watching.reader(() => storage.list(prefix, { ...options, signal: watching.signal }));
    },
    remove: (keys, options) => {
      const watching = watch(`removing ${keys.length} objects`, options?.signal);
      return once(watching, () => storage.remove(keys, { ...options, signal: watching.signal }));
    },
    close: () => {
      const watching = watch('closing the storage', undefined);
      return once(watching, () => storage.close());
    },
  };
}

/** The time of one call. */
class Watch {
  readonly signal: AbortSignal;
  readonly #what: string;
  readonly #stall: number;
  readonly #cancel = new AbortController();
  readonly #stalled: Promise<never>;
  #fail: (error: ArchiveError) => void = () => undefined;
  #timer: NodeJS.Timeout | undefined;
  #ended = false;

  constructor(what: string, stall: number, signal: AbortSignal | undefined) {
    this.#what = what;
    this.#stall = stall;
    this.signal = signal === undefined ? this.#cancel.signal : AbortSignal.any([signal, this.#cancel.signal]);
    this.#stalled = new Promise<never>((_resolve, reject) => (this.#fail = reject));
    this.#stalled.catch(() => undefined); // seen by whoever waits
  }

  /** Waits for a step of the back end, for so long as a step may take. */
  async during<Value>(begin: () => Promise<Value>): Promise<Value> {
    this.#start(); // before the step, which may stop it at once: to ask for the body
    const step = begin();
    step.catch(() => undefined); // after the time is up nobody looks at it
    return Promise.race([step, this.#stalled]);
  }

  /** The body of a put: while its producer is waited for, the back end is not at fault. */
  source(body: AsyncIterable<Uint8Array>): AsyncIterator<Uint8Array> {
    const inner = body[Symbol.asyncIterator]();
    return {
      next: async () => {
        this.#stop();
        try {
          return await inner.next();
        } finally {
          this.#start();
        }
      },
      return: async () => (await inner.return?.()) ?? { done: true, value: undefined },
    };
  }

  /** What a call gives, step by step. Nothing begins before the first step. */
  async *reader<Item>(open: () => AsyncIterable<Item>): AsyncGenerator<Item, void, undefined> {
    const inner = open()[Symbol.asyncIterator]();
    let over = false;
    try {
      for (;;) {
        let step: IteratorResult<Item>;
        try {
          step = await this.during(() => inner.next());
        } catch (error) {
          over = true;
          throw error;
        }
        this.#stop();
        if (step.done === true) {
          over = true;
          return;
        }
        yield step.value;
      }
    } finally {
      // What stands still would not hear of its end either.
      if (!over) await this.during(async () => inner.return?.());
      this.end();
    }
  }

  /** The call is over: a back end that goes on regardless starts no time any more. */
  end(): void {
    this.#stop();
    this.#ended = true;
  }

  #start(): void {
    if (this.#ended) return;
    this.#stop();
    this.#timer = setTimeout(() => {
      const error = new ArchiveError(
        'STORAGE_UNAVAILABLE',
        `${this.#what}: no progress for ${this.#stall / 1000} s, the storage does not answer`,
        { hint: 'Look at the network and at the storage; "stallTimeout" of the repository says how long to wait.' },
      );
      this.#fail(error);
      this.#cancel.abort(error);
    }, this.#stall);
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
