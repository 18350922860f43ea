import { setTimeout as sleep } from 'node:timers/promises';
import { isArchiveError, throwIfAborted, type ArchiveError } from '../contracts/index.ts';
import type { Attempt, GetOptions, ListOptions, ObjectInfo, PutOptions, Storage } from '../contracts/index.ts';
import { withRetain } from './optional.ts';
import { sameBytes } from './same-bytes.ts';

/** One failure that is followed by another attempt. */
export interface RetryEvent {
  /** `put base/1.tar`, or a step of it, `put base/1.tar: part 7`; for the log. */
  readonly what: string;
  readonly attempt: number;
  /** Milliseconds until the next attempt. */
  readonly delay: number;
  readonly error: ArchiveError;
}

export interface RetryOptions {
  /** Milliseconds without progress after which the last error is thrown; default 5 minutes. 0 tries once. */
  readonly deadline?: number;
  /** Milliseconds before the second attempt; default 200. Doubles with each failure in a row. */
  readonly firstDelay?: number;
  /** Milliseconds; default 20,000. */
  readonly longestDelay?: number;
  readonly onRetry?: (event: RetryEvent) => void;
  /** Time and chance, for tests. Milliseconds of a clock that only goes on: that of the host may be put forward, which must end no call. */
  readonly now?: () => number;
  readonly sleep?: (milliseconds: number, signal: AbortSignal | undefined) => Promise<void>;
  /** From 0 to 1. */
  readonly random?: () => number;
}

/**
 * Tries calls again that failed in a way that may pass: errors whose `retriable` is true, never after an abort.
 *
 * - `get` goes on at the byte where it broke off, `list` after the last key; any progress starts the deadline anew.
 * - `put` is tried again if its body was not touched yet, or if it can be read again: a generator or a stream cannot.
 *   Otherwise the error is the caller's, who alone can make the body anew.
 * - A step of a `put` that the back end can repeat (STOR-18) is tried again whatever the body is; each has a deadline of its own. Where that
 *   was in vain the `put` has failed: another one would meet the same storage.
 * - `put` with `ifAbsent` whose answer was lost finds its own object on the next attempt: if that has the bytes of the
 *   body the call has succeeded, otherwise it is `STORAGE_EXISTS`.
 */
export function withRetry(storage: Storage, options: RetryOptions = {}): Storage {
  const settings = { ...DEFAULTS, ...options };
  return {
    capabilities: storage.capabilities,
    put: (key, body, call) => put(storage, settings, key, body, call),
    get: (key, call) => get(storage, settings, key, call),
    stat: (key, call) => new Attempts(settings, `stat ${key}`, call?.signal).run(() => storage.stat(key, call)),
    list: (prefix, call) => list(storage, settings, prefix, call),
    remove: (keys, call) =>
      new Attempts(settings, `remove ${keys.length} objects`, call?.signal).run(() => storage.remove(keys, call)),
    close: () => storage.close(),
    ...withRetain(
      storage,
      (retain) => (key, until, call) =>
        new Attempts(settings, `lock ${key}`, call?.signal).run(() => retain(key, until, call)),
    ),
  };
}

type Settings = typeof DEFAULTS & RetryOptions;

const DEFAULTS = {
  deadline: 300_000,
  firstDelay: 200,
  longestDelay: 20_000,
  now: (): number => performance.now(),
  random: Math.random,
  sleep: (milliseconds: number, signal: AbortSignal | undefined): Promise<void> =>
    // An abort ends the sleep; that it does is asked for right after.
    sleep(milliseconds, undefined, signal === undefined ? {} : { signal }).catch(() => undefined),
};

/** The attempts of one call. */
class Attempts {
  readonly #settings: Settings;
  readonly #what: string;
  readonly #signal: AbortSignal | undefined;
  #since: number;
  #failures = 0;

  constructor(settings: Settings, what: string, signal: AbortSignal | undefined) {
    this.#settings = settings;
    this.#what = what;
    this.#signal = signal;
    this.#since = settings.now();
  }

  async run<Value>(call: () => Promise<Value>): Promise<Value> {
    for (;;) {
      try {
        return await call();
      } catch (error) {
        await this.wait(error);
      }
    }
  }

