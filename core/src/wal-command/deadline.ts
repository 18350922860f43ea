import { ArchiveError } from '../contracts/errors.ts';
import { LONGEST_TIMER } from './longest-timer.ts';

/**
 * Runs `work` with a signal that fires when `signal` does or after `milliseconds`, 24 days at most; it does not wait for work that ignores
 * the signal. Errors: those of the work; `STORAGE_UNAVAILABLE` after the time, `ABORTED` after the signal.
 */
export async function withDeadline<Result>(
  what: string,
  milliseconds: number,
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const timeout = new AbortController();
  const timer = setTimeout(() => timeout.abort(), Math.min(milliseconds, LONGEST_TIMER));
  const either = signal === undefined ? timeout.signal : AbortSignal.any([signal, timeout.signal]);
  const reason = (): ArchiveError =>
    signal?.aborted === true
      ? new ArchiveError('ABORTED', `${what} was cancelled`, { cause: signal.reason })
      : new ArchiveError('STORAGE_UNAVAILABLE', `${what} did not finish within ${milliseconds / 1000} s`);
  let stop: (() => void) | undefined;
  try {
    if (either.aborted) throw reason();
    const stopped = new Promise<never>((_, reject) => {
      stop = (): void => reject(reason());
      either.addEventListener('abort', stop);
    });
    return await Promise.race([work(either), stopped]);
  } finally {
    clearTimeout(timer);
    if (stop !== undefined) either.removeEventListener('abort', stop);
  }
}
