/** The process that keeps an archive open for `wal-push` and `wal-fetch`. */
import { mkdirSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { openParts, type ArchiveParts } from '../archive-parts.ts';
import type { Config } from '../config/config.ts';
import type { LoadedConfig } from '../config/load.ts';
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { Logger } from '../contracts/plugin.ts';
import { pause } from '../receive/backoff.ts';
import { SpoolLock } from '../receive/spool-lock.ts';
import { withDeadline } from '../wal-command/deadline.ts';
import { DroppedSegments } from '../wal-command/dropped-segments.ts';
import { FetchService } from './fetch-service.ts';
import { notifySystemd } from './notify.ts';
import { agentKey, isOwnFolder, runtimeFolders, socketIn } from './place.ts';
import { PushService } from './push-service.ts';
import type { Presenter } from './answer.ts';
import { requestHandler, type Services } from './requests.ts';
import { AgentServer } from './server.ts';
import { SHELL_SUFFIX, ShellServer } from './shell-server.ts';
import { checkSocketFolder, runtimeFolder } from './socket-server.ts';
import { WarmArchive } from './warm-archive.ts';

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

interface OpenServices extends Services {
  readonly archive: ArchiveParts;
}

/** Milliseconds for a first look at the repositories, which opens the connections. */
const FIRST_LOOK = 10_000;
/** Milliseconds between two looks at the socket, which something may clean away. */
const WATCH = 5000;

/** Serves until the signal fires. Errors: `AGENT_RUNNING`, `AGENT_SOCKET`, those of `openParts`. */
export async function runAgent(options: AgentOptions): Promise<void> {
  const { loaded, cluster, uid, env, logger, signal } = options;
  const given = loaded.path === undefined ? '' : resolve(loaded.path);
  // A link to it may be switched over at any time.
  const config = (): string => (given === '' ? '' : realpathSync(given));
  const key = agentKey(config(), loaded.config.cluster);
  const runtime = runtimeOf(options);
  const work = workFolder(loaded.config, key, { runtime, uid });
  const lock = lockOf(work);
  let warm: WarmArchive<OpenServices> | undefined;
  const servers: (AgentServer | ShellServer)[] = [];
  try {
    for (const name of readdirSync(work)) if (name.startsWith('run.')) rmSync(join(work, name), { recursive: true });
    let generations = 0;
    const open = async (): Promise<OpenServices> =>
      openServices(await options.load(), { ...options, folder: join(work, `run.${++generations}`) });
    const kept = new WarmArchive({ config: given || undefined, open, logger });
    warm = kept;
    process.on('SIGHUP', () => {
      logger.info({}, 'the config and what it names are read again');
      kept.renew();
    });
    // A config that is wrong is told at once, a storage that is away need not be waited for.
    await kept.use(() => Promise.resolve());
    const looking = kept
      .use((services) => lookOnce(services, options))
      .catch((error: unknown) => {
        logger.warn({ error }, 'the first look at the repositories failed');
      });
    const onTrouble = (error: unknown): void => logger.warn({ error }, 'a connection to the agent was in trouble');
    const handle = requestHandler({ ...options, config, warm: kept });
    servers.push(new AgentServer(handle, onTrouble), new ShellServer(handle, onTrouble));
    // A generated restore_command always names the cluster, other commands do when they have to.
    const keys = [config(), given].flatMap((path) =>
      [loaded.config.cluster, cluster].map((name) => agentKey(path, name)),
    );
    const found = runtime === undefined ? [] : keys.map((each) => socketIn(runtime, each));
    const socket = loaded.config.agent.socket ?? found[0] ?? '';
    checkSocketFolder(socket, uid);
    for (const server of servers) {
      const suffix = server instanceof ShellServer ? SHELL_SUFFIX : '';
      await server.listen(socket + suffix);
      for (const place of new Set(found)) if (place !== socket) await server.link(socket + suffix, place + suffix);
    }
    logger.info({ socket }, 'the agent listens');
    await notifySystemd(['READY=1', `STATUS=listens on ${socket}`], env, logger);
    for (; !signal.aborted; await pause(WATCH, signal))
      if (!servers.every(({ isFound }) => isFound))
        throw new ArchiveError('AGENT_SOCKET', `the socket ${socket} was removed or replaced`, {
          hint: 'Start the agent again; if it happens again, find out what cleans its folder.',
        });
    await Promise.all(servers.map((server) => server.close()));
    await looking;
    await notifySystemd(['STOPPING=1'], env, logger);
  } finally {
    await Promise.all(servers.map((server) => server.close()));
    await warm?.close();
    lock.release();
  }
}

/** Where commands look for the socket. Without such a folder only those find it that are told where it is. */
function runtimeOf({ loaded, uid, logger }: AgentOptions): string | undefined {
  try {
    return runtimeFolder(runtimeFolders(uid), uid);
  } catch (error) {
    if (loaded.config.agent.socket === undefined) throw error;
    logger.warn({ error }, 'commands find the agent only by --agent-socket or PGARK_AGENT_SOCKET');
    return undefined;
  }
}

async function openServices(
  loaded: LoadedConfig,
  { logger, signal, folder }: AgentOptions & { readonly folder: string },
): Promise<OpenServices> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const { config } = loaded;
  const archive = await openParts(loaded, { logger, signal, retry: { deadline: 0 } }); // the commands wait in their own way
  const { repositories, writable } = archive;
  const fetch = new FetchService({ repositories, config, folder, logger });
  const push = new PushService({
    repositories: writable,
    concurrency: config.agent.concurrency,
    policy: config.push,
    dropped: new DroppedSegments(config.receive.spool, config.cluster, config.push),
    logger,
    signal,
  });
  return {
    archive,
    cluster: config.cluster,
    push,
    fetch,
    close: async () => {
      fetch.close();
      await push.close();
      rmSync(folder, { recursive: true, force: true });
      await archive.close();
    },
  };
}

/** A repository that is away now may be there at the next request. */
async function lookOnce({ archive }: OpenServices, { logger, signal }: AgentOptions): Promise<void> {
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

/** A folder of its own for files that are fetched ahead. Errors: `AGENT_SOCKET`. */
function workFolder(
  { agent, receive }: Config,
  key: string,
  { runtime, uid }: { readonly runtime: string | undefined; readonly uid: number },
): string {
  const candidates =
    agent.folder === undefined
      ? [join(receive.spool, '.agent'), ...(runtime === undefined ? [] : [runtime])]
      : [agent.folder];
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
