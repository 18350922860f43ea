/** Listens on the socket of the agent and answers one request per connection. */
import { rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { ArchiveError } from '../contracts/errors.ts';
import { HEARTBEAT, Lines, parseRequest, type AgentMessage, type AgentRequest } from './protocol.ts';
import { SocketServer } from './socket-server.ts';

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

export class AgentServer extends SocketServer {
  readonly #handle: Handler;
  readonly #onTrouble: (error: unknown) => void;
  readonly #open = new Set<Socket>();

  /** `onTrouble` is told of what goes wrong with one connection, such as a file that cannot be removed. */
  constructor(handle: Handler, onTrouble: (error: unknown) => void = () => undefined) {
    const server = createServer((socket) => void this.#serve(socket));
    server.maxConnections = MOST;
    super(server);
    this.#handle = handle;
    this.#onTrouble = onTrouble;
  }

  /** Ends all connections, whose clients do their work themselves, and takes the socket away. */
  override async close(): Promise<void> {
    const closed = super.close();
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
