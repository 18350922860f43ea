/** Says which requests the agent serves. */
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Logger } from '../contracts/plugin.ts';
import { answer, type Presenter } from './answer.ts';
import type { FetchService } from './fetch-service.ts';
import { identityOf, type AgentRequest } from './protocol.ts';
import type { PushService } from './push-service.ts';
import type { Handler, Reply } from './server.ts';
import type { Openable, WarmArchive } from './warm-archive.ts';

/** What serves requests of one state of the config. */
export interface Services extends Openable {
  /** The name of the cluster in the config. */
  readonly cluster: string;
  readonly push: Pick<PushService, 'push'>;
  readonly fetch: Pick<FetchService, 'fetch'>;
}

export interface RequestHandlerOptions {
  /** Path of the config file as it is now, without symbolic links; empty when there is none. */
  readonly config: () => string;
  /** As given by `--cluster` or `PGARK_CLUSTER`; empty without. */
  readonly cluster: string;
  readonly warm: Pick<WarmArchive<Services>, 'use' | 'renew'>;
  readonly presenter: Presenter;
  readonly logger: Logger;
  /** Fires at the end of the agent. */
  readonly signal: AbortSignal;
}

const declined = (reason: string): Reply => ({ type: 'decline', reason });

/** Serves what a command with the same config would do with the same files, and declines all else. */
export function requestHandler(options: RequestHandlerOptions): Handler {
  const { config, cluster, warm, presenter, logger, signal: agent } = options;
  return async (request, exchange) => {
    if (request.config !== config()) return declined('the agent works with another config');
    if ((await identityAt(request)) !== request.identity)
      return declined('the agent sees other files than the command');
    const of = { command: request.command, file: request.name };
    logger.debug(of, 'a command asks');
    try {
      const reply = await warm.use(async (services): Promise<Reply> => {
        if (request.cluster !== cluster && request.cluster !== services.cluster)
          return declined('the agent works for another cluster');
        return answer(request, services, { presenter, logger, agent, ...exchange });
      });
      if (reply.type === 'decline' && reply.renew === true) warm.renew();
      logger.debug({ ...of, ...(reply.type === 'end' && { exitCode: reply.exitCode }) }, 'it is answered');
      return reply;
    } catch (error) {
      logger.error({ ...of, error }, 'a request could not be served, and the command does it itself');
      return declined(error instanceof Error ? error.message : String(error));
    }
  };
}

async function identityAt(request: AgentRequest): Promise<string | undefined> {
  const { command, cwd, path } = request;
  try {
    return identityOf(await stat(command === 'wal-push' ? resolve(cwd, path) : cwd, { bigint: true }));
  } catch {
    return undefined; // it is not there for the agent, whatever the reason
  }
}