  /** Something was achieved: whatever fails from here on counts anew. */
  progress(): void {
    this.#since = this.#settings.now();
    this.#failures = 0;
  }

  /** Waits for the next attempt, or throws `error` when there should be none. */
  async wait(error: unknown): Promise<void> {
    if (!isArchiveError(error) || !error.retriable) throw error;
    throwIfAborted(this.#signal, this.#what);
    const { firstDelay, longestDelay, deadline, now, random, onRetry } = this.#settings;
    const longest = Math.min(firstDelay * 2 ** this.#failures, longestDelay);
    // Half of it is chance, so that many that failed together do not come back together.
    const delay = Math.round(longest / 2 + (longest / 2) * random());
    if (now() + delay - this.#since > deadline) throw error;
    this.#failures += 1;
    onRetry?.({ what: this.#what, attempt: this.#failures, delay, error });
    await this.#settings.sleep(delay, this.#signal);
    throwIfAborted(this.#signal, this.#what);
  }
}

async function put(
  storage: Storage,
  settings: Settings,
  key: string,
  body: AsyncIterable<Uint8Array>,
  options: PutOptions,
): Promise<void> {
  let touched = false;
  let stepFailed = false;
  const attempt: Attempt = async (step, call) => {
    const signals = [options.signal, step.signal].filter((signal) => signal !== undefined);
    const own = new Attempts(settings, `put ${key}: ${step.name}`, AbortSignal.any(signals));
    try {
      // Without the signal of the put: what makes the object visible is not cancelled any more.
      return await own.run(() => call(step.signal ?? new AbortController().signal));
    } catch (error) {
      // One that was cancelled, because another one failed, says nothing of the storage.
      if (isArchiveError(error) && error.retriable) stepFailed = true;
      throw error;
    }
  };
  const watched: AsyncIterable<Uint8Array> = {
    [Symbol.asyncIterator]() {
      touched = true;
      return body[Symbol.asyncIterator]();
    },
  };
  const attempts = new Attempts(settings, `put ${key}`, options.signal);
  for (let mayBeOurs = false; ; mayBeOurs = touched) {
    try {
      await storage.put(key, watched, { ...options, attempt });
      return;
    } catch (error) {
      if (mayBeOurs && isArchiveError(error, 'STORAGE_EXISTS')) {
        const stored = storage.get(key, options.signal === undefined ? {} : { signal: options.signal });
        if (await sameBytes(stored, body)) return;
      }
      if (stepFailed || (touched && !isReadableAgain(body))) throw error;
      await attempts.wait(error);
    }
  }
}

/** Generators and streams of Node and of the web are over once read, and then look like an empty body. */
function isReadableAgain(body: AsyncIterable<Uint8Array>): boolean {
  return !('next' in body) && !('pipe' in body) && !('getReader' in body);
}

async function* get(
  storage: Storage,
  settings: Settings,
  key: string,
  options: GetOptions = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  const attempts = new Attempts(settings, `get ${key}`, options.signal);
  const { start, end } = { start: 0, ...options.range };
  let position = start;
  for (;;) {
    // Until a byte has come the range is the caller's, so that his mistakes are told as his.
    const range = position === start ? options.range : { ...options.range, start: position };
    try {
      for await (const chunk of storage.get(key, range === undefined ? options : { ...options, range })) {
        position += chunk.byteLength;
        attempts.progress();
        yield chunk;
      }
      return;
    } catch (error) {
      await attempts.wait(error);
    }
    if (position === start) continue;
    // It may have broken off after the last byte, and a range may not start there.
    const size = (await attempts.run(() => storage.stat(key, options))).size;
    if (position >= Math.min(end ?? size, size)) return;
  }
}

async function* list(
  storage: Storage,
  settings: Settings,
  prefix: string,
  options: ListOptions = {},
): AsyncGenerator<ObjectInfo, void, undefined> {
  const attempts = new Attempts(settings, `list ${prefix}`, options.signal);
  let last = options.startAfter;
  for (;;) {
    try {
      for await (const entry of storage.list(prefix, last === undefined ? options : { ...options, startAfter: last })) {
        last = entry.key;
        attempts.progress();
        yield entry;
      }
      return;
    } catch (error) {
      await attempts.wait(error);
    }
  }
}
