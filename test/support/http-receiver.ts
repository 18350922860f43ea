/** A real HTTP server on loopback that takes what hooks deliver, and answers as a test wants. */
import { once } from 'node:events';
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';

export interface ReceivedRequest {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface ReceiverAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** What becomes of a request: an answer, or whatever else a server may do to its connection. */
export type Respond = (
  request: ReceivedRequest,
  connection: { readonly request: IncomingMessage; readonly response: ServerResponse },
) => ReceiverAnswer | undefined;

export class HttpReceiver {
  readonly received: ReceivedRequest[] = [];
  /** Gives undefined when it has answered by itself, or does not want to. */
  respond: Respond;
  readonly #server: Server;

  private constructor(server: Server, respond: Respond) {
    this.#server = server;
    this.respond = respond;
  }

  static async listen(
    respond: Respond = () => ({ status: 200 }),
    tls?: { readonly cert: Buffer; readonly key: Buffer },
  ): Promise<HttpReceiver> {
    const server = tls === undefined ? createServer() : createSecureServer(tls);
    const receiver = new HttpReceiver(server, respond);
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      void receiver.#take(request, response);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return receiver;
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Uint8Array[] = [];
    response.on('error', () => undefined);
    try {
      for await (const chunk of request as AsyncIterable<Uint8Array>) chunks.push(chunk);
    } catch {
      return; // the client has gone
    }
    const { method = '', url: path = '', headers } = request;
    const received = { method, path, headers, body: Buffer.concat(chunks).toString() };
    this.received.push(received);
    const answer = this.respond(received, { request, response });
    if (answer === undefined) return;
    response.writeHead(answer.status, answer.headers ?? {});
    response.end(answer.body ?? '');
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** The connections that are open now. */
  async connections(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.getConnections((error, count) => (error === null ? resolve(count) : reject(error)));
    });
  }

  url(path: string): string {
    return `http://127.0.0.1:${this.port}${path}`;
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return;
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
