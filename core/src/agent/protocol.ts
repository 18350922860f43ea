/**
 * What client and agent say to each other over the socket: one request per connection, each message a line of JSON. Loads nothing, so
 * that the client starts fast.
 */
import type { RecoveryMode } from '../wal-command/recovery-mode.ts';

/** A client and an agent of different numbers do not talk: the client does the work itself. */
export const PROTOCOL = 2;

/** Characters that a message may have. */
export const LONGEST_MESSAGE = 65_536;

interface CommonRequest {
  readonly protocol: typeof PROTOCOL;
  /** Path of the config file, without symbolic links; empty when there is none. */
  readonly config: string;
  /** As given by `--cluster` or `PGARK_CLUSTER`; empty without. */
  readonly cluster: string;
  /** The client's current folder, against which `path` is resolved. */
  readonly cwd: string;
  /** `%p` and `%f`. */
  readonly path: string;
  readonly name: string;
  readonly systemId?: string;
  readonly json: boolean;
  readonly logLevel?: string;
  /**
   * The file to be archived, or the current folder, as {@link identityOf} tells: an agent that sees another one under that path, as in
   * a container, does not serve.
   */
  readonly identity: string;
}

export interface PushRequest extends CommonRequest {
  readonly command: 'wal-push';
  /** Milliseconds. */
  readonly timeout: number;
}

export interface FetchRequest extends CommonRequest {
  readonly command: 'wal-fetch';
  readonly mode: RecoveryMode;
  readonly until?: string;
  readonly timeline?: number;
  /** Names of those to read; all without one. */
  readonly repositories: readonly string[];
}

export type AgentRequest = PushRequest | FetchRequest;

export type AgentMessage =
  /** Said at once, then every {@link HEARTBEAT}. */
  | { readonly type: 'alive' }
  /** For stderr. */
  | { readonly type: 'stderr'; readonly text: string }
  /** The agent does not do this: the client does it itself. */
  | { readonly type: 'decline'; readonly reason: string }
  /** The work is done. A fetched file lies at `file`, from where the client takes it before it closes the connection. */
  | { readonly type: 'end'; readonly exitCode: number; readonly stdout: string; readonly file?: string };

/** Milliseconds between signs of life of the agent. */
export const HEARTBEAT = 2000;

/** What tells one file or folder from another. */
export function identityOf({ dev, ino }: { readonly dev: bigint; readonly ino: bigint }): string {
  return `${dev}:${ino}`;
}

/** A line of a request; undefined for what is none, or of another protocol. */
export function parseRequest(line: string): AgentRequest | undefined {
  const value = parse(line);
  if (value === undefined || value['protocol'] !== PROTOCOL) return undefined;
  const common =
    ['config', 'cluster', 'cwd', 'path', 'name', 'identity'].every((key) => typeof value[key] === 'string') &&
    ['systemId', 'logLevel', 'until'].every((key) => ['string', 'undefined'].includes(typeof value[key])) &&
    typeof value['json'] === 'boolean';
  if (!common) return undefined;
  const push = value['command'] === 'wal-push' && Number.isFinite(value['timeout']);
  const fetch =
    value['command'] === 'wal-fetch' &&
    ['recovery', 'standby', 'none'].includes(String(value['mode'])) &&
    (value['timeline'] === undefined || Number.isInteger(value['timeline'])) &&
    Array.isArray(value['repositories']) &&
    value['repositories'].every((name) => typeof name === 'string');
  return push || fetch ? (value as unknown as AgentRequest) : undefined;
}

/** A line of the agent; undefined for what is none. */
export function parseMessage(line: string): AgentMessage | undefined {
  const value = parse(line);
  const valid =
    value?.['type'] === 'alive' ||
    (value?.['type'] === 'stderr' && typeof value['text'] === 'string') ||
    (value?.['type'] === 'decline' && typeof value['reason'] === 'string') ||
    (value?.['type'] === 'end' &&
      Number.isInteger(value['exitCode']) &&
      typeof value['stdout'] === 'string' &&
      ['string', 'undefined'].includes(typeof value['file']));
  return valid ? (value as unknown as AgentMessage) : undefined;
}

function parse(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined; // whoever asked says what follows from it
  }
}

/** Cuts text that arrives in pieces into lines. */
export class Lines {
  #rest = '';

  /** The lines that are whole now; undefined when one is longer than a message may be. */
  push(text: string): readonly string[] | undefined {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    return this.#rest.length > LONGEST_MESSAGE ? undefined : lines;
  }
}
