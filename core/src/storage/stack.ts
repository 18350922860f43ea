import type { Logger, Storage } from '../contracts/index.ts';
import { withLimit } from './limit.ts';
import { withLock } from './lock.ts';
import { logCalls, withObserver, type StorageCall } from './observe.ts';
import { withPrefix } from './prefix.ts';
import { readOnly } from './read-only.ts';
import { withRetry, type RetryOptions } from './retry.ts';
import { withThrottle } from './throttle.ts';
import { withWatchdog } from './watchdog.ts';

export interface StackOptions {
  readonly logger: Logger;
  /** Keys are below it; default none. */
  readonly prefix?: string;
  /** Default false. */
  readonly readOnly?: boolean;
  /** Milliseconds for which each new object is locked; default: not at all. */
  readonly lock?: number;
  readonly retry?: RetryOptions;
  /** Milliseconds without progress after which a call fails and is tried again; default {@link STALL_TIMEOUT}. */
  readonly stallTimeout?: number;
  /** Calls at once; without a limit by default. */
  readonly maxCalls?: number;
  /** Bytes per second of all calls together; without a limit by default. */
  readonly maxUploadRate?: number;
  readonly maxDownloadRate?: number;
  /** Told of every attempt of every call, for metrics. */
  readonly onCall?: (call: StorageCall) => void;
  /** Where faults come in: between the back end and the retries, and above all of it. */
  readonly wrap?: {
    readonly inner?: (storage: Storage) => Storage;
    readonly outer?: (storage: Storage) => Storage;
  };
}

/** A storage may take long to make a large object durable; a peer that is gone never comes back. */
export const STALL_TIMEOUT = 120_000;

/** The storage that the engine works with: a plugin's back end, and around it what every back end needs. */
export function storageStack(backEnd: Storage, options: StackOptions): Storage {
  const { logger, onCall, prefix, maxCalls, maxUploadRate, maxDownloadRate, retry, wrap } = options;
  let storage = backEnd;
  // Next to the back end, so that what it injects is watched, told and retried as the back end's own.
  if (wrap?.inner !== undefined) storage = wrap.inner(storage);
  // Below all that waits by itself, so that only the back end's own time counts.
  storage = withWatchdog(storage, { stall: options.stallTimeout ?? STALL_TIMEOUT });
  // Below the retries, so that every attempt is told, and below the waits, so that their time is not the storage's.
  storage = withObserver(storage, logCalls(logger));
  if (onCall !== undefined) storage = withObserver(storage, onCall);
  // Below the retries, so that who pauses between two attempts holds no place in the line.
  if (maxCalls !== undefined) storage = withLimit(storage, maxCalls);
  if (maxUploadRate !== undefined || maxDownloadRate !== undefined) {
    storage = withThrottle(storage, {
      ...(maxUploadRate !== undefined && { upload: maxUploadRate }),
      ...(maxDownloadRate !== undefined && { download: maxDownloadRate }),
    });
  }
  // Above what fails in ways that may pass, and below what only changes or refuses arguments.
  storage = withRetry(storage, {
    onRetry: ({ what, attempt, delay, error }) =>
      logger.warn({ what, attempt, delay, code: error.code, error }, `storage call failed, trying again: ${what}`),
    ...retry,
  });
  if (prefix !== undefined) storage = withPrefix(storage, prefix);
  // Above the retries, so that the lock of an object is the same on every attempt.
  if (options.lock !== undefined) storage = withLock(storage, { lock: options.lock });
  // Outermost of ours: what it refuses is seen by nobody below.
  if (options.readOnly === true) storage = readOnly(storage);
  return wrap?.outer === undefined ? storage : wrap.outer(storage);
}
