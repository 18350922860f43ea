import { ArchiveError, isArchiveError, throwIfAborted } from '@pgark/sdk';
import { azureError } from './azure-error.ts';

export interface WatchOptions {
  /** What is being done: `storing db1/x`. */
  readonly what: string;
  /** Milliseconds without progress. */
  readonly timeout: number;
  readonly signal?: AbortSignal | undefined;
  /** Ends the request like {@link signal}, and even when it was decided: what comes of it is found out later. */
  readonly stop?: AbortSignal | undefined;
  /** Told of each {@link Watch.progress} too. */
  readonly moved?: (() => void) | undefined;
}

/**
 * The watch over requests that belong to one call. The library has no limit of time of its own on this side, so that a peer that
 * is gone without a word would hold a call for ever (H-54).
 *
 * Requests are made in {@link during}, with {@link signal}. Their time counts from the last {@link progress}; while no request
 * is waited for, none counts.
 */
export class Watch {
  /** For the library: fires on the caller's abort and when time is up. */
  readonly signal: AbortSignal;
  readonly #cancel = new AbortController();
  readonly #options: WatchOptions;
  /** Why the call is over before its time. */
  #failure: ArchiveError | undefined;
  /** Each ends the wait for a request. */
  readonly #waits = new Set<(error: ArchiveError) => void>();
  #timer: NodeJS.Timeout | undefined;
  #waiting = false;
  #decided = false;

  constructor(options: WatchOptions) {
    throwIfAborted(options.signal, options.what);
    throwIfAborted(options.stop, options.what);
    this.#options = options;
    this.signal = this.#cancel.signal;
    options.signal?.addEventListener('abort', this.#abort);
    options.stop?.addEventListener('abort', this.#stop);
  }

  /** Waits for a request. Its failure comes as an {@link ArchiveError}; so does an abort, at once. */
  async during<Value>(request: () => Promise<Value>): Promise<Value> {
    const { signal, what } = this.#options;
    if (!this.#decided) throwIfAborted(signal, what);
    this.#waiting = true;
    this.progress();
    let end: (error: ArchiveError) => void = () => undefined;
    try {
      // A race against one promise for the whole call would keep every answer, chunk by chunk, until the call ends.
      return await new Promise<Value>((resolve, reject) => {
        end = reject;
        this.#waits.add(end);
        request().then(resolve, reject);
        if (this.#failure !== undefined) reject(this.#failure);
      });
    } catch (error) {
      throw isArchiveError(error) ? error : azureError(error, what);
    } finally {
      this.#waits.delete(end);
      this.#waiting = false;
      clearTimeout(this.#timer);
    }
  }

  /** Bytes moved. */
  progress(): void {
    this.#options.moved?.();
    clearTimeout(this.#timer);
    // The rest of a body may still be taken when the answer has come.
    if (!this.#waiting) return;
    this.#timer = setTimeout(this.#expire, this.#options.timeout);
  }

  /**
   * Throws after an abort. Otherwise the server may have all it needs from now on: an abort comes too late, and what came of the
   * request is waited for.
   */
  decide(): void {
    throwIfAborted(this.#options.signal, this.#options.what);
    this.#decided = true;
  }

  end(): void {
    this.#options.signal?.removeEventListener('abort', this.#abort);
    this.#options.stop?.removeEventListener('abort', this.#stop);
  }

  readonly #abort = (): void => {
    if (!this.#decided) this.#end(this.#options.signal);
  };

  readonly #stop = (): void => this.#end(this.#options.stop);

  #end(signal: AbortSignal | undefined): void {
    this.#fail(new ArchiveError('ABORTED', `${this.#options.what} was cancelled`, { cause: signal?.reason }));
    this.#cancel.abort();
  }

  #fail(error: ArchiveError): void {
    this.#failure ??= error;
    for (const end of this.#waits) end(this.#failure);
  }

  readonly #expire = (): void => {
    const { timeout, what } = this.#options;
    this.#fail(
      new ArchiveError('STORAGE_UNAVAILABLE', `${what} failed: no progress for ${timeout / 1000} s`, {
        hint: 'Check the network between here and the storage account.',
      }),
    );
    this.#cancel.abort();
  };
}

/** Runs one request under a watch of its own. */
export async function watched<Value>(options: WatchOptions, request: (watch: Watch) => Promise<Value>): Promise<Value> {
  const watch = new Watch(options);
  try {
    return await watch.during(() => request(watch));
  } finally {
    watch.end();
  }
}
