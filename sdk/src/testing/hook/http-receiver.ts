import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import type { HookBehaviour, HookDelivery, HookReceiver } from './receiver.ts';

/** A request as the receiver has it. */
export interface HttpHookRequest {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface HttpHookReceiverOptions {
  /** Where the protocol has the id of the event. Default: the field `id` of a JSON body. */
  readonly id?: (request: HttpHookRequest) => string | undefined;
  /** What people read, and everything else that came; default every text of a JSON body, each on a line, or the body as it is. */
  readonly text?: (request: HttpHookRequest) => string;
  /** What is not text of the event; default method, path, names of headers, and a JSON body with its texts left out. */
  readonly shape?: (request: HttpHookRequest) => string;
  /** Status codes and bodies of answers; default 204, 400 and 503. */
  readonly accept?: HttpHookAnswer;
  readonly reject?: HttpHookAnswer;
  readonly fail?: HttpHookAnswer;
}

export interface HttpHookAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** An HTTP server on loopback that stands for a service, and can be told how to answer. */
export class HttpHookReceiver implements HookReceiver {
  /** All that came, whatever was answered. */
  readonly requests: HttpHookRequest[] = [];
  /** Those of them that were accepted. */
  readonly taken: HttpHookRequest[] = [];
  readonly #options: HttpHookReceiverOptions;
  readonly #server: Server;
  #behaviour: HookBehaviour = 'accept';
  #attempts = 0;

  private constructor(options: HttpHookReceiverOptions) {
    this.#options = options;
    this.#server = createServer((request, response) => {
      this.#attempts += 1;
      this.#answer(request, response).catch(() => response.destroy());
    });
  }

  /** Listens on a free port of 127.0.0.1, or on a given one. */
  static async start(options: HttpHookReceiverOptions = {}, port = 0): Promise<HttpHookReceiver> {
    const receiver = new HttpHookReceiver(options);
    await new Promise<void>((resolve, reject) => {
      receiver.#server.once('error', reject);
      receiver.#server.listen(port, '127.0.0.1', resolve);
    });
    return receiver;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** `http://127.0.0.1:PORT` */
  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  behave(behaviour: HookBehaviour): void {
    this.#behaviour = behaviour;
  }

  attempts(): number {
    return this.#attempts;
  }

  received(): readonly HookDelivery[] {
    const { id = idOf, text = textOf, shape = shapeOf } = this.#options;
    return this.taken.map((request) => {
      const found = id(request);
      return { text: text(request), shape: shape(request), ...(found !== undefined && { id: found }) };
    });
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    this.#server.closeAllConnections();
    await closed;
  }

  async #answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const behaviour = this.#behaviour;
    if (behaviour === 'cut') {
      incoming.socket.destroy();
      return;
    }
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const { method = '', url = '', headers } = incoming;
    const request = { method, path: url, headers, body: Buffer.concat(chunks) };
    this.requests.push(request);
    if (behaviour === 'hang') return;
    const { accept = { status: 204 }, reject = { status: 400 }, fail = { status: 503 } } = this.#options;
    const answer = { accept, reject, fail }[behaviour];
    if (behaviour === 'accept') this.taken.push(request);
    response.writeHead(answer.status, answer.headers).end(answer.body);
  }
}

function jsonOf({ body }: HttpHookRequest): unknown {
  try {
    return JSON.parse(body.toString());
  } catch {
    return undefined;
  }
}

function idOf(request: HttpHookRequest): string | undefined {
  const json = jsonOf(request);
  const id = typeof json === 'object' && json !== null && 'id' in json ? json.id : undefined;
  return typeof id === 'string' ? id : undefined;
}

function textOf(request: HttpHookRequest): string {
  const json = jsonOf(request);
  return json === undefined ? request.body.toString() : textsOf(json).join('\n');
}

function textsOf(value: unknown): readonly string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap(textsOf);
}

function shapeOf(request: HttpHookRequest): string {
  const { method, path, headers } = request;
  const json = jsonOf(request);
  const body =
    json === undefined ? [] : [JSON.stringify(json, (_, value: unknown) => (typeof value === 'string' ? '' : value))];
  return [`${method} ${path}`, ...Object.keys(headers).sort(), ...body].join('\n');
}
