/**
 * `wal-push` and `wal-fetch` through an agent. PostgreSQL runs one for each segment, so that this file and what it imports load
 * built-in modules alone, and few of them. Whatever is not as it should be, the full program does the work.
 */
import { constants, copyFileSync, existsSync, realpathSync, renameSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { searched } from '../config/search.ts';
import { failedFetchCode, HIGHEST_PUSH_CODE } from '../wal-command/exit-code.ts';
import { dataDirectories, recoveryMode, type RecoveryMode } from '../wal-command/recovery-mode.ts';
import { takeTurn, type Turn } from '../wal-command/turn.ts';
import { ask, type Answer, type AskOptions } from './ask.ts';
import { parseCall, type Call } from './call.ts';
import { agentKey, findSockets, ownSocket } from './place.ts';
import { identityOf, PROTOCOL, type AgentRequest } from './protocol.ts';

export interface ClientOptions {
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  readonly uid: number;
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** Where sockets are looked for. Default: see `runtimeFolders`. */
  readonly folders?: readonly string[];
  readonly patience?: AskOptions['patience'];
}

/** Milliseconds that the agent gets beyond the time of the command, to say that the time is over. */
const GRACE = 5000;

/**
 * Lets an agent do what the command line asks for. Gives the exit code; undefined when the full program has to do it: there is no
 * agent, it serves another config, it died, or it is something else that is asked for. Never throws.
 */
export async function throughAgent(args: readonly string[], options: ClientOptions): Promise<number | undefined> {
  const call = parseCall(args);
  if (call === undefined) return undefined;
  let turn: Turn | undefined;
  let isLost = false;
  try {
    const asked = requestOf(call, options);
    if (asked === undefined) return undefined;
    if (call.command === 'wal-fetch') turn = takeTurn(resolve(options.cwd, call.path));
    for (const socket of asked.sockets) {
      const answer = await ask(socket, asked.request, {
        onStderr: options.stderr,
        ...(options.patience && { patience: options.patience }),
        ...(call.command === 'wal-push' && { limit: call.timeout + GRACE }),
      });
      const code = answer.type === 'end' ? use(answer, asked.request, { ...options, turn }) : undefined;
      if (code !== undefined) return code;
    }
  } catch {
    // the full program meets the same trouble, and has words for it
  } finally {
    isLost = turn?.isLost() ?? false;
    turn?.end();
  }
  // The full program would take the place back from the later command.
  return isLost ? failedFetchCode(recoveryMode(dataDirectories(call.path, options.cwd))) : undefined;
}

interface Asked {
  readonly sockets: readonly string[];
  readonly request: AgentRequest;
}

function requestOf(call: Call, { env, cwd, uid, folders }: ClientOptions): Asked | undefined {
  const named = call.config ?? (env['PGARK_CONFIG'] || undefined);
  const file = named === undefined ? searched(cwd).find((path) => existsSync(path)) : resolve(cwd, named);
  const config = file === undefined ? '' : realpathSync(file);
  const cluster = call.cluster ?? env['PGARK_CLUSTER'] ?? '';
  const given = call.socket ?? (env['PGARK_AGENT_SOCKET'] || undefined);
  const sockets =
    given === undefined
      ? // Under its own path too: a link to a config may have been switched over since the agent began.
        [...new Set([config, file ?? ''])].flatMap((path) =>
          findSockets(agentKey(path, cluster), { uid, ...(folders && { folders }) }),
        )
      : [ownSocket(resolve(cwd, given), uid)].filter((socket) => socket !== undefined);
  if (sockets.length === 0) return undefined;
  const { command, path, name, json, timeout, repositories, systemId, until, timeline, logLevel } = call;
  const common = {
    protocol: PROTOCOL,
    config,
    cluster,
    cwd,
    path,
    name,
    json,
    ...(systemId !== undefined && { systemId }),
    ...(logLevel !== undefined && { logLevel }),
  } as const;
  const identity = (of: string): string => identityOf(statSync(of, { bigint: true }));
  if (command === 'wal-push')
    return { sockets, request: { ...common, command, timeout, identity: identity(resolve(cwd, path)) } };
  const mode = recoveryMode(dataDirectories(path, cwd));
  const own = {
    mode,
    repositories,
    ...(until !== undefined && { until }),
    ...(timeline !== undefined && { timeline }),
  };
  return { sockets, request: { ...common, command, ...own, identity: identity(cwd) } };
}

type End = Extract<Answer, { readonly type: 'end' }>;

interface Use extends ClientOptions {
  /** Of a fetch. */
  readonly turn: Turn | undefined;
}

/** The exit code, once a fetched file is in its place; undefined for an answer that cannot be. */
function use(answer: End, request: AgentRequest, { stdout, turn }: Use): number | undefined {
  const { exitCode, file } = answer;
  try {
    if (request.command === 'wal-push') {
      if (exitCode < 0 || exitCode > HIGHEST_PUSH_CODE) return undefined;
    } else if (file !== undefined && exitCode === 0 && turn !== undefined) {
      takeOver(file, turn);
    } else if (exitCode !== 1 && exitCode !== failedFetchCode(request.mode)) return undefined;
    if (answer.stdout !== '') stdout(answer.stdout);
    return exitCode;
  } finally {
    answer.close();
  }
}

/**
 * Gives a verified file of the agent the name that PostgreSQL reads. It is this process that does so, and not the agent: a request that
 * PostgreSQL has given up must not change a file that belongs to a later one.
 */
export function takeOver(file: string, turn: Turn): void {
  const { size } = statSync(file);
  const temporary = turn.temporary();
  try {
    renameSync(file, temporary);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error;
    copyFileSync(file, temporary, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL);
    if (statSync(temporary).size !== size) throw new Error(`${temporary} is not whole`, { cause: error });
  }
  turn.put(temporary);
}

/** As {@link throughAgent}, for this process: its signals end it with the codes that PostgreSQL expects. */
export async function clientMain(argv: readonly string[]): Promise<number | undefined> {
  const uid = process.getuid?.();
  const args = argv.slice(2);
  const fetch = args.includes('wal-fetch');
  if (uid === undefined || (!fetch && !args.includes('wal-push'))) return undefined;
  const mode = (): RecoveryMode => recoveryMode(dataDirectories(undefined, process.cwd()));
  const failure = (): number => (fetch ? failedFetchCode(mode()) : 1);
  const handlers = {
    SIGTERM: () => process.exit(fetch ? 143 : 1),
    SIGINT: () => process.exit(failure()),
    ...(fetch ? {} : { SIGHUP: () => process.exit(1), SIGQUIT: () => process.exit(1) }),
    // Node's own exit code for a fault is 1, which PostgreSQL would take for an answer of the archive.
    uncaughtException: () => process.exit(failure()),
  };
  for (const [name, handler] of Object.entries(handlers)) process.on(name, handler);
  try {
    return await throughAgent(args, {
      env: process.env,
      cwd: process.cwd(),
      uid,
      stdout: (text) => void process.stdout.write(text),
      stderr: (text) => void process.stderr.write(text),
    });
  } finally {
    for (const [name, handler] of Object.entries(handlers)) process.off(name, handler);
  }
}
