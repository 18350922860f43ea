import {
  ArchiveError,
  checkedBody,
  checkKey,
  compareKeys,
  resolveRange,
  throwIfAborted,
  type CallOptions,
  type GetOptions,
  type ListOptions,
  type ObjectInfo,
  type PutOptions,
  type RemoveResult,
  type RetainOptions,
  type Storage,
  type StorageCapabilities,
} from '@pgark/sdk';

export interface MemoryStorageOptions {
  /** The clock that `modified` and retention go by, epoch milliseconds; default `Date.now`. */
  readonly now?: () => number;
  /** Whether what was replaced or removed is kept, for `asOf`; default false. */
  readonly versions?: boolean;
}

interface StoredBytes {
  readonly bytes: Uint8Array;
  readonly modified: number;
  readonly metadata: Readonly<Record<string, string>> | undefined;
  retainUntil: number;
}

/** What a key held from a moment on; nothing after a removal. */
interface Version {
  readonly since: number;
  readonly object: StoredBytes | undefined;
}

/** Bytes of one chunk that `get` gives. */
const CHUNK = 1024 * 1024;

/** Objects in the memory of the process, for tests: it keeps every promise of the contract but to survive a crash. */
export class MemoryStorage implements Storage {
  readonly capabilities: StorageCapabilities = { conditionalPut: true, retention: true, metadata: true };
  readonly #objects = new Map<string, StoredBytes>();
  /** The keys in order; never changed, as a listing may be reading it. */
  #sorted: readonly string[] = [];
  readonly #now: () => number;
  readonly #versions: Map<string, Version[]> | undefined;
  #closed = false;

  constructor(options: MemoryStorageOptions = {}) {
    this.#now = options.now ?? Date.now;
    this.#versions = options.versions === true ? new Map() : undefined;
  }

