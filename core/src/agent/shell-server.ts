/**
 * The agent for clients that are a shell script: a request is an HTML form, the answer a few lines of text, over HTTP on a socket of
 * its own. See `core/bin/pgark-wal`.
 */
import { rmSync, realpathSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { resolve } from 'node:path';
import { ArchiveError } from '../contracts/errors.ts';
import { parseTimelineNumber } from '../wal-command/timeline-number.ts';
import { HEARTBEAT, LONGEST_MESSAGE, parseRequest, PROTOCOL, type AgentRequest } from './protocol.ts';
import type { Handler } from './server.ts';
import { SocketServer } from './socket-server.ts';

/** What the name of this socket has behind that of the other one. */
export const SHELL_SUFFIX = '.sh';

/** Clients at once; what comes beyond does its work itself. */
const MOST = 64;
/** Milliseconds for a client to say what it wants. */
const PATIENCE = 60_000;
/** Milliseconds for a client to take its file, after the answer has ended the connection. */
const KEPT = 60_000;

export class ShellServer extends SocketServer {
  readonly #handle: Handler;
  readonly #onTrouble: (error: unknown) => void;
  readonly #http: Server;
  /** Files that are not known to be taken. */
  readonly #given = new Map<string, NodeJS.Timeout>();

  /** `onTrouble` as for the other server. */
  constructor(handle: Handler, onTrouble: (error: unknown) => void = () => undefined) {
    const http = createServer({ requestTimeout: PATIENCE, keepAliveTimeout: 1 }, (request, response) => {
      void this.#serve(request, response);
    });
    http.maxConnections = MOST;
    super(http);
    this.#http = http;
    this.#handle = handle;
    this.#onTrouble = onTrouble;
  }

  /** Ends all connections, whose clients do their work themselves, and takes the socket away. */
  override async close(): Promise<void> {
    const closed = super.close();
    this.#http.closeAllConnections();
    for (const file of this.#given.keys()) this.#forget(file);
    await closed;
  }

  async #serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const control = new AbortController();
    response.once('close', () => {
      if (!response.writableFinished) control.abort(new ArchiveError('ABORTED', 'the client of the agent is gone'));
    });
    response.on('error', () => undefined); // 'close' follows, which is all that matters
    const say = (line: string): void => void response.write(`${line}\n`);
    let alive: NodeJS.Timeout | undefined;
    try {
      const request = readForm(await bodyOf(message));
      if (request === undefined) {
        response.writeHead(400).end();
        return;
      }
      response.writeHead(200, { 'content-type': 'text/plain' });
      say('alive');
      alive = setInterval(() => say('alive'), HEARTBEAT);
      const stderr = (text: string): void => {
        for (const line of text.replace(/\n$/, '').split('\n')) say(`stderr ${line}`);
      };
      const reply = await this.#handle(request, { signal: control.signal, stderr });
      if (reply.type === 'decline') return void response.end('decline\n');
      const { exitCode, file } = reply;
      if (file !== undefined) this.#keep(file);
      if (file?.includes('\n')) return void response.end('decline\n');
      response.end(`end ${exitCode}${file === undefined ? '' : ` ${file}`}\n`);
    } catch (error) {
      if (!control.signal.aborted) this.#onTrouble(error);
      response.destroy();
    } finally {
      clearInterval(alive);
    }
  }

  /** The client moves the file away when it has read the answer. What is still there after a while has no client any more. */
  #keep(file: string): void {
    this.#given.set(
      file,
      setTimeout(() => this.#forget(file), KEPT).unref(), // the agent takes its folder away at its end
    );
  }

  #forget(file: string): void {
    clearTimeout(this.#given.get(file));
    this.#given.delete(file);
    try {
      rmSync(file, { force: true });
    } catch (error) {
      this.#onTrouble(error);
    }
  }
}

/** Nothing for one that is too long, which then is no request. */
async function bodyOf(message: IncomingMessage): Promise<string> {
  let text = '';
  message.setEncoding('utf8');
  for await (const piece of message as AsyncIterable<string>) {
    text += piece;
    if (text.length > LONGEST_MESSAGE) return '';
  }
  return text;
}

/** The form as the request that it means; undefined for what is none. */
function readForm(text: string): AgentRequest | undefined {
  const form = new URLSearchParams(text);
  // Of an option that is given twice the last one holds, as for the command itself.
  const one = (name: string): string | undefined => form.getAll(name).at(-1) || undefined;
  const timeline = one('timeline');
  return parseRequest(
    JSON.stringify({
      protocol: PROTOCOL,
      command: one('command'),
      config: realPath(one('cwd'), one('config')),
      cluster: one('cluster') ?? '',
      cwd: one('cwd'),
      path: one('path'),
      name: one('name'),
      identity: one('identity'),
      json: false,
      systemId: one('system-id'),
      timeout: form.has('timeout') ? Number(one('timeout')) * 1000 : undefined,
      mode: one('mode'),
      until: one('until'),
      timeline: timeline === undefined ? undefined : (parseTimelineNumber(timeline) ?? Number.NaN),
      repositories: form.getAll('repository'),
    }),
  );
}

/** The script does not resolve links, which would cost it another process. A relative path begins where the script is. */
function realPath(cwd: string | undefined, path: string | undefined): string | undefined {
  try {
    return cwd === undefined || path === undefined ? undefined : realpathSync(resolve(cwd, path));
  } catch {
    return undefined; // not a config that this agent could work with
  }
}
