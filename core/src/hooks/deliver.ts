import { ArchiveError } from '../contracts/errors.ts';
import type { ArchiveEvent, Hook } from '../contracts/hook.ts';

export interface DeliverOptions {
  /** Milliseconds for one try. */
  readonly timeout: number;
  /** Ends it. */
  readonly signal: AbortSignal;
}

/**
 * Tells a hook of an event, once. A hook that ignores its signal does not hold this up: the time holds whatever it does.
 *
 * Errors: what the hook throws; `HOOK_FAILED` when the time is over or the signal fires.
 */
export async function deliver(hook: Hook, event: ArchiveEvent, { timeout, signal }: DeliverOptions): Promise<void> {
  const controller = new AbortController();
  let end: ((error: ArchiveError) => void) | undefined;
  const ended = new Promise<never>((_, reject) => {
    end = (error) => {
      controller.abort(error);
      reject(error);
    };
  });
  ended.catch(() => undefined); // the race is over
  const timer = setTimeout(
    () => end?.(new ArchiveError('HOOK_FAILED', `no answer within ${timeout / 1000} s`)),
    timeout,
  );
  const stop = (): void => end?.(new ArchiveError('HOOK_FAILED', 'the delivery was given up, as the process ends'));
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  try {
    await Promise.race([ended, call(hook, event, controller.signal)]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
  }
}

/** A hook may also throw before it gives a promise. */
async function call(hook: Hook, event: ArchiveEvent, signal: AbortSignal): Promise<void> {
  if (signal.aborted) throw signal.reason;
  await hook.handle(event, { signal });
}
