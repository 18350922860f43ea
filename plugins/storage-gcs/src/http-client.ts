import { once } from 'node:events';
import { Agent as HttpAgent, request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { ArchiveError } from '@pgark/sdk';
import { Deadline } from './deadline.ts';
import { connectionError, type Reply } from './gcs-error.ts';

export interface HttpCall {
  /** What is being done, for messages: `storing base/1.tar`. */
  readonly what: string;
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Path and query, encoded. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** The whole body. */
  readonly body?: readonly Uint8Array[];
  /**
   * The server makes something visible once it has the whole body. An abort that comes before the last piece is on its way ends the
   * request; one that comes later waits a while for the answer, because nobody else knows what came of it.
   */
  readonly commits?: boolean;
  readonly signal?: AbortSignal | undefined;
  /** Ends the request like {@link signal}, and even after the last piece: what comes of it is found out later. */
  readonly stop?: AbortSignal | undefined;
  /** Told each time the server has taken a piece of the body. */
  readonly moved?: (() => void) | undefined;
}

/** An answer whose body is still to be read. */
export interface OpenReply {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  /** The body. Leaving the loop ends the connection. */
  chunks(): AsyncGenerator<Uint8Array, void, undefined>;
  /** The body as text. */
  text(): Promise<string>;
}

/** Connections that nobody used for so long are closed, before the server does it under a request. */
const IDLE_MS = 30_000;

/**
 * Requests to one server: each is sent once, ends when nothing moves for the time of the limit, and obeys its signal.
 *
 * Google's library is not used for this. Its calls cannot be aborted, its upload is retried from within or held in memory, it
 * puts `maxRetries: 0` back to 3, and it replaces `{{projectId}}` in what it sends.
 */
export class HttpClient {
  readonly #origin: URL;
  readonly #limit: number;
  readonly #agent: HttpAgent;

  constructor(origin: string, limit: number) {
    this.#origin = new URL(origin);
    this.#limit = limit;
    const Agent = this.#origin.protocol === 'https:' ? HttpsAgent : HttpAgent;
    this.#agent = new Agent({ keepAlive: true, timeout: IDLE_MS, proxyEnv: process.env });
  }

  /** Sends a request and reads the whole answer. */
  async call(call: HttpCall): Promise<Reply> {
    const reply = await this.open(call);
    return { status: reply.status, headers: reply.headers, text: await reply.text() };
  }

  /** Sends a request. Errors: `ABORTED`, and those of {@link connectionError}. */
  async open(call: HttpCall): Promise<OpenReply> {
    const deadline = new Deadline(call, this.#limit);
    const length = call.body?.reduce((sum, piece) => sum + piece.byteLength, 0);
    const request = (this.#origin.protocol === 'https:' ? httpsRequest : httpRequest)({
      agent: this.#agent,
      protocol: this.#origin.protocol,
      hostname: this.#origin.hostname.replace(/^\[|\]$/g, ''),
      ...(this.#origin.port === '' ? {} : { port: this.#origin.port }),
      method: call.method,
      path: call.path,
      headers: { ...call.headers, ...(length === undefined ? {} : { 'content-length': length }) },
    });
    deadline.onEnd(() => request.destroy());
    try {
      const response = await answered(request, () => send(request, call, deadline));
      deadline.progress();
      return openReply(request, response, call.what, deadline);
    } catch (error) {
      request.destroy();
      throw deadline.end() ?? connectionError(error, call.what);
    }
  }

  /** Ends all connections, also those in use. */
  close(): void {
    this.#agent.destroy();
  }
}

/** Sends, and waits for the head of the answer, which may come before all is sent. */
function answered(request: ClientRequest, send: () => Promise<void>): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.on('response', resolve);
    // Stays for good: a request may also fail after its answer, which then tells of it itself.
    request.on('error', reject);
    request.on('close', () => reject(Object.assign(new Error('the connection was closed'), { code: 'ECONNRESET' })));
    send().catch(reject);
  });
}

async function send(request: ClientRequest, call: HttpCall, deadline: Deadline): Promise<void> {
  const body = call.body ?? [];
  let isAnswered = false;
  request.once('response', () => (isAnswered = true));
  for (const piece of body.slice(0, -1)) {
    if (request.write(piece)) continue;
    const over = new AbortController();
    const events = ['drain', 'response', 'close'];
    await Promise.race(events.map((event) => once(request, event, { signal: over.signal }))).finally(() =>
      over.abort(),
    );
    if (request.destroyed || isAnswered) return;
    deadline.progress();
  }
  if (call.commits === true) deadline.commit();
  request.end(body.at(-1));
}

function openReply(request: ClientRequest, response: IncomingMessage, what: string, deadline: Deadline): OpenReply {
  async function* chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    const source = response[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
    try {
      for (;;) {
        deadline.resume();
        const step = await source.next().catch((error: unknown) => {
          throw deadline.error ?? connectionError(error, what);
        });
        if (deadline.error !== undefined) throw deadline.error;
        if (step.done === true) return;
        // While the reader thinks, the server may wait.
        deadline.pause();
        yield step.value;
      }
    } finally {
      deadline.end();
      if (!response.complete || !request.writableEnded) request.destroy();
    }
  }
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    chunks,
    async text() {
      const pieces: Uint8Array[] = [];
      for await (const chunk of chunks()) pieces.push(chunk);
      if (!response.complete) throw new ArchiveError('STORAGE_UNAVAILABLE', `${what} failed: the answer was cut off`);
      return Buffer.concat(pieces).toString();
    },
  };
}
