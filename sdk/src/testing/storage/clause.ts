import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  isArchiveError,
  type ErrorCode,
  type GetOptions,
  type ListOptions,
  type PutOptions,
  type Storage,
  type StorageCapabilities,
} from 'pgark/contracts';
import type { Random } from './random.ts';

/** What the suite needs to know of a back end. */
export interface StorageSuiteOptions {
  /** Opens the storage. Called for each test; the tests keep apart by random prefixes, so the place may be the same. */
  readonly create: () => Promise<Storage>;
  /** Opens the place of `storage` a second time, as another process would. Without it such tests are skipped. */
  readonly reopen?: (storage: Storage) => Promise<Storage>;
  /** Storages in trouble. Without one its test is skipped; why there is none belongs into `knownGaps`. */
  readonly broken?: BrokenPlaces;
  /** What the back end is known not to do, by the id of the clause. An id that does not exist is an error. */
  readonly knownGaps?: readonly { readonly id: string; readonly reason: string }[];
  /**
   * `small` (default) is for every run; `full` takes minutes and 14 GiB of disk: listings and removals of 10,000 keys, and objects of
   * 6 GiB through a process that may not grow by more than 300 MiB. A storage that keeps objects in this process names `STOR-09/large`
   * in `knownGaps`.
   */
  readonly scale?: 'small' | 'full';
  /** How many objects the tests of long listings make at small scale; default 300. */
  readonly listLength?: number;
  /**
   * Bytes of an object that takes several requests, or other steps that are repeated each by itself (STOR-18). Default: a little more than
   * 33 MiB; a back end with small parts may give less, to be quicker.
   */
  readonly partsLength?: number;
  /** Seed of all random content; by default another one on every run, told when a test fails. */
  readonly seed?: number;
  /** Milliseconds for one test; default 30,000, at full scale an hour. */
  readonly timeout?: number;
  /** Milliseconds after which a call that must come back at once is said to hang; default 10,000. */
  readonly patience?: number;
}

/** Opens storages in trouble. */
export interface BrokenPlaces {
  /** Its bucket or root folder does not exist. */
  readonly missing?: () => Promise<Storage>;
  /** Whom it is asked by is known, and may do nothing. */
  readonly denied?: () => Promise<Storage>;
  /** Who asks is not known: a wrong key, secret or password. */
  readonly credentials?: () => Promise<Storage>;
  /** It cannot be reached, or every request fails in a way that may pass. */
  readonly unavailable?: () => Promise<Storage>;
  /** Its peer takes connections and never says a word; calls give up after a second or so. */
  readonly silent?: () => Promise<Storage>;
  /** Its peer is slow, and can be made to stop. The place is that of `create`. */
  readonly slow?: () => Promise<SlowStorage>;
  /** There is room for 3 MiB and not for 16 MiB. */
  readonly full?: () => Promise<Storage>;
}

/** A storage behind a peer that moves a few bytes at a time. */
export interface SlowStorage {
  readonly storage: Storage;
  /** Bytes per second that come from the peer, at most. */
  readonly rate: number;
  /** Milliseconds without progress after which `storage` gives up. */
  readonly stallTimeout: number;
  /** From now on no byte comes or goes; connections stay open. */
  stop(): void;
}

/** One promise of the contract, or a part of it, as a test. */
export interface StorageClause {
  /** `STOR-05/race`: the promise in `contracts/storage.ts`, and a name for the part. */
  readonly id: string;
  readonly title: string;
  /** Capabilities without which the clause says nothing. */
  readonly needs?: readonly (keyof StorageCapabilities)[];
  run(context: StorageClauseContext): Promise<void>;
}

/** Thrown by a clause that cannot be tried here. */
export class StorageClauseSkipped extends Error {}

/** What a clause works with. */
export class StorageClauseContext {
  readonly storage: Storage;
  readonly options: StorageSuiteOptions;
  readonly random: Random;
  /** Ends with a slash; no other test uses it. */
  readonly prefix: string;
  /** What clauses have measured, for whoever looks at the run. */
  readonly notes: string[] = [];