  async put(key: string, body: AsyncIterable<Uint8Array>, options: PutOptions): Promise<void> {
    this.#begin(options.signal, `storing ${key}`);
    checkKey(key);
    const chunks: Buffer[] = [];
    for await (const chunk of checkedBody(body, { key, size: options.size, signal: options.signal })) {
      chunks.push(Buffer.from(chunk));
    }
    this.#begin(options.signal, `storing ${key}`);
    this.#assertReplaceable(key, options.ifAbsent);
    if (!this.#objects.has(key)) this.#sorted = this.#sorted.toSpliced(firstAfter(this.#sorted, key), 0, key);
    const object = {
      bytes: Buffer.concat(chunks),
      modified: this.#now(),
      metadata: options.metadata === undefined ? undefined : { ...options.metadata },
      retainUntil: options.retainUntil?.getTime() ?? 0,
    };
    this.#objects.set(key, object);
    this.#remember(key, object);
  }

  async *get(key: string, options: GetOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    const what = `reading ${key}`;
    this.#begin(options.signal, what);
    const { bytes } = this.#find(key);
    const { start, end } = resolveRange(key, options.range, bytes.byteLength);
    for (let position = start; position < end; position += CHUNK) {
      throwIfAborted(options.signal, what);
      // A copy: whoever gets the chunk may do with it what he likes.
      yield Buffer.from(bytes.subarray(position, Math.min(position + CHUNK, end)));
    }
  }

  async stat(key: string, options: CallOptions = {}): Promise<ObjectInfo> {
    this.#begin(options.signal, `looking up ${key}`);
    return describe(key, this.#find(key));
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ObjectInfo, void, undefined> {
    const what = `listing ${prefix}`;
    this.#begin(options.signal, what);
    const { startAfter } = options;
    const keys = this.#sorted;
    for (let at = firstAfter(keys, prefix, startAfter); keys[at]?.startsWith(prefix) === true; at++) {
      const key = keys[at] ?? '';
      throwIfAborted(options.signal, what);
      const object = this.#objects.get(key);
      if (object !== undefined) yield describe(key, object);
    }
  }

  async remove(keys: readonly string[], options: CallOptions = {}): Promise<RemoveResult> {
    this.#begin(options.signal, 'removing objects');
    for (const key of keys) checkKey(key);
    const retained = keys.filter((key) => (this.#objects.get(key)?.retainUntil ?? 0) > this.#now());
    const gone = new Set(keys.filter((key) => !retained.includes(key) && this.#objects.delete(key)));
    for (const key of gone) this.#remember(key, undefined);
    if (gone.size > 0) this.#sorted = this.#sorted.filter((key) => !gone.has(key));
    return { retained };
  }

  async retain(key: string, until: Date, options: RetainOptions = {}): Promise<Date> {
    this.#begin(options.signal, `locking ${key}`);
    const object = this.#find(key);
    if (object.retainUntil < (options.ifBefore ?? until).getTime())
      object.retainUntil = Math.max(object.retainUntil, until.getTime());
    return new Date(object.retainUntil);
  }

  /** Without the option `versions` it is a place that keeps none. */
  asOf(moment: Date): Storage {
    const past = new MemoryStorage({ now: this.#now });
    for (const [key, versions] of this.#versions ?? []) {
      const object = versions.findLast(({ since }) => since <= moment.getTime())?.object;
      if (object !== undefined) past.#objects.set(key, object);
    }
    past.#sorted = [...past.#objects.keys()].toSorted(compareKeys);
    const begin = (): void => {
      if (this.#versions === undefined)
        throw new ArchiveError(
          'STORAGE_UNSUPPORTED',
          'the storage keeps no versions: it cannot be read as of a moment',
        );
    };
    const refuse = async (what: string): Promise<never> => {
      begin();
      throw new ArchiveError('STORAGE_DENIED', `${what} is refused: the past is only read`);
    };
    return {
      capabilities: { conditionalPut: false, retention: false, metadata: true },
      put: (key) => refuse(`storing ${key}`),
      async *get(key, options) {
        begin();
        yield* past.get(key, options);
      },
      async stat(key, options) {
        begin();
        return past.stat(key, options);
      },
      async *list(prefix, options) {
        begin();
        yield* past.list(prefix, options);
      },
      remove: () => refuse('removing objects'),
      close: async () => {
        await past.close();
        await this.close();
      },
    };
  }

  #remember(key: string, object: StoredBytes | undefined): void {
    if (this.#versions === undefined) return;
    const versions = this.#versions.get(key) ?? [];
    versions.push({ since: this.#now(), object });
    this.#versions.set(key, versions);
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #begin(signal: AbortSignal | undefined, what: string): void {
    if (this.#closed) throw new ArchiveError('INTERNAL', `${what} failed: the storage is closed`);
    throwIfAborted(signal, what);
  }

  #find(key: string): StoredBytes {
    const object = this.#objects.get(checkKey(key));
    if (object === undefined) throw new ArchiveError('STORAGE_NOT_FOUND', `there is no object ${key}`);
    return object;
  }

  #assertReplaceable(key: string, ifAbsent: boolean): void {
    const present = this.#objects.get(key);
    if (present === undefined) return;
    if (ifAbsent) throw new ArchiveError('STORAGE_EXISTS', `the object ${key} exists`);
    if (present.retainUntil > this.#now()) {
      throw new ArchiveError('STORAGE_DENIED', `the object ${key} is under retention and cannot be replaced`);
    }
  }
}

/** Where in the sorted keys those of a prefix begin that lie behind another key. */
function firstAfter(keys: readonly string[], prefix: string, startAfter?: string): number {
  let [low, high] = [0, keys.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const key = keys[middle] ?? '';
    const isBefore = compareKeys(key, prefix) < 0 || (startAfter !== undefined && compareKeys(key, startAfter) <= 0);
    if (isBefore) low = middle + 1;
    else high = middle;
  }
  return low;
}

function describe(key: string, object: StoredBytes): ObjectInfo {
  const info = { key, size: object.bytes.byteLength, modified: object.modified };
  return object.metadata === undefined ? info : { ...info, metadata: object.metadata };
}
