/** Waiting between attempts. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ArchiveError } from '../contracts/errors.ts';

export interface BackoffOptions {
  /** Milliseconds before the second attempt. */
  readonly first: number;
  /** The most milliseconds between two attempts. */
  readonly most: number;
  /** A number from 0 up to, not including, 1. Default `Math.random`. */
  readonly random?: () => number;
}

/** Delays that double up to a limit, each between half and all of its nominal length, so that many do not retry at once. */
export class Backoff {
  readonly #options: BackoffOptions;
  #next: number;

  constructor(options: BackoffOptions) {
    this.#options = options;
    this.#next = options.first;
  }

  /** Milliseconds to wait before the next attempt. */
  next(): number {
    const nominal = this.#next;
    this.#next = Math.min(nominal * 2, this.#options.most);
    return nominal * (0.5 + (this.#options.random ?? Math.random)() / 2);
  }

  reset(): void {
    this.#next = this.#options.first;
  }
}

/** Waits; a fired signal ends the wait at once, without an error. */
export async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(milliseconds, undefined, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** Waits for some work, but not longer than a time in milliseconds: what it does after that nobody looks at. */
export async function within(milliseconds: number, work: Promise<void>): Promise<void> {
  const end = new AbortController();
  await Promise.race([work, pause(milliseconds, end.signal)]);
  end.abort();
}

/** The result of some work, unless the signal fires first: then `ABORTED`, with a message. */
export function unlessAborted<Value>(signal: AbortSignal, work: Promise<Value>, message: string): Promise<Value> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      reject(new ArchiveError('ABORTED', message));
    };
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
    void work.then(resolve, reject).finally(() => {
      signal.removeEventListener('abort', abort);
    });
  });
}
