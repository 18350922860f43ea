/** Listens on the socket of the agent and answers one request per connection. */
import { lstatSync, mkdirSync, readlinkSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { ArchiveError, errnoOf } from '../contracts/errors.ts';
import { isOwnFolder } from './place.ts';
import { HEARTBEAT, identityOf, Lines, parseRequest, type AgentMessage, type AgentRequest } from './protocol.ts';

/** What a request comes to. */
export type Reply =
  | {
      readonly type: 'decline';
      readonly reason: string;
      /** Whether the next request needs an archive that is opened anew; not for the client. */
      readonly renew?: boolean;
    }
  | {
      readonly type: 'end';
      readonly exitCode: number;
      readonly stdout: string;
      /** A fetched file, which the client takes. */
      readonly file?: string;
    };

export interface Exchange {
  /** Fires when the client is gone, or the agent ends. */
  readonly signal: AbortSignal;
  readonly stderr: (text: string) => void;
}

/** Never rejects. */
export type Handler = (request: AgentRequest, exchange: Exchange) => Promise<Reply>;

/** Clients at once; what comes beyond does its work itself. */
const MOST = 64;
/** Milliseconds for a client to say what it wants, and to take what it got. */
const PATIENCE = 60_000;
const ONLY_USER = 0o177;

export class AgentServer {
  readonly #handle: Handler;
  readonly #onTrouble: (error: unknown) => void;
  readonly #server: Server;
  readonly #open = new Set<Socket>();
  readonly #paths: string[] = [];
  #identity = '';

  /** `onTrouble` is told of what goes wrong with one connection, such as a file that cannot be removed. */
  constructor(handle: Handler, onTrouble: (error: unknown) => void = () => undefined) {
    this.#handle = handle;
    this.#onTrouble = onTrouble;
    this.#server = createServer((socket) => void this.#serve(socket));
    this.#server.maxConnections = MOST;
  }

  /**
   * Listens on a socket that only this user can use, in place of one that a dead agent left. Errors: `AGENT_RUNNING` when one answers
   * there, `AGENT_SOCKET`.
   */
  async listen(path: string): Promise<void> {
    try {
      await removeStale(path);
      // Made with these permissions, not given them afterwards: between the two another user could connect.
      await new Promise<void>((resolve, reject) => {
        const umask = process.umask(ONLY_USER);
        this.#server.once('error', reject);
        this.#server.listen(path, resolve);
        process.umask(umask);
      });
      this.#paths.push(path);
      this.#identity = identityOf(statSync(path, { bigint: true }));
    } catch (error) {
      throw socketError(path, error);
    }
  }

  /** Makes the socket found under a second path. Errors: `AGENT_SOCKET`. */
  async link(socket: string, path: string): Promise<void> {
    try {
      // A killed agent may have left just this link, at the end of which this one listens now.
      if (lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() && readlinkSync(path) === socket) rmSync(path);
      await removeStale(path);
      symlinkSync(socket, path);
      this.#paths.push(path);
    } catch (error) {
      throw socketError(path, error);
    }
  }

  /** Whether the socket that clients find is still the one that this server listens on. */
  get isFound(): boolean {
    return this.#paths.every((path) => {
      const info = statSync(path, { bigint: true, throwIfNoEntry: false });
      return info !== undefined && identityOf(info) === this.#identity;
    });
  }

  /** Ends all connections, whose clients do their work themselves, and takes the socket away. */
  async close(): Promise<void> {
    for (const path of this.#paths.splice(0).toReversed()) rmSync(path, { force: true });
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#open) socket.destroy();
    await closed;
  }

  async #serve(socket: Socket): Promise<void> {
    this.#open.add(socket);
    const control = new AbortController();
    const closed = new Promise<void>((resolve) => {
      socket.once('close', () => {
        this.#open.delete(socket);
        control.abort(new ArchiveError('ABORTED', 'the client of the agent is gone'));
        resolve();
      });
    });
    socket.on('error', () => undefined); // 'close' follows, which is all that matters
    const say = (message: AgentMessage): void => {
      if (socket.writable) socket.write(`${JSON.stringify(message)}\n`);
    };
    say({ type: 'alive' });
    const alive = setInterval(() => say({ type: 'alive' }), HEARTBEAT);
    try {
      const line = await firstLine(socket);
      const request = line === undefined ? undefined : parseRequest(line);
      if (request === undefined) return say({ type: 'decline', reason: 'the request is not of this version' });
      const exchange: Exchange = { signal: control.signal, stderr: (text) => say({ type: 'stderr', text }) };
      const reply = await this.#handle(request, exchange);
      say(reply);
      if (reply.type === 'decline') return;
      // The client closes the connection when it has taken the file.
      clearInterval(alive);
      socket.setTimeout(PATIENCE, () => socket.destroy());
      await closed;
      if (reply.file !== undefined) rmSync(reply.file, { force: true });
    } catch (error) {
      this.#onTrouble(error);
    } finally {
      clearInterval(alive);
      // Not only ended: a client that hangs, or is stopped, would hold its place.
      socket.destroySoon();
    }
  }
}

