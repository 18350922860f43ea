import { isArchiveError, type Attempt, type Logger, type PutOptions, type Storage } from '../contracts/index.ts';
import { withRetain } from './optional.ts';

/** One call that reached the storage, or one attempt of a step of a `put`, when it is over. */
export interface StorageCall {
  readonly call: 'put' | 'get' | 'stat' | 'list' | 'remove' | 'retain' | 'close';
  /** Of `put`, `get`, `stat` and `retain`. */
  readonly key?: string;
  /** The step of the `put` that this was an attempt of; the call as a whole is told too. */
  readonly step?: string;
  readonly range?: { readonly start: number; readonly end?: number } | undefined;
  /** Of `list`. */
  readonly prefix?: string;
  readonly startAfter?: string | undefined;
  /** How many keys `remove` was given. */
  readonly keys?: number;
  /** What went to or came from the storage, of `put` and `get`. */
  readonly bytes?: number;
  /** What `list` gave. */
  readonly entries?: number;
  /** The code of the error with which it failed, or the error as text. */
  readonly failed?: string;
  /** Milliseconds from its begin to its end, the time that the reader took and the pauses between steps included. */
  readonly ms: number;
}

/** Tells of every call that reaches the storage, failed ones and each attempt of a step too: what metrics and logs are made of. */
export function withObserver(
  storage: Storage,
  observe: (call: StorageCall) => void,
  now: () => number = Date.now,
): Storage {
  const begin = (call: Omit<StorageCall, 'ms'>): Running => {
    const since = now();
    const end = (more: Partial<StorageCall> = {}): void => observe({ ...call, ...more, ms: now() - since });
    return { end, fail: (error, more) => end({ ...more, failed: isArchiveError(error) ? error.code : String(error) }) };
  };

  const once = async <Value>(
    running: Running,
    call: () => Promise<Value>,
    moved: () => Partial<StorageCall> = () => ({}),
  ): Promise<Value> => {
    try {
      const value = await call();
      running.end(moved());
      return value;
    } catch (error) {
      running.fail(error, moved());
      throw error;
    }
  };

  /** Counts what passes; the end is also that of a reader who left early. */
  async function* stream<Item>(
    running: Running,
    items: AsyncIterable<Item>,
    unit: 'bytes' | 'entries',
    count: (item: Item) => number,
  ): AsyncGenerator<Item, void, undefined> {
    let total = 0;
    let failure: { readonly error: unknown } | undefined;
    try {
      for await (const item of items) {
        total += count(item);
        yield item;
      }
    } catch (error) {
      failure = { error };
      throw error;
    } finally {
      if (failure === undefined) running.end({ [unit]: total });
      else running.fail(failure.error, { [unit]: total });
    }
  }

  return {
    capabilities: storage.capabilities,
    put: (key, body, options) => {
      let bytes = 0;
      const counted = count(body, (chunk) => (bytes += chunk.byteLength));
      const observed = withAttempt(options, (attempt): Attempt => async (step, call) => {
        const told = { call: 'put', key, step: step.name } as const;
        return attempt(step, (signal, moved) => once(begin(told), () => call(signal, moved)));
      });
      return once(
        begin({ call: 'put', key }),
        () => storage.put(key, counted, observed),
        () => ({ bytes }),
      );
    },
    get: (key, options) =>
      stream(
        begin({ call: 'get', key, range: options?.range }),
        storage.get(key, options),
        'bytes',
        (chunk) => chunk.byteLength,
      ),
    stat: (key, options) => once(begin({ call: 'stat', key }), () => storage.stat(key, options)),
    list: (prefix, options) =>
      stream(
        begin({ call: 'list', prefix, startAfter: options?.startAfter }),
        storage.list(prefix, options),
        'entries',
        () => 1,
      ),
    remove: (keys, options) => once(begin({ call: 'remove', keys: keys.length }), () => storage.remove(keys, options)),
    close: () => once(begin({ call: 'close' }), () => storage.close()),
    ...withRetain(
      storage,
      (retain) => (key, until, options) => once(begin({ call: 'retain', key }), () => retain(key, until, options)),
    ),
  };
}

/** The options of a put with something around what runs its steps. */
export function withAttempt(options: PutOptions, wrap: (attempt: Attempt) => Attempt): PutOptions {
  return options.attempt === undefined ? options : { ...options, attempt: wrap(options.attempt) };
}

/** Writes one debug line for each call. */
export function logCalls(logger: Logger): (call: StorageCall) => void {
  return (call) => logger.debug({ ...call }, `storage ${call.call}`);
}

interface Running {
  end(more?: Partial<StorageCall>): void;
  fail(error: unknown, more: Partial<StorageCall>): void;
}

/** The same body; each reading of it is counted anew by whoever asks. */
function count(body: AsyncIterable<Uint8Array>, seen: (chunk: Uint8Array) => void): AsyncIterable<Uint8Array> {
  return {
    async *[Symbol.asyncIterator]() {
      for await (const chunk of body) {
        seen(chunk);
        yield chunk;
      }
    },
  };
}
