import type { HookBehaviour, HookDelivery, HookReceiver } from '@pgark/sdk/testing';
import type { HttpReceiver, ReceivedRequest, Respond } from './http-receiver.ts';

export interface HookServiceOptions {
  /** Where the service has the id of an event. */
  readonly id: (body: unknown, request: ReceivedRequest) => string | undefined;
  /** What the service shows for a text that was sent; default the text as it is. */
  readonly shown?: (text: string) => string;
  /** What is structure of the path; default all of it. */
  readonly path?: (path: string) => string;
}

/** A service that checks what it is sent, as the suite of hooks wants it: what it refuses on its own counts as not delivered. */
export class HookService implements HookReceiver {
  readonly http: HttpReceiver;
  readonly #options: HookServiceOptions;
  readonly #taken: ReceivedRequest[] = [];
  #behaviour: HookBehaviour = 'accept';

  constructor(http: HttpReceiver, options: HookServiceOptions) {
    this.http = http;
    this.#options = options;
    const check = http.respond;
    const respond: Respond = (request, connection) => {
      switch (this.#behaviour) {
        case 'hang':
          return undefined;
        case 'cut':
          connection.request.socket.destroy();
          return undefined;
        case 'fail':
          // A server that gives back what it got.
          return { status: 503, body: `${request.path} ${request.body}` };
        case 'reject':
          return { status: 404, body: `${request.path} ${request.body} ${JSON.stringify(request.headers)}` };
        case 'accept': {
          const answer = check(request, connection);
          if (answer !== undefined && answer.status < 300) this.#taken.push(request);
          return answer;
        }
      }
    };
    http.respond = respond;
  }

  behave(behaviour: HookBehaviour): void {
    this.#behaviour = behaviour;
  }

  attempts(): number {
    return this.http.received.length;
  }

  received(): readonly HookDelivery[] {
    const { id, shown = (text): string => text, path = (whole): string => whole } = this.#options;
    return this.#taken.map((request) => {
      const body = bodyOf(request);
      const found = id(body, request);
      const structure = JSON.stringify(body, (_, value: unknown) => (typeof value === 'string' ? '' : value));
      return {
        text: textsOf(body).map(shown).join('\n'),
        shape: [`${request.method} ${path(request.path)}`, ...Object.keys(request.headers).sort(), structure].join(
          '\n',
        ),
        ...(found !== undefined && { id: found }),
      };
    });
  }

  close(): Promise<void> {
    return this.http.close();
  }
}

function bodyOf({ headers, body }: ReceivedRequest): unknown {
  return headers['content-type']?.includes('json') === true ? (JSON.parse(body) as unknown) : body;
}

function textsOf(value: unknown): readonly string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap(textsOf);
}
