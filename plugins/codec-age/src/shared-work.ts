import { ArchiveError } from '@pgark/sdk';

/** What the work comes to, or `ABORTED` as soon as the signal fires. The work itself goes on, and how it ends then concerns nobody. */
export function unlessAborted<Result>(
  work: Promise<Result>,
  signal: AbortSignal | undefined,
  what: string,
): Promise<Result> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const cancel = (): void => reject(new ArchiveError('ABORTED', `${what} was cancelled`, { cause: signal.reason }));
    if (signal.aborted) cancel();
    else signal.addEventListener('abort', cancel);
    work.finally(() => signal.removeEventListener('abort', cancel)).then(resolve, reject);
  });
}

/** Work that several wait for, each as long as it likes. It is called off when all of them have gone. */
export class SharedWork<Result> {
  readonly #result: Promise<Result>;
  readonly #calledOff = new AbortController();
  #waiting = 0;
  #settled = false;
  #lost = false;

  /** Begins at once; the signal fires when nobody waits any more. */
  constructor(work: (signal: AbortSignal) => Promise<Result>) {
    this.#result = work(this.#calledOff.signal);
    this.#result.then(
      () => (this.#settled = true),
      () => (this.#settled = this.#lost = true),
    );
  }

  /** Whether it failed or was called off: whoever comes now has to begin anew. */
  get lost(): boolean {
    return this.#lost;
  }

  /** Waits for it. Errors: those of the work; `ABORTED` when the signal of this caller fires. */
  async result(signal: AbortSignal | undefined, what: string): Promise<Result> {
    this.#waiting++;
    try {
      return await unlessAborted(this.#result, signal, what);
    } finally {
      if (--this.#waiting === 0 && !this.#settled) {
        this.#lost = true;
        this.#calledOff.abort();
      }
    }
  }
}
