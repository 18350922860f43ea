/**
 * The contract of a storage: a flat, write-once space of objects. Each promise has an id; the conformance suite
 * (`@pgark/sdk/testing`) has a test under each id.
 */

/** What a back end can do, as plain data. What it cannot do it declares, and the suite skips by declaration. */
export interface StorageCapabilities {
  /** `put` with `ifAbsent` is atomic against other writers (STOR-05). */
  readonly conditionalPut: boolean;
  /** `retainUntil` is enforced by the storage (STOR-14), and there is `retain` (STOR-19). */
  readonly retention: boolean;
  /** `metadata` given to `put` comes back from `stat`. */
  readonly metadata: boolean;
}

/** One object as a listing or `stat` shows it. */
export interface ObjectInfo {
  readonly key: string;
  /** Bytes as stored. */
  readonly size: number;
  /** When the storage took the object, epoch milliseconds. For people; that it is recent may keep an object, nothing else is decided by it. */
  readonly modified: number;
  readonly metadata?: Readonly<Record<string, string>>;
}

export interface CallOptions {
  /** Cancels the call. After it fires nothing more is written and the call rejects with `ABORTED` (STOR-04). */
  readonly signal?: AbortSignal;
}

/** A part of a `put` that can be repeated, because the back end still has all that it needs for it: one request, as a rule. */
export interface PutStep {
  /** For the log: `part 7`. */
  readonly name: string;
  /** Ends the step, also between two attempts, with `ABORTED`; beside the `signal` of the put. Default: only that one. */
  readonly signal?: AbortSignal;
}

/**
 * Runs a step of a `put`, once more after each failure that may pass (`retriable`), for as long as whoever gave it sees fit.
 *
 * `call` gets a signal that fires when the step has stood still for too long and when its own `signal` fires, and cancels what the call
 * does: from then on the call changes nothing more. It calls `moved` whenever the storage has taken some of the bytes, from where its time
 * counts anew; one that never does has the whole of `stallTimeout` for everything, and no more.
 *
 * It may be called again although it had succeeded, since an answer can be lost, and while the storage still works on what a cancelled call
 * has sent. So it must not matter how often a step took effect, nor how late, and one that makes the object visible looks on a second call
 * whether the object is there already, and is its own.
 *
 * What no other attempt of the step can heal is no matter for `call` to throw: an upload that the storage has forgotten, say.
 */
export type Attempt = <Value>(
  step: PutStep,
  call: (signal: AbortSignal, moved?: () => void) => Promise<Value>,
) => Promise<Value>;

export interface PutOptions extends CallOptions {
  /** Fail with `STORAGE_EXISTS` when the key exists. pgark always sets it. */
  readonly ifAbsent: boolean;
  /** Bytes in the body, if known. A body of another length is an error and leaves nothing (STOR-03). */
  readonly size?: number;
  readonly metadata?: Readonly<Record<string, string>>;
  /** The storage should refuse to change or delete the object until then. A time that has passed asks for no lock. */
  readonly retainUntil?: Date;
  /** How steps of the call are run (STOR-18); given by the stack. Default: each once. */
  readonly attempt?: Attempt;
}

export interface GetOptions extends CallOptions {
  /** Bytes from `start` up to but not including `end` (default: the end of the object). */
  readonly range?: { readonly start: number; readonly end?: number };
}

export interface ListOptions extends CallOptions {
  /** Only keys greater than this one. */
  readonly startAfter?: string;
}

export interface RetainOptions extends CallOptions {
  /** Only a lock that ends before this is extended; default: before the new end. */
  readonly ifBefore?: Date;
}

/**
 * What became of an attempt to break a lock: `refused` by the service, whether for the lock or for want of a permission; `kept`: the service
 * took the request and still has what was locked, as an older version that can be read; `lost`.
 */
export type LockAnswer = 'refused' | 'kept' | 'lost';

export interface LockProof {
  readonly replace: LockAnswer;
  readonly remove: LockAnswer;
}

export interface RemoveResult {
  /** Keys the storage refused to delete because they are under retention lock: not a failure. */
  readonly retained: readonly string[];
}

