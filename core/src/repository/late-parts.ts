/** Stand-ins for parts of a repository that could not be made: each call tries again to make them, and fails with the reason. */
import type { Codec, CodecContext, KeyUse } from '../contracts/codec.ts';
import { ArchiveError } from '../contracts/errors.ts';
import type { ObjectInfo, RetainOptions, Storage, StorageCapabilities } from '../contracts/storage.ts';

/** Milliseconds after a failure in which it is not tried again: to make a part may run a command that takes its time. */
export const AGAIN = 10_000;

export interface LateOptions<Part> {
  /** Why it could not be made so far. */
  readonly error: ArchiveError;
  readonly make: () => Promise<Part>;
}

/** Something that is made as soon as it can be. */
export class Late<Part> {
  readonly #make: () => Promise<Part>;
  #error: unknown;
  #failed: number = performance.now();
  #part: Promise<Part> | undefined;
  #closed = false;

  constructor({ error, make }: LateOptions<Part>) {
    this.#error = error;
    this.#make = make;
  }

  /** The part, or the error of the last attempt to make it. */
  async get(): Promise<Part> {
    if (this.#part === undefined && !this.#closed && performance.now() - this.#failed >= AGAIN)
      this.#part = this.#attempt();
    if (this.#part === undefined) throw this.#error;
    return this.#part;
  }

  async #attempt(): Promise<Part> {
    try {
      return await this.#make();
    } catch (error) {
      this.#error = error;
      this.#failed = performance.now();
      this.#part = undefined;
      throw error;
    }
  }

  /** From now on nothing is made. What was made, if anything. */
  async end(): Promise<Part | undefined> {
    this.#closed = true;
    return this.#part?.catch(() => undefined);
  }
}

/** A storage that could not be made yet. It never promises what the true one may not keep. */
export class LateStorage implements Storage {
  readonly capabilities: StorageCapabilities = { conditionalPut: false, retention: false, metadata: false };
  readonly #late: Late<Storage>;

  constructor(options: LateOptions<Storage>) {
    this.#late = new Late(options);
  }

  async put(...call: Parameters<Storage['put']>): Promise<void> {
    return (await this.#late.get()).put(...call);
  }

  async *get(...call: Parameters<Storage['get']>): AsyncGenerator<Uint8Array> {
    yield* (await this.#late.get()).get(...call);
  }

  async stat(...call: Parameters<Storage['stat']>): ReturnType<Storage['stat']> {
    return (await this.#late.get()).stat(...call);
  }

  async *list(...call: Parameters<Storage['list']>): AsyncGenerator<ObjectInfo> {
    yield* (await this.#late.get()).list(...call);
  }

  async remove(...call: Parameters<Storage['remove']>): ReturnType<Storage['remove']> {
    return (await this.#late.get()).remove(...call);
  }

  /** There may be nobody who locks: then it is told that nothing was. */
  async retain(key: string, until: Date, options?: RetainOptions): Promise<Date> {
    const storage = await this.#late.get();
    if (storage.retain === undefined) throw new ArchiveError('STORAGE_UNSUPPORTED', `${key} cannot be locked`);
    return storage.retain(key, until, options);
  }

  async close(): Promise<void> {
    await (await this.#late.end())?.close();
  }
}

/** A codec that could not be made yet. Until it can be, nothing that it belongs to is written: bytes never pass it as they are. */
export class LateCodec implements Codec {
  readonly id: string;
  readonly suffix: string;
  #keyIds: readonly string[] = [];
  #isMade = false;
  readonly #late: Late<Codec>;

  constructor({ id, suffix, ...options }: LateOptions<Codec> & Pick<Codec, 'id' | 'suffix'>) {
    this.id = id;
    this.suffix = suffix;
    this.#late = new Late(options);
  }

  /** Known from the first use on: it writes for nobody before. */
  get keyIds(): readonly string[] {
    return this.#keyIds;
  }

  async *encode(source: AsyncIterable<Uint8Array>, context: CodecContext): AsyncGenerator<Uint8Array> {
    yield* (await this.#made()).encode(source, context);
  }

  async *decode(source: AsyncIterable<Uint8Array>, context: CodecContext): AsyncGenerator<Uint8Array> {
    yield* (await this.#made()).decode(source, context);
  }

  /** What a codec without keys wrote is for everybody. */
  async inspect(source: AsyncIterable<Uint8Array>, context: Pick<CodecContext, 'signal'>): Promise<KeyUse> {
    const codec = await this.#made();
    return codec.inspect?.(source, context) ?? { keyIds: [], unknown: 0, readable: true };
  }

  async #made(): Promise<Codec> {
    const codec = await this.#late.get();
    this.#keyIds = codec.keyIds ?? [];
    this.#isMade = true;
    return codec;
  }

  get isMade(): boolean {
    return this.#isMade;
  }
}

/** Whether a codec could not be made so far: what it says of its keys means nothing yet. */
export function isNotMade(codec: Codec): boolean {
  return codec instanceof LateCodec && !codec.isMade;
}
