import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import {
  ArchiveError,
  errnoOf,
  throwIfAborted,
  type ArchiveEvent,
  type Hook,
  type HookContext,
  type Secret,
  type Severity,
} from '@pgark/sdk';

export interface NtfyHookOptions {
  readonly url: string;
  readonly topic: string;
  readonly token?: Secret | undefined;
}

/** Of ntfy: 1 makes no sound, 5 does not stop ringing. */
const PRIORITY: Readonly<Record<Severity, number>> = { info: 2, warning: 3, critical: 5 };

/**
 * Publishes events to a topic of an ntfy server (https://docs.ntfy.sh/publish/#publish-as-json). Every event has a summary and a severity, so that
 * the hook needs to know none of them.
 *
 * As JSON, not as headers: the text of an event cannot become one. ntfy has no place for the id of an event, so that one that was
 * delivered twice is read twice.
 */
export class NtfyHook implements Hook {
  readonly #options: NtfyHookOptions;
  readonly #closing = new AbortController();

  constructor(options: NtfyHookOptions) {
    this.#options = options;
  }

  async handle(event: ArchiveEvent, { signal }: HookContext): Promise<void> {
    const what = `publishing ${event.name}`;
    const stop = AbortSignal.any([signal, this.#closing.signal]);
    throwIfAborted(stop, what);
    const message = {
      topic: this.#options.topic,
      title: `pgark ${event.cluster}: ${event.severity}`,
      message: `${event.summary}\n${event.host}, ${event.name}`,
      priority: event.condition?.state === 'closed' ? PRIORITY.info : PRIORITY[event.severity],
      tags: [event.severity],
    };
    const status = await this.#post(JSON.stringify(message), what, stop);
    if (status < 300) return;
    // Too many requests and a request that took too long may pass; whatever else is called the sender's mistake will not.
    const passes = status >= 500 || status === 408 || status === 429;
    throw new ArchiveError(passes ? 'HOOK_FAILED' : 'HOOK_REJECTED', `${what} failed: ntfy answered ${status}`, {
      details: { status },
    });
  }

  async close(): Promise<void> {
    this.#closing.abort();
  }

  /** The status of the answer. No connection outlives it. */
  async #post(body: string, what: string, signal: AbortSignal): Promise<number> {
    const { url, token } = this.#options;
    const send = new URL(url).protocol === 'https:' ? httpsRequest : httpRequest;
    const headers = {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      ...(token === undefined ? {} : { authorization: `Bearer ${token.reveal()}` }),
    };
    try {
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        send(url, { method: 'POST', headers, agent: false, signal }, resolve).on('error', reject).end(body);
      });
      response.destroy(); // the status is all that is wanted
      return response.statusCode ?? 0;
    } catch (error) {
      throwIfAborted(signal, what);
      throw new ArchiveError('HOOK_FAILED', `${what} failed: ${errnoOf(error) ?? 'the connection was lost'}`);
    }
  }
}
