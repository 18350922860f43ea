/** How long a `restore_command` tries, before it tells PostgreSQL that it has failed. */
import { isArchiveError, type ErrorCode } from '../contracts/errors.ts';
import type { Logger } from '../contracts/plugin.ts';
import { Backoff, pause } from '../receive/backoff.ts';
import type { RecoveryMode } from './recovery-mode.ts';

/** Failures that no waiting heals. A damaged object is read again: what was damaged may be the transfer. */
const PERMANENT: ReadonlySet<ErrorCode> = new Set([
  'USAGE',
  'ABORTED',
  'INTERNAL',
  'CONFIG_INVALID',
  'CONFIG_NOT_FOUND',
  'CODEC_UNKNOWN',
  'CODEC_KEY',
  'PLUGIN_NOT_FOUND',
  'PLUGIN_INCOMPATIBLE',
  'PLUGIN_INVALID',
  'PLUGIN_OPTIONS',
  'WAL_CONFLICT',
  'WAL_INVALID',
  'SYSTEM_MISMATCH',
  'REPOSITORY_FORMAT',
  'WAL_SERVER_DENIED',
]);

export interface TryAgainOptions {
  readonly mode: RecoveryMode;
  /** Milliseconds in which a failure is tried again; a standby does not: PostgreSQL asks again by itself, and may stream meanwhile. */
  readonly retry: number;
  readonly logger: Logger;
  readonly signal?: AbortSignal;
}

/** Does `attempt` until it succeeds, the time is over, or it fails in a way that no waiting heals. Errors: those of the last attempt. */
export async function tryAgain<Result>(options: TryAgainOptions, attempt: () => Promise<Result>): Promise<Result> {
  const backoff = new Backoff({ first: 250, most: 10_000 });
  const deadline = performance.now() + (options.mode === 'standby' ? 0 : options.retry);
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      const delay = backoff.next();
      const permanent = !isArchiveError(error) || PERMANENT.has(error.code);
      if (permanent || performance.now() + delay > deadline) throw error;
      options.logger.warn({ code: error.code }, `${error.message}; trying again in ${Math.ceil(delay)} ms`);
      await pause(delay, options.signal ?? new AbortController().signal);
    }
  }
}