/** Undefined when there is none: the client is gone, or sends no end. */
function firstLine(socket: Socket): Promise<string | undefined> {
  return new Promise((resolve) => {
    const lines = new Lines();
    const finish = (line: string | undefined): void => {
      clearTimeout(timer);
      // What else comes is thrown away, but its end is still noticed.
      socket.off('data', take).resume();
      resolve(line);
    };
    const timer = setTimeout(() => finish(undefined), PATIENCE);
    socket.setEncoding('utf8');
    const take = (text: string): void => {
      const whole = lines.push(text);
      if (whole === undefined) finish(undefined);
      else if (whole[0] !== undefined) finish(whole[0]);
    };
    socket.on('data', take);
    socket.once('close', () => finish(undefined));
  });
}

/** Removes a socket, or a link to one, at which nobody answers. Anything else is left as it is, and is an error. */
async function removeStale(path: string): Promise<void> {
  const info = lstatSync(path, { throwIfNoEntry: false });
  if (info === undefined) return;
  if (!info.isSocket() && !info.isSymbolicLink()) throw new Error('there is a file that is no socket');
  if (info.uid !== process.getuid?.()) throw new Error('the socket there is of another user');
  if (await answers(path))
    throw new ArchiveError('AGENT_RUNNING', `another agent listens on ${path}`, { details: { socket: path } });
  rmSync(path);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error) =>
      ['ECONNREFUSED', 'ENOENT'].includes(errnoOf(error) ?? '') ? resolve(false) : reject(error),
    );
  });
}

function socketError(path: string, error: unknown): unknown {
  if (error instanceof ArchiveError) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new ArchiveError('AGENT_SOCKET', `cannot listen on ${path}: ${text}`, { cause: error });
}

/** The first of these folders that is this user's alone, or can be made so. Errors: `AGENT_SOCKET`. */
export function runtimeFolder(folders: readonly string[], uid: number): string {
  const found = folders.find((folder) => isOwnFolder(folder, uid));
  if (found !== undefined) return found;
  const last = folders.at(-1) ?? '';
  try {
    mkdirSync(last, { mode: 0o700 });
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST')
      throw new ArchiveError('AGENT_SOCKET', `cannot make the folder ${last}: ${errnoOf(error)}`, { cause: error });
  }
  if (isOwnFolder(last, uid)) return last;
  throw new ArchiveError('AGENT_SOCKET', `others may write into ${last}, or it is not a folder of this user`);
}

/** Whether the folder of a socket that the config names may hold it: nobody else can put another in its place. */
export function checkSocketFolder(path: string, uid: number): void {
  const folder = dirname(path);
  const info = statSync(folder, { throwIfNoEntry: false });
  if (info === undefined) throw new ArchiveError('AGENT_SOCKET', `there is no folder ${folder}`);
  if ((info.uid !== uid && info.uid !== 0) || ((info.mode & 0o022) !== 0 && (info.mode & 0o1000) === 0))
    throw new ArchiveError('AGENT_SOCKET', `others may write into ${folder}`);
}
