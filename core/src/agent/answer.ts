/** Does what a request asks for, and puts it as the command does that works by itself. */
import { isArchiveError, type ArchiveError, type ErrorCode } from '../contracts/errors.ts';
import type { Logger } from '../contracts/plugin.ts';
import { fetchExitCode, pushExitCode } from '../wal-command/exit-code.ts';
import type { FetchService } from './fetch-service.ts';
import type { AgentRequest, FetchRequest, PushRequest } from './protocol.ts';
import type { PushService } from './push-service.ts';
import type { Exchange, Reply } from './server.ts';

/** How the commands print. */
export interface Presenter {
  readonly json: (value: unknown) => string;
  readonly error: (error: ArchiveError, options: { readonly json: boolean }) => string;
  readonly logger: (request: Pick<AgentRequest, 'json' | 'logLevel'>, write: (text: string) => void) => Promise<Logger>;
}

export interface AnswerOptions extends Exchange {
  readonly presenter: Presenter;
  /** Of the agent. */
  readonly logger: Logger;
  /** Fires at the end of the agent. */
  readonly agent: AbortSignal;
}

interface Services {
  readonly push: Pick<PushService, 'push'>;
  readonly fetch: Pick<FetchService, 'fetch'>;
}

/**
 * Failures that a process which has just read the config, its secrets and its plugins may not have: what is in force changes when a key is
 * replaced or a package installed. Nor does it need the agent's folder, whose disk may be full.
 */
const OUTDATED: ReadonlySet<ErrorCode> = new Set([
  'CONFIG_INVALID',
  'CONFIG_NOT_FOUND',
  'SECRET_UNAVAILABLE',
  'PLUGIN_NOT_FOUND',
  'PLUGIN_INCOMPATIBLE',
  'PLUGIN_INVALID',
  'PLUGIN_OPTIONS',
  'CODEC_KEY',
  'CODEC_UNKNOWN',
  'STORAGE_DENIED',
  'RESTORE_FAILED',
]);

/**
 * A failure that is a fault of this program is declined, as is all that the end of the agent cuts short, or that a newer
 * process might do better: the command then does it itself. Errors: only those faults, after which the caller declines.
 */
export async function answer(request: AgentRequest, services: Services, options: AnswerOptions): Promise<Reply> {
  const { presenter, stderr, agent } = options;
  const signal = AbortSignal.any([options.signal, agent]);
  try {
    const within = { ...options, signal };
    return request.command === 'wal-push'
      ? await push(request, services, within)
      : await fetch(request, services, within);
  } catch (error) {
    if (signal.aborted) return { type: 'decline', reason: 'the agent ends' };
    if (!isArchiveError(error) || error.code === 'INTERNAL' || error.code === 'ABORTED') throw error;
    if (OUTDATED.has(error.code)) return { type: 'decline', reason: error.message, renew: true };
    options.logger.warn({ file: request.name, code: error.code }, `${request.command} failed: ${error.message}`);
    stderr(presenter.error(error, request));
    if (request.command === 'wal-fetch')
      return { type: 'end', exitCode: fetchExitCode(error, request.mode, false), stdout: '' };
    // The result of those that have the file comes first.
    const details = request.json && error.code === 'REPOSITORY_BEHIND' ? presenter.json(error.details) : '';
    return { type: 'end', exitCode: pushExitCode(error), stdout: details };
  }
}

async function push(request: PushRequest, services: Services, options: AnswerOptions): Promise<Reply> {
  const { presenter, signal, stderr } = options;
  const result = await services.push.push(request, { signal });
  if (result === undefined)
    return { type: 'decline', reason: 'the disk is about to fill, and the command decides what is let go' };
  const logger = await presenter.logger(request, stderr);
  logger.debug({ file: request.name, outcome: result.outcome }, 'archived');
  return { type: 'end', exitCode: 0, stdout: request.json ? presenter.json(result) : '' };
}

async function fetch(request: FetchRequest, services: Services, options: AnswerOptions): Promise<Reply> {
  const { presenter, signal, stderr } = options;
  const logger = await presenter.logger(request, stderr);
  const { result, file } = await services.fetch.fetch(request, { signal, logger });
  logger.debug({ file: request.name, ...result }, result.outcome);
  const stdout = request.json ? presenter.json(result) : '';
  if (result.outcome === 'missing') return { type: 'end', exitCode: 1, stdout };
  return { type: 'end', exitCode: 0, stdout, ...(file !== undefined && { file }) };
}
