import type { Logger, Storage } from '../contracts/index.ts';
import { withLog } from './log.ts';
import { withPrefix } from './prefix.ts';
import { readOnly } from './read-only.ts';
import { withRetry, type RetryOptions } from './retry.ts';

export interface StackOptions {
  readonly logger: Logger;
  /** Keys are below it; default none. */
  readonly prefix?: string;
  /** Default false. */
  readonly readOnly?: boolean;
  readonly retry?: RetryOptions;
  /** Where faults come in: between the back end and the retries, and above all of it. */
  readonly wrap?: {
    readonly inner?: (storage: Storage) => Storage;
    readonly outer?: (storage: Storage) => Storage;
  };
}

/** The storage that the engine works with: a plugin's back end, and around it what every back end needs. */
export function storageStack(backEnd: Storage, options: StackOptions): Storage {
  const { logger, prefix, retry, wrap } = options;
  let storage = backEnd;
  // Next to the back end, so that what it injects is logged and retried as the back end's own.
  if (wrap?.inner !== undefined) storage = wrap.inner(storage);
  // Below the retries, so that every attempt has its line.
  storage = withLog(storage, logger);
  // Above the log and below what only changes or refuses arguments.
  storage = withRetry(storage, {
    onRetry: ({ what, attempt, delay, error }) =>
      logger.warn({ what, attempt, delay, code: error.code, error }, `storage call failed, trying again: ${what}`),
    ...retry,
  });
  if (prefix !== undefined) storage = withPrefix(storage, prefix);
  // Outermost of ours: what it refuses is seen by nobody below.
  if (options.readOnly === true) storage = readOnly(storage);
  return wrap?.outer === undefined ? storage : wrap.outer(storage);
}
