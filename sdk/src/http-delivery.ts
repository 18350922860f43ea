import type { ClientRequest, IncomingMessage } from 'node:http';
import { ArchiveError, errnoOf, type Secret } from 'pgark/contracts';

export interface HttpDeliveryOptions {
  /** Who receives, for messages: `the Slack webhook`. Its URL is not named anywhere: it may be a secret. */
  readonly to: string;
  /** Whatever must not show in an error, also when the receiver gives it back. */
  readonly secrets?: readonly Secret[];
  /** What an answer says of the reason of a refusal, when the receiver's protocol has a place for it. */
  readonly reason?: (answer: DeliveryAnswer) => string | undefined;
}

export interface DeliveryRequest {
  readonly url: string;
  readonly body: string;
  /** `Content-Type` is `application/json` unless it stands here, in small letters like all names. */
  readonly headers?: Readonly<Record<string, string>>;
}

export interface DeliveryAnswer {
  readonly status: number;
  /** At most its first 64 KiB. */
  readonly body: string;
}

const MOST_BODY = 64 * 1024;

/** Statuses below 500 that say "not now" rather than "no". */
const NOT_NOW: readonly number[] = [408, 425, 429];

/**
 * Posts events for a hook. One request per call, on a connection of its own, through the proxy that `HTTPS_PROXY`, `HTTP_PROXY` and
 * `NO_PROXY` name (on Node 22.21, 24.5 and later). It does not retry and follows no redirect: where that leads nobody has configured.
 */
export class HttpDelivery {
  readonly #options: HttpDeliveryOptions;
  readonly #closing = new AbortController();

  constructor(options: HttpDeliveryOptions) {
    this.#options = options;
  }

  /**
   * Gives the answer when its status is 2xx. Errors: `HOOK_REJECTED` for a redirect and for 4xx, `HOOK_FAILED` for 408, 425, 429, 5xx, for
   * every failure of the network, and when the signal fires or `close` is called. `details` hold `status`, and `retryAfter` in seconds when the
   * receiver says when to come again.
   */
  async send(request: DeliveryRequest, options: { readonly signal: AbortSignal }): Promise<DeliveryAnswer> {
    const signal = AbortSignal.any([options.signal, this.#closing.signal]);
    if (signal.aborted) throw this.#cancelled(signal);
    const response = await this.#exchange(request, signal);
    const { status } = response.answer;
    if (status >= 200 && status < 300) return response.answer;
    throw this.#refusal(response);
  }

  /** Ends what is under way; nothing is sent from then on. */
  async close(): Promise<void> {
    this.#closing.abort();
  }

  #exchange(request: DeliveryRequest, signal: AbortSignal): Promise<Exchange> {
    return new Promise((resolve, reject) => {
      const fail = (error: unknown): void => {
        reject(signal.aborted ? this.#cancelled(signal) : this.#unreachable(error));
      };
      const receive = async (response: IncomingMessage): Promise<void> => {
        const body = await readBody(response);
        if (signal.aborted) fail(signal.reason);
        else resolve({ answer: { status: response.statusCode ?? 0, body }, retryAfter: retryAfterOf(response) });
      };
      try {
        const sent = start(request, signal);
        sent.on('error', fail);
        sent.on('response', (response) => void receive(response));
        sent.end(request.body);
      } catch (error) {
        // A header that HTTP does not allow.
        fail(error);
      }
    });
  }

  #cancelled(signal: AbortSignal): ArchiveError {
    return new ArchiveError('HOOK_FAILED', `the delivery to ${this.#options.to} was cancelled`, {
      cause: signal.reason,
    });
  }

  /** The error itself is not passed on: errors of Node have properties with addresses and certificates in them. */
  #unreachable(error: unknown): ArchiveError {
    const code = errnoOf(error) ?? 'unknown failure';
    return new ArchiveError('HOOK_FAILED', `${this.#options.to} cannot be reached: ${code}`, {
      hint: 'Check the URL in the config, name service, certificates and the way to it.',
      details: { code },
    });
  }

  #refusal({ answer, retryAfter }: Exchange): ArchiveError {
    const { to } = this.#options;
    const { status } = answer;
    const reason = this.#reasonOf(answer);
    const details = {
      status,
      ...(retryAfter === undefined ? {} : { retryAfter }),
      ...(reason === undefined ? {} : { reason }),
    };
    const tail = reason === undefined ? '' : `: ${reason}`;
    if (status >= 500 || NOT_NOW.includes(status)) {
      const again = retryAfter === undefined ? '' : `, wants to be asked again after ${retryAfter} s`;
      return new ArchiveError('HOOK_FAILED', `${to} answered ${status}${tail}${again}`, { details });
    }
    if (status >= 300 && status < 400) {
      return new ArchiveError('HOOK_REJECTED', `${to} answered ${status}: redirects are not followed`, {
        hint: 'Give the URL that it leads to.',
        details,
      });
    }
    return new ArchiveError('HOOK_REJECTED', `${to} refused the event: ${status}${tail}`, { details });
  }

  #reasonOf(answer: DeliveryAnswer): string | undefined {
    const reason = this.#options.reason?.(answer)?.slice(0, 200);
    if (reason === undefined || reason === '') return undefined;
    return (this.#options.secrets ?? []).some((secret) => holds(reason, secret.reveal())) ? undefined : reason;
  }
}

interface Exchange {
  readonly answer: DeliveryAnswer;
  /** Seconds. */
  readonly retryAfter: number | undefined;
}

function start({ url, body, headers }: DeliveryRequest, signal: AbortSignal): ClientRequest {
  // Imported, it would come with all of Node's `fetch` for every command, as each plugin has this package: an eighth of the time in which one starts.
  const { Agent: HttpAgent, request: httpRequest } = process.getBuiltinModule('node:http');
  const { Agent: HttpsAgent, request: httpsRequest } = process.getBuiltinModule('node:https');
  const target = new URL(url);
  const options = {
    method: 'POST',
    signal,
    headers: {
      'content-type': 'application/json',
      'user-agent': 'pgark',
      ...headers,
      'content-length': Buffer.byteLength(body),
    },
  };
  const agent = { keepAlive: false, proxyEnv: process.env };
  return target.protocol === 'https:'
    ? httpsRequest(target, { ...options, agent: new HttpsAgent(agent) })
    : httpRequest(target, { ...options, agent: new HttpAgent(agent) });
}

/** The beginning of the body. Whether an event was taken says the status: a body that breaks off changes nothing. */
async function readBody(response: IncomingMessage): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of response as AsyncIterable<Uint8Array>) {
      chunks.push(chunk);
      size += chunk.length;
      if (size >= MOST_BODY) break;
    }
  } catch {
    // Explained above.
  }
  response.destroy();
  return Buffer.concat(chunks).subarray(0, MOST_BODY).toString();
}

/** Seconds, from a number or a date of HTTP; at most a day. */
function retryAfterOf(response: IncomingMessage): number | undefined {
  const text = response.headers['retry-after'] ?? '';
  const seconds = text.endsWith(' GMT')
    ? (Date.parse(text) - Date.now()) / 1000
    : /^\d{1,9}$/.test(text)
      ? Number(text)
      : NaN;
  return Number.isNaN(seconds) ? undefined : Math.min(86_400, Math.max(0, Math.ceil(seconds)));
}

/** Whether a part of the secret that is long enough to be one is in the text, however it is written between the parts. */
function holds(text: string, secret: string): boolean {
  const parts = [secret, ...secret.split(/[^A-Za-z0-9_-]+/)].filter((part) => part.length >= 6);
  return parts.some((part) => text.toLowerCase().includes(part.toLowerCase()));
}
