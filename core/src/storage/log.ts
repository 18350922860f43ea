import { isArchiveError, type Logger, type Storage } from '../contracts/index.ts';

export interface LogOptions {
  /** Epoch milliseconds, for tests; default `Date.now`. */
  readonly now?: () => number;
}

/** Writes one debug line for each call that reaches the storage: what, how long, how much, and the code of a failure. */
export function withLog(storage: Storage, logger: Logger, options: LogOptions = {}): Storage {
  const now = options.now ?? Date.now;

  const begin = (call: string, fields: Readonly<Record<string, unknown>>): Line => {
    const since = now();
    const end = (more: Readonly<Record<string, unknown>>): void =>
      logger.debug({ call, ...fields, ...more, ms: now() - since }, `storage ${call}`);
    return {
      end,
      fail: (error) => {
        end({ failed: isArchiveError(error) ? error.code : String(error) });
        return error;
      },
    };
  };

  const once = async <Value>(line: Line, call: () => Promise<Value>): Promise<Value> => {
    try {
      const value = await call();
      line.end({});
      return value;
    } catch (error) {
      throw line.fail(error);
    }
  };

  /** Counts what passes; the line comes at the end, be it that of the reader who left early. */
  async function* stream<Item>(
    line: Line,
    items: AsyncIterable<Item>,
    unit: string,
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
      if (failure === undefined) line.end({ [unit]: total });
      else line.fail(failure.error);
    }
  }

  return {
    capabilities: storage.capabilities,
    put: (key, body, call) => {
      let bytes = 0;
      const counted = count(body, (chunk) => (bytes += chunk.byteLength));
      const line = begin('put', { key });
      return once({ ...line, end: () => line.end({ bytes }) }, () => storage.put(key, counted, call));
    },
    get: (key, call) =>
      stream(begin('get', { key, range: call?.range }), storage.get(key, call), 'bytes', (chunk) => chunk.byteLength),
    stat: (key, call) => once(begin('stat', { key }), () => storage.stat(key, call)),
    list: (prefix, call) =>
      stream(begin('list', { prefix, startAfter: call?.startAfter }), storage.list(prefix, call), 'entries', () => 1),
    remove: (keys, call) => once(begin('remove', { keys: keys.length }), () => storage.remove(keys, call)),
    close: () => once(begin('close', {}), () => storage.close()),
  };
}

interface Line {
  end(more: Readonly<Record<string, unknown>>): void;
  /** Ends the line too, and gives the error back. */
  fail(error: unknown): unknown;
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
