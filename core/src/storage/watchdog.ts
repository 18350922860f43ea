import { ArchiveError, type Attempt, type Storage } from '../contracts/index.ts';
import { withAttempt } from './observe.ts';
import { withRetain } from './optional.ts';

export interface WatchdogOptions {
  /** Milliseconds without progress after which a call fails. */
  readonly stall: number;
}

/**
 * Ends calls that stand still: a peer that is gone without a word must not hold a backup, or a segment, for ever (H-54).
 *
 * Progress is a chunk or an entry that came, a chunk that was asked for, a step of a `put` that ended, or the end of the call; while this
 * side makes the other wait no time counts. Each attempt of a step has a time of its own, which counts from the last bytes that the
 * storage took, whatever the body and the other steps do. One that stands still is cancelled, and the `put` goes on as the next attempt
 * does. A call that stands still is cancelled by its signal and fails with `STORAGE_UNAVAILABLE`, which the
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
      const inner = withAttempt({ ...options, signal: watching.signal }, (attempt) => watching.steps(attempt));
      return once(watching, () => storage.put(key, watched, inner));
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
    ...withRetain(storage, (retain) => (key, until, options) => {
      const watching = watch(`locking ${key}`, options?.signal);
      return once(watching, () => retain(key, until, { ...options, signal: watching.signal }));
    }),
  };
}

/** The time of one call. */
class Watch {
  readonly signal: AbortSignal;
  readonly #what: string;
  readonly #stall: number;
  readonly #cancel = new AbortController();
  /** Ends the wait for the present answer. */
  #fail: (error: ArchiveError) => void = () => undefined;
  #timer: NodeJS.Timeout | undefined;
  /** Whether the back end has been called, and its answer is waited for. */
  #called = false;
  /** Whether the body of a put is waited for. */
  #asking = false;
  /** Steps of a put between their first attempt and their last: they have times of their own. */
  #steps = 0;

  constructor(what: string, stall: number, signal: AbortSignal | undefined) {
    this.#what = what;
    this.#stall = stall;
    this.signal = signal === undefined ? this.#cancel.signal : AbortSignal.any([signal, this.#cancel.signal]);
  }

  /** Waits for an answer of the back end, for so long as one may take. */
  async during<Value>(begin: () => Promise<Value>): Promise<Value> {
    this.#called = true; // before the call, which may stop the time at once: to ask for the body
    this.#progress();
    const answer = begin();
    // A race against one promise for the whole call would keep every answer, chunk by chunk, until the call ends.
    return new Promise((resolve, reject) => {
      this.#fail = reject;
      answer.then(resolve, reject); // after the time is up nobody looks at it
    });
  }

  /** The body of a put: while its producer is waited for, the back end is not at fault. */
  source(body: AsyncIterable<Uint8Array>): AsyncIterator<Uint8Array> {
    const inner = body[Symbol.asyncIterator]();
    return {
      next: async () => {
        this.#asking = true;
        this.#progress();
        try {
          return await inner.next();
        } finally {
          this.#asking = false;
          this.#progress();
        }
      },
      return: async () => (await inner.return?.()) ?? { done: true, value: undefined },
    };
  }

  /** The steps of a put: the pauses between their attempts are not the back end's. */
  steps(attempt: Attempt): Attempt {
    return async (step, call) => {
      this.#steps++;
      this.#progress();
      try {
        return await attempt(step, (signal) => this.#step(signal, call));
      } finally {
        this.#steps--;
        this.#progress();
      }
    };
  }

  async #step<Value>(
    signal: AbortSignal,
    call: (signal: AbortSignal, moved: () => void) => Promise<Value>,
  ): Promise<Value> {
    const cancel = new AbortController();
    const abort = (): void => cancel.abort(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort);
    let end: (error: ArchiveError) => void = () => undefined;
    const stalled = new Promise<never>((_resolve, reject) => (end = reject));
    const timer = setTimeout(() => {
      const error = this.#stalled();
      end(error);
      cancel.abort(error);
    }, this.#stall);
    let over = false;
    try {
      // One that goes on regardless must not start a time that nobody stops.
      const answer = call(cancel.signal, () => void (over || timer.refresh()));
      answer.catch(() => undefined); // as above
      return await Promise.race([answer, stalled]);
    } finally {
      over = true;
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
    }
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
        this.end();
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

  /** Nothing of the back end is waited for any more: one that goes on regardless starts no time. */
  end(): void {
    this.#called = false;
    this.#progress();
  }

  /** The time starts anew, if it counts now. */
  #progress(): void {
    clearTimeout(this.#timer);
    if (!this.#called || this.#asking || this.#steps > 0) return;
    this.#timer = setTimeout(() => this.#expired(), this.#stall);
  }

  #expired(): void {
    const error = this.#stalled();
    this.#fail(error);
    this.#cancel.abort(error);
  }

  #stalled(): ArchiveError {
    return new ArchiveError(
      'STORAGE_UNAVAILABLE',
      `${this.#what}: no progress for ${this.#stall / 1000} s, the storage does not answer`,
      { hint: 'Look at the network and at the storage; "stallTimeout" of the repository says how long to wait.' },
    );
  }
}