  constructor(storage: Storage, options: StorageSuiteOptions, random: Random) {
    this.storage = storage;
    this.options = options;
    this.random = random;
    this.prefix = `pgark-conformance-${random.name(12)}/`;
  }

  /** How many objects a long listing has. */
  get listLength(): number {
    return this.options.scale === 'full' ? 10_000 : (this.options.listLength ?? 300);
  }

  /** Lengths of an object that takes one request, and of one that takes several. */
  get lengths(): readonly [one: number, several: number] {
    return [1000, this.options.partsLength ?? 33 * 1024 * 1024 + 7];
  }

  note(text: string): void {
    this.notes.push(text);
  }

  /** A key below the prefix. */
  key(name: string): string {
    return `${this.prefix}${name}`;
  }

  async put(key: string, bytes: Uint8Array | string, options: Partial<PutOptions> = {}): Promise<void> {
    await this.storage.put(key, bodyOf(typeof bytes === 'string' ? Buffer.from(bytes) : bytes), {
      ifAbsent: true,
      ...options,
    });
  }

  get(key: string, options?: GetOptions): Promise<Buffer> {
    return readAll(this.storage, key, options);
  }

  async keys(prefix: string = this.prefix, options?: ListOptions): Promise<string[]> {
    const keys: string[] = [];
    for await (const { key } of this.storage.list(prefix, options)) keys.push(key);
    return keys;
  }

  /** Gives up on a promise that may hang. */
  async withoutHanging<Value>(promise: Promise<Value>, what: string): Promise<Value> {
    const timer = new AbortController();
    const limit = sleep(this.options.patience ?? 10_000, undefined, { signal: timer.signal }).then(
      () => Promise.reject(new assert.AssertionError({ message: `${what} hangs` })),
      () => new Promise<never>(() => undefined),
    );
    try {
      return await Promise.race([promise, limit]);
    } finally {
      timer.abort();
    }
  }

  /** Asserts that nothing of `key` is to be seen, in any way. */
  async assertInvisible(key: string): Promise<void> {
    await rejectsWith('STORAGE_NOT_FOUND', this.storage.stat(key), `stat of ${key}`);
    await rejectsWith('STORAGE_NOT_FOUND', this.get(key), `get of ${key}`);
    assert.ok(!(await this.keys()).includes(key), `the listing shows ${key}`);
  }
}

/** Opens the place of the context's storage a second time, or skips the clause. */
export async function reopened(context: StorageClauseContext): Promise<Storage> {
  const reopen = context.options.reopen;
  if (reopen === undefined) throw new StorageClauseSkipped('the suite was given no "reopen"');
  return reopen(context.storage);
}

/** A body of exactly these chunks. */
export async function* bodyOf(...chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array, void, undefined> {
  yield* chunks;
}

/** `bytes` in chunks of `length`. */
export async function* inChunks(bytes: Uint8Array, length: number): AsyncGenerator<Uint8Array, void, undefined> {
  for (let start = 0; start < bytes.byteLength; start += length) yield bytes.subarray(start, start + length);
}

export async function readAll(storage: Storage, key: string, options?: GetOptions): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of storage.get(key, options)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Asserts that `promise` rejects with an error of this code, and gives the error. */
export async function rejectsWith(code: ErrorCode, promise: Promise<unknown>, what: string): Promise<unknown> {
  const error = await failureOf(promise, what);
  if (!isArchiveError(error, code)) {
    throw new assert.AssertionError({
      message: `${what}: expected ${code}, got ${isArchiveError(error) ? error.code : String(error)}`,
      actual: error,
    });
  }
  return error;
}

/** Asserts that `promise` rejects, and gives the error. */
export async function failureOf(promise: Promise<unknown>, what: string): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new assert.AssertionError({ message: `${what} did not fail` });
}

/** Compares bytes without printing megabytes of them. */
export function assertBytes(actual: Uint8Array, expected: Uint8Array, what: string): void {
  assert.equal(actual.byteLength, expected.byteLength, `${what}: length`);
  const different = Buffer.compare(actual, expected) === 0 ? -1 : actual.findIndex((byte, at) => byte !== expected[at]);
  assert.equal(different, -1, `${what}: first different byte`);
}
