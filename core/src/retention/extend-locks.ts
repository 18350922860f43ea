import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { CallOptions, ObjectInfo, Storage } from '../contracts/storage.ts';
import type { Repository } from '../repository/repository.ts';
import { atOnce } from '../copy/at-once.ts';
import { LockRecords, Stretches } from './lock-records.ts';

/** A stretch of a listing. */
export interface KeyRange {
  readonly prefix: string;
  /** Only keys greater than this one. */
  readonly startAfter?: string;
  /** Only keys less than this one. */
  readonly before?: string;
}

export interface ExtendLocksProgress {
  /** Objects that were listed. */
  readonly objects: number;
  /** Whose lock was asked for: of the others it is on record that it lasts. */
  readonly looked: number;
  /** Whose lock was extended. */
  readonly extended: number;
}

export interface ExtendLocksOptions extends CallOptions {
  readonly repository: Repository;
  readonly systemId: string;
  /** Where everything lies that is still needed. */
  readonly ranges: readonly KeyRange[];
  /** Objects at once; default 16. */
  readonly concurrency?: number;
  readonly onProgress?: (progress: ExtendLocksProgress) => void;
  readonly now?: () => number;
}

export interface ExtendLocksResult extends ExtendLocksProgress {
  /** The end of the locks that were extended. */
  readonly until: Date;
  /** Objects that were listed and then were not there. */
  readonly gone: readonly string[];
}

/** Objects that are worked on before what came of them is noted. */
const BATCH = 512;
/** Objects after which what was done is put on record, so that a run that is killed is not done again. */
const RECORD_EVERY = 20_000;

/**
 * Extends the locks of objects that are still needed: each that ends before half of the repository's `lock` has passed, to the whole of it from
 * now. An object is asked for its lock when it is seen for the first time, and then again when half of the lock has passed: in between it is
 * on record, as facts `extended` of the subject `locks`, that its lock lasts. So a run costs a listing, and requests for what is new or due.
 *
 * What was done is on record also when the run fails, and the next one goes on there. Errors: `STORAGE_UNSUPPORTED` when the repository has no
 * `lock` or its storage no locks; those of the storage, `STORAGE_DENIED` for credentials that may not lock.
 */
export async function extendLocks(options: ExtendLocksOptions): Promise<ExtendLocksResult> {
  const { repository, systemId, now = Date.now, signal } = options;
  const { lock, storage } = repository;
  if (lock === undefined || !storage.capabilities.retention || storage.retain === undefined)
    throw new ArchiveError(
      'STORAGE_UNSUPPORTED',
      `repository ${repository.name} locks nothing: no lock can be extended`,
    );
  const call = signal === undefined ? {} : { signal };
  const time = now();
  const records = await LockRecords.read(repository.facts(systemId), { lock, now: time, ...call });
  const run = new Run(storage as Required<Storage>, options, { time, lock, records });
  let failure: { readonly error: unknown } | undefined;
  try {
    for (const range of options.ranges) await run.extend(range);
  } catch (error) {
    failure = { error };
  }
  try {
    await run.record({}); // without the signal: what was done is done
  } catch (error) {
    failure ??= { error };
  }
  if (failure !== undefined) throw failure.error;
  return run.result;
}

/** An object that is asked for its lock. */
interface Asked {
  readonly info: ObjectInfo;
  /** Whether the one before it in the listing was asked too. */
  readonly follows: boolean;
  end?: number | undefined;
}

class Run {
  readonly #storage: Required<Storage>;
  readonly #options: ExtendLocksOptions;
  readonly #records: LockRecords;
  readonly #time: number;
  readonly #until: Date;
  readonly #ifBefore: Date;
  readonly #stretches: Stretches;
  readonly #gone: string[] = [];
  #objects = 0;
  #looked = 0;
  #extended = 0;
  #unrecorded = 0;

  constructor(
    storage: Required<Storage>,
    options: ExtendLocksOptions,
    { time, lock, records }: { readonly time: number; readonly lock: number; readonly records: LockRecords },
  ) {
    this.#storage = storage;
    this.#options = options;
    this.#records = records;
    this.#time = time;
    this.#until = new Date(time + lock);
    this.#ifBefore = new Date(time + lock / 2);
    // Locks that end at about the same time are one stretch, with the first of the ends.
    this.#stretches = new Stretches(lock / 20);
  }

  get result(): ExtendLocksResult {
    return { ...this.#progress, until: this.#until, gone: this.#gone };
  }

  get #progress(): ExtendLocksProgress {
    return { objects: this.#objects, looked: this.#looked, extended: this.#extended };
  }

  async extend({ prefix, startAfter, before }: KeyRange): Promise<void> {
    const { signal } = this.#options;
    const call = signal === undefined ? {} : { signal };
    const from = startAfter === undefined ? {} : { startAfter };
    let asked: Asked[] = [];
    let follows = false;
    const endOf = this.#records.inOrder();
    for await (const info of this.#storage.list(prefix, { ...call, ...from })) {
      if (before !== undefined && info.key >= before) break;
      this.#objects++;
      if (endOf(info) >= this.#ifBefore.getTime()) {
        follows = false;
        continue;
      }
      asked.push({ info, follows });
      follows = true;
      if (asked.length < BATCH) continue;
      await this.#ask(asked);
      asked = [];
    }
    await this.#ask(asked);
  }

  async #ask(batch: readonly Asked[]): Promise<void> {
    const { concurrency = 16, signal, onProgress } = this.#options;
    try {
      await atOnce(batch, { concurrency, ...(signal !== undefined && { signal }) }, async (asked, either) => {
        asked.end = await this.#retain(asked.info.key, either);
      });
    } finally {
      for (const { info, follows, end } of batch) this.#stretches.add(info, end, { follows });
      onProgress?.(this.#progress);
    }
    this.#unrecorded += batch.length;
    if (this.#unrecorded >= RECORD_EVERY) await this.record(signal === undefined ? {} : { signal });
  }

  /** The end of the lock; undefined for an object that is not there any more. */
  async #retain(key: string, signal: AbortSignal): Promise<number | undefined> {
    try {
      const end = await this.#storage.retain(key, this.#until, { ifBefore: this.#ifBefore, signal });
      this.#looked++;
      if (end.getTime() === this.#until.getTime()) this.#extended++;
      return end.getTime();
    } catch (error) {
      if (!isArchiveError(error, 'STORAGE_NOT_FOUND')) throw error;
      this.#gone.push(key);
      return undefined;
    }
  }

  async record(call: CallOptions): Promise<void> {
    const { repository, systemId, now = Date.now } = this.#options;
    await this.#stretches.record(repository.facts(systemId), Math.max(now(), this.#time), call);
    this.#unrecorded = 0;
  }
}
