/** Reads the command line of `wal-push` and `wal-fetch` without the parser of the full program. Loads nothing. */
import { parseTimelineNumber } from '../wal-command/timeline-number.ts';

/** What the command line says, as far as an agent has to know it. */
export interface Call {
  readonly command: 'wal-push' | 'wal-fetch';
  /** `%p` and `%f`. */
  readonly path: string;
  readonly name: string;
  readonly config: string | undefined;
  readonly cluster: string | undefined;
  readonly json: boolean;
  readonly logLevel: string | undefined;
  readonly systemId: string | undefined;
  readonly until: string | undefined;
  readonly timeline: number | undefined;
  readonly repositories: readonly string[];
  /** Milliseconds. */
  readonly timeout: number;
  /** The socket of the agent, when it is named. */
  readonly socket: string | undefined;
}

/** Options of both commands, and those of one, that take a value. */
const COMMON = ['--config', '--cluster', '--log-level', '--system-id', '--agent-socket'];
const OWN = { 'wal-push': ['--timeout'], 'wal-fetch': ['--until', '--timeline', '--repository'] } as const;
const LEVELS = ['debug', 'info', 'warn', 'error'];
const DEFAULT_TIMEOUT = '60';

/** Undefined for everything that is not plainly a request for an agent: the full program says then what is wrong with it. */
export function parseCall(args: readonly string[]): Call | undefined {
  const command = args.find((arg) => arg === 'wal-push' || arg === 'wal-fetch');
  if (command === undefined) return undefined;
  const known = [...COMMON, ...OWN[command]];
  const values = new Map<string, string[]>();
  const plain: string[] = [];
  let json = false;
  for (let at = 0; at < args.length; at++) {
    const arg = args[at] ?? '';
    if (!arg.startsWith('-')) {
      plain.push(arg);
      continue;
    }
    if (arg === '--json') {
      json = true;
      continue;
    }
    const [, option = arg, given] = /^(--[a-z-]+)=(.*)$/s.exec(arg) ?? [];
    const value = given ?? args[++at];
    if (!known.includes(option) || value === undefined) return undefined;
    values.set(option, [...(values.get(option) ?? []), value]);
  }
  const [first, one, two, ...more] = plain;
  if (first !== command || one === undefined || two === undefined || more.length > 0) return undefined;
  const last = (option: string): string | undefined => values.get(option)?.at(-1);
  const timeout = last('--timeout') ?? DEFAULT_TIMEOUT;
  const logLevel = last('--log-level');
  const followed = last('--timeline');
  const timeline = followed === undefined ? undefined : parseTimelineNumber(followed);
  if (followed !== undefined && timeline === undefined) return undefined;
  if (!/^\d+(?:\.\d+)?$/.test(timeout) || (logLevel !== undefined && !LEVELS.includes(logLevel))) return undefined;
  const [path, name] = command === 'wal-push' ? [one, two] : [two, one];
  return {
    command,
    path,
    name,
    config: last('--config'),
    cluster: last('--cluster'),
    json,
    logLevel,
    systemId: last('--system-id'),
    until: last('--until'),
    timeline,
    repositories: values.get('--repository') ?? [],
    timeout: Number(timeout) * 1000,
    socket: last('--agent-socket'),
  };
}
