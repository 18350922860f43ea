/** The process that keeps an archive open for `wal-push` and `wal-fetch`. */
import { mkdirSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { openArchive, type Archive } from '../archive.ts';
import type { Config } from '../config/config.ts';
import type { LoadedConfig } from '../config/load.ts';
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { Logger } from '../contracts/plugin.ts';
import { pause } from '../receive/backoff.ts';
import { SpoolLock } from '../receive/spool-lock.ts';
import { withDeadline } from '../wal-command/deadline.ts';
import { FetchService } from './fetch-service.ts';
import { notifySystemd } from './notify.ts';
import { agentKey, isOwnFolder, runtimeFolders, socketIn } from './place.ts';
import { identityOf, type AgentRequest } from './protocol.ts';
import { PushService } from './push-service.ts';
import { answer, type Presenter } from './answer.ts';
import { AgentServer, checkSocketFolder, runtimeFolder, type Exchange, type Reply } from './server.ts';
import { WarmArchive, type Openable } from './warm-archive.ts';

export interface AgentOptions {
  readonly loaded: LoadedConfig;
  /** As given by `--cluster` or `PGARK_CLUSTER`; empty without. */
  readonly cluster: string;
  /** Reads the config again. */
  readonly load: () => Promise<LoadedConfig>;
  /** How the commands print. */
  readonly presenter: Presenter;
  readonly env: NodeJS.ProcessEnv;
  readonly uid: number;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** What serves requests of one state of the config. */
export interface Services extends Openable {
  readonly archive: Archive;
  readonly push: PushService;
  readonly fetch: FetchService;
}

/** Milliseconds for a first look at the repositories, which opens the connections. */
const FIRST_LOOK = 10_000;
/** Milliseconds between two looks at the socket, which something may clean away. */
const WATCH = 5000;

/** Serves until the signal fires. Errors: `AGENT_RUNNING`, `AGENT_SOCKET`, those of `openArchive`. */
export async function runAgent(options: AgentOptions): Promise<void> {
  const { loaded, cluster, uid, env, logger, signal } = options;
  const config = loaded.path === undefined ? '' : realpathSync(loaded.path);
  // A generated restore_command always names the cluster, other commands do when they have to.
  const names = new Set([cluster, loaded.config.cluster]);
  const key = agentKey(config, loaded.config.cluster);
  const runtime = runtimeFolder(runtimeFolders(uid), uid);
  const work = workFolder(loaded.config, key, { runtime, uid });
  const lock = lockOf(work);
  let warm: WarmArchive<Services> | undefined;
  let server: AgentServer | undefined;
  try {
    for (const name of readdirSync(work)) if (name.startsWith('run.')) rmSync(join(work, name), { recursive: true });
    let generations = 0;
    let first: LoadedConfig | undefined = loaded;
    const open = async (): Promise<Services> => {
      const now = first ?? (await options.load());
      first = undefined;
      return openServices(now, { ...options, folder: join(work, `run.${++generations}`) });
    };
    const kept = new WarmArchive({ config: config || undefined, open, logger });
    warm = kept;
    const use = kept.use.bind(kept);
    process.on('SIGHUP', () => {
      logger.info({}, 'the config and what it names are read again');
      kept.renew();
    });
    // A config that is wrong is told at once, a storage that is away need not be waited for.
    await use(() => Promise.resolve());
    const looking = use((services) => lookOnce(services, options)).catch((error: unknown) => {
      logger.warn({ error }, 'the first look at the repositories failed');
    });
    const handle = async (request: AgentRequest, exchange: Exchange): Promise<Reply> => {
      if (request.config !== config || !names.has(request.cluster))
        return { type: 'decline', reason: 'the agent works with another config' };
      if ((await identityAt(request)) !== request.identity)
        return { type: 'decline', reason: 'the agent sees other files than the command' };
      const of = { command: request.command, file: request.name };
      logger.debug(of, 'a command asks');
      try {
        const reply = await use((services) => answer(request, services, { ...options, ...exchange, agent: signal }));
        if (reply.type === 'decline' && reply.renew === true) kept.renew();
        logger.debug({ ...of, ...(reply.type === 'end' && { exitCode: reply.exitCode }) }, 'it is answered');
        return reply;
      } catch (error) {
        logger.error({ error }, 'a request could not be served, and the command does it itself');
        return { type: 'decline', reason: error instanceof Error ? error.message : String(error) };
      }
    };
    server = new AgentServer(handle);
    const found = [...names].map((name) => socketIn(runtime, agentKey(config, name)));
    const { socket = socketIn(runtime, key) } = loaded.config.agent;
    checkSocketFolder(socket, uid);
    await server.listen(socket);
    for (const place of found) if (place !== socket) await server.link(socket, place);
    logger.info({ socket }, 'the agent listens');
    await notifySystemd(['READY=1', `STATUS=listens on ${socket}`], env, logger);
    for (; !signal.aborted; await pause(WATCH, signal))
      if (!server.isFound)
        throw new ArchiveError('AGENT_SOCKET', `the socket ${socket} was removed or replaced`, {
          hint: 'Start the agent again; if it happens again, find out what cleans its folder.',
        });
    await server.close();
    await looking;
    await notifySystemd(['STOPPING=1'], env, logger);
  } finally {
    await server?.close();
    await warm?.close();
    lock.release();
  }
}

async function openServices(
  loaded: LoadedConfig,
  { logger, signal, folder }: AgentOptions & { readonly folder: string },
): Promise<Services> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const { config } = loaded;
  const archive = await openArchive(loaded, { logger, signal, retry: { deadline: 0 } }); // the commands wait in their own way
  const { repositories, writable } = archive;
  const fetch = new FetchService({ repositories, config, folder, logger });
  return {
    archive,
    push: new PushService({ repositories: writable, concurrency: config.agent.concurrency, logger, signal }),
    fetch,
    close: async () => {
      fetch.close();
      rmSync(folder, { recursive: true, force: true });
      await archive.close();
    },
  };
}

/** A repository that is away now may be there at the next request. */
async function lookOnce({ archive }: Services, { logger, signal }: AgentOptions): Promise<void> {
  await Promise.all(
    archive.repositories.map(async (repository) => {
      try {
        await withDeadline(`opening ${repository.name}`, FIRST_LOOK, signal, (either) =>
          repository.open({ signal: either }),
        );
      } catch (error) {
        logger.warn({ repository: repository.name, error }, 'a repository does not answer as it should');
      }
    }),
  );
}

async function identityAt(request: AgentRequest): Promise<string | undefined> {
  const { command, cwd, path } = request;
  try {
    return identityOf(await stat(command === 'wal-push' ? resolve(cwd, path) : cwd, { bigint: true }));
  } catch {
    return undefined; // it is not there for the agent, whatever the reason
  }
}

/** A folder of its own for files that are fetched ahead. Errors: `AGENT_SOCKET`. */
function workFolder(
  { agent, receive }: Config,
  key: string,
  { runtime, uid }: { readonly runtime: string; readonly uid: number },
): string {
  const candidates = agent.folder === undefined ? [join(receive.spool, '.agent'), runtime] : [agent.folder];
  let reason: unknown;
  for (const candidate of candidates) {
    const folder = join(candidate, key);
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      if (isOwnFolder(folder, uid)) return folder;
      reason = 'others may write into it';
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error);
    }
  }
  throw new ArchiveError('AGENT_SOCKET', `cannot use the folder ${candidates.join(' or ')}: ${String(reason)}`, {
    hint: 'Name a folder with "agent.folder" that the user of the agent may write into.',
  });
}

function lockOf(folder: string): SpoolLock {
  try {
    return SpoolLock.acquire(folder);
  } catch (error) {
    if (!isArchiveError(error, 'SPOOL_LOCKED')) throw error;
    throw new ArchiveError('AGENT_RUNNING', `process ${String(error.details['pid'])} is the agent of this config`, {
      cause: error,
      details: error.details,
    });
  }
}
