import { ArchiveError, throwIfAborted } from '@pgark/sdk';

/** Milliseconds for which an abort waits for the answer to a request that can no longer be called back. */
const GRACE_MS = 5000;

/** What a {@link Deadline} watches over. */
export interface DeadlineWork {
  readonly what: string;
  readonly signal?: AbortSignal | undefined;
  /** Ends the work like `signal`, and at once even when it is committed. */
  readonly stop?: AbortSignal | undefined;
  /** Told each time something moved. */
  readonly moved?: (() => void) | undefined;
}

/** Ends a piece of work when its signal fires, or when nothing has moved for the time of the limit. */
export class Deadline {
  /** Why the work was ended. */
  error: ArchiveError | undefined;
  readonly #what: string;
  readonly #limit: number;
  readonly #signal: AbortSignal | undefined;
  readonly #stopSignal: AbortSignal | undefined;
  readonly #abort = (): void => this.#aborted();
  readonly #halt = (): void => this.#fail(this.#abortError());
  readonly #moved: (() => void) | undefined;
  #stop: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #committed = false;

  constructor(work: DeadlineWork, limit: number) {
    throwIfAborted(work.signal, work.what);
    throwIfAborted(work.stop, work.what);
    this.#what = work.what;
    this.#limit = limit;
    this.#signal = work.signal;
    this.#stopSignal = work.stop;
    this.#moved = work.moved;
    this.#signal?.addEventListener('abort', this.#abort);
    this.#stopSignal?.addEventListener('abort', this.#halt);
    this.resume();
  }

  /** `stop` is called once, when the work has to end. */
  onEnd(stop: () => void): void {
    this.#stop = stop;
  }

  /** Something moved: the time starts anew. */
  progress(): void {
    this.#moved?.();
    if (!this.#isAwaited()) this.#timer?.refresh();
  }

  /** From now on the time counts. */
  resume(): void {
    if (this.error !== undefined || this.#isAwaited()) return;
    this.#clear();
    this.#timer = setTimeout(() => this.#expired(), this.#limit);
  }

  /** From now on no time counts. */
  pause(): void {
    if (!this.#isAwaited()) this.#clear();
  }

  /** The work cannot be called back any more: an abort waits for what comes of it. */
  commit(): void {
    this.#committed = true;
  }

  /** The work has ended. Gives the reason if it was ended from here. */
  end(): ArchiveError | undefined {
    this.#clear();
    this.#signal?.removeEventListener('abort', this.#abort);
    this.#stopSignal?.removeEventListener('abort', this.#halt);
    return this.error;
  }

  #clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Whether only the answer is waited for, behind an abort: that time is not prolonged. */
  #isAwaited(): boolean {
    return this.#committed && this.#signal?.aborted === true;
  }

  #aborted(): void {
    this.#clear();
    if (this.#committed) this.#timer = setTimeout(() => this.#fail(this.#abortError()), GRACE_MS);
    else this.#fail(this.#abortError());
  }

  #abortError(): ArchiveError {
    const fired = this.#stopSignal?.aborted === true ? this.#stopSignal : this.#signal;
    return new ArchiveError('ABORTED', `${this.#what} was cancelled`, { cause: fired?.reason });
  }

  #expired(): void {
    const seconds = this.#limit / 1000;
    this.#fail(new ArchiveError('STORAGE_UNAVAILABLE', `${this.#what} failed: no answer for ${seconds} seconds`));
  }

  #fail(error: ArchiveError): void {
    this.error = error;
    this.end();
    this.#stop?.();
  }
}

/** Waits for `work`, but no longer than the limit and the signal allow. What it is left doing concerns nobody. */
export async function within<Value>(
  work: Promise<Value>,
  call: { readonly what: string; readonly signal?: AbortSignal | undefined },
  limit: number,
): Promise<Value> {
  // Also when the signal has fired already.
  work.catch(() => undefined);
  const deadline = new Deadline(call, limit);
  const ended = new Promise<never>((_, reject) => deadline.onEnd(() => reject(deadline.error)));
  try {
    return await Promise.race([work, ended]);
  } finally {
    deadline.end();
  }
}