/**
 * A place for objects.
 *
 * Keys are 1 to 900 bytes of UTF-8, parts joined by `/`, no part empty, `.` or `..`, no control characters and no
 * backslash; anything else is `STORAGE_INVALID_KEY` (STOR-01). A back end never retries: the stack around it does, whole calls and, by
 * {@link PutOptions.attempt}, the steps of a `put` whose body cannot be read again.
 *
 * Errors: `STORAGE_NOT_FOUND` is said only when the storage answered that the key is not there. A missing bucket or
 * root is `STORAGE_MISCONFIGURED`, a refusal `STORAGE_DENIED`, a full disk `STORAGE_FULL`, anything that may pass
 * `STORAGE_UNAVAILABLE` (STOR-06).
 */
export interface Storage {
  readonly capabilities: StorageCapabilities;

  /**
   * Stores one object, all or nothing.
   *
   * - STOR-02 A body that throws leaves nothing visible, and its error comes back as it was thrown.
   * - STOR-03 A body shorter or longer than `size` is `STORAGE_CORRUPT` and leaves nothing visible.
   * - STOR-04 An abort before, during or at the end of the call leaves nothing, unless the call had succeeded.
   * - STOR-05 With `ifAbsent` and `conditionalPut` exactly one of any number of racing writers succeeds; the others get
   *   `STORAGE_EXISTS`, and the object is the winner's.
   * - STOR-07 Once the call has returned the object survives a crash of the machine, and `get`, `stat` and `list` show it.
   * - STOR-08 An empty body makes an empty object.
   * - STOR-17 Chunks are not changed, not kept after the call, and not looked at once they were released (`lease.ts`).
   * - STOR-18 With `attempt` each request whose bytes are held in memory goes through it, and each may be sent again: a loss of the
   *   connection costs no byte of the body. However often that happens, the object is the same, and no other writer's is taken for it.
   */
  put(key: string, body: AsyncIterable<Uint8Array>, options: PutOptions): Promise<void>;

  /**
   * Reads one object, or a range of it. Lazy: a failure shows at the first chunk.
   *
   * - STOR-09 The bytes are those stored; a connection that ends early is an error, never a short body.
   * - STOR-10 A range that ends past the object gives what there is; one that starts at or past its end is
   *   `STORAGE_INVALID_KEY`, except that start 0 of an empty object gives nothing.
   * - STOR-11 Leaving the loop early frees the connection or the file.
   */
  get(key: string, options?: GetOptions): AsyncIterable<Uint8Array>;

  /** Size and time of one object, or `STORAGE_NOT_FOUND` (STOR-06). */
  stat(key: string, options?: CallOptions): Promise<ObjectInfo>;

  /**
   * Lists the keys that begin with `prefix`, a plain string: `db1` also gives `db10/x`, `db1/` does not.
   *
   * - STOR-12 Every key once, sorted by the bytes of its UTF-8 form, over any number of pages, lazily.
   * - STOR-13 An object that is being written is not listed. A prefix without keys gives an empty list.
   */
  list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo>;

  /**
   * Deletes objects.
   *
   * - STOR-14 Keys that do not exist are fine. Keys under retention lock come back in `retained`.
   * - STOR-15 Only exactly these keys are deleted.
   */
  remove(keys: readonly string[], options?: CallOptions): Promise<RemoveResult>;

  /** Frees connections. STOR-16 May be called twice; calls after it fail. */
  close(): Promise<void>;

  /**
   * Sees to it that the lock of an object ends at `until` or later, and gives the end that holds now. Only with `capabilities.retention`.
   *
   * - STOR-19 A lock is never shortened; an object without one gets one. A missing key is `STORAGE_NOT_FOUND`.
   */
  retain?(key: string, until: Date, options?: RetainOptions): Promise<Date>;

  /**
   * The objects as they were at a moment, in a storage that keeps versions: what was deleted or replaced since is there, what came since is
   * not. For reading only; closing it closes the storage. Called on the back end itself: what is wrapped around a storage does not have it.
   *
   * - STOR-20 `get`, `stat` and `list` agree, and keep their promises; `put` and `remove` are `STORAGE_DENIED`. A place that keeps no
   *   versions is `STORAGE_UNSUPPORTED` at the first call, never one that looks as it does now.
   */
  asOf?(moment: Date): Storage;

  /**
   * Tries for real to replace and to delete a locked object, past whatever this back end would ask before; for `pgark check`, with an
   * object of its own. Needed only where `put` and `remove` would not let the service decide. Called on the back end itself.
   */
  proveLock?(key: string, options?: CallOptions): Promise<LockProof>;
}
