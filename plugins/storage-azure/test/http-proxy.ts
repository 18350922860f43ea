import { once } from 'node:events';
import { createServer, request as send, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Seen {
  readonly method: string;
  /** `comp` of the query: `block`, `blocklist`, `list`; else empty. */
  readonly comp: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
}

/** An answer in the place of the server's. */
export interface Answer {
  readonly status: number;
  readonly code: string;
}

/** An HTTP proxy before the server that keeps a record of the requests, and can answer in the server's place. */
export class HttpProxy {
  readonly #server: Server;
  readonly #target: number;
  /** In the order in which they came. */
  readonly seen: Seen[] = [];
  /** The most requests of each `comp` that were going on at once. */
  readonly most = new Map<string, number>();
  /** Gives the answer to a request; undefined lets the server answer. */
  answer: (seen: Seen) => Answer | undefined = () => undefined;
  /** Whether the answer of the server to a request is lost, and its connection with it. */
  loses: (seen: Seen) => boolean = () => false;
  /** Changes the path and query on the way. */
  rewrite: (url: string) => string = (url) => url;
  /** Changes a chunk of a request's body on the way. */
  change: (chunk: Buffer) => Buffer = (chunk) => chunk;
  /** Milliseconds for which each chunk of a request's body is held back. */
  delay = 0;
  readonly #open = new Map<string, number>();

  private constructor(target: number) {
    this.#target = target;
    this.#server = createServer((request, response) => this.#handle(request, response));
  }

  static async listen(target: number): Promise<HttpProxy> {
    const proxy = new HttpProxy(target);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** How often each kind of request came: `{ 'PUT block': 3 }`. */
  counts(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { method, comp } of this.seen) {
      const kind = `${method} ${comp}`.trim();
      counts[kind] = (counts[kind] ?? 0) + 1;
    }
    return counts;
  }

  #handle(request: IncomingMessage, response: ServerResponse): void {
    const url = request.url ?? '';
    const comp = new URL(url, 'http://proxy').searchParams.get('comp') ?? '';
    const seen = { method: request.method ?? '', comp, url, headers: request.headers };
    this.seen.push(seen);
    const open = (this.#open.get(comp) ?? 0) + 1;
    this.#open.set(comp, open);
    this.most.set(comp, Math.max(open, this.most.get(comp) ?? 0));
    response.on('close', () => this.#open.set(comp, (this.#open.get(comp) ?? 1) - 1));
    const answer = this.answer(seen);
    if (answer !== undefined) {
      request.resume();
      request.on('end', () => {
        response.writeHead(answer.status, { 'x-ms-error-code': answer.code, 'content-type': 'application/xml' });
        const body = `<?xml version="1.0"?><Error><Code>${answer.code}</Code><Message>said by the proxy</Message></Error>`;
        response.end(request.method === 'HEAD' ? undefined : body);
      });
      return;
    }
    const forwarded = send(
      {
        port: this.#target,
        host: '127.0.0.1',
        method: request.method,
        path: this.rewrite(url),
        headers: request.headers,
      },
      (answered) => {
        if (this.loses(seen)) {
          answered.resume();
          request.socket.resetAndDestroy();
          return;
        }
        response.writeHead(answered.statusCode ?? 500, answered.headers);
        answered.pipe(response);
      },
    );
    // Either end may be cut on purpose.
    forwarded.on('error', () => response.destroy());
    response.on('close', () => forwarded.destroy());
    const slowed = async function* (change: (chunk: Buffer) => Buffer, delay: number): AsyncGenerator<Buffer> {
      for await (const chunk of request) {
        if (delay > 0) await sleep(delay);
        yield change(chunk as Buffer);
      }
    };
    // A client that goes away in the middle ends both.
    pipeline(slowed(this.change, this.delay), forwarded).catch(() => response.destroy());
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}
