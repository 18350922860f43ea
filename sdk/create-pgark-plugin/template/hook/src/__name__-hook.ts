import {
  ArchiveError,
  errnoOf,
  throwIfAborted,
  type ArchiveEvent,
  type Hook,
  type HookContext,
  type Secret,
} from '@pgark/sdk';
import { post } from './post.ts';

export interface __Name__HookOptions {
  readonly url: string;
  readonly token?: Secret | undefined;
}

/** Sends each event as JSON to a web address. What is retried, and how often, is decided by pgark. */
export class __Name__Hook implements Hook {
  readonly #url: URL;
  readonly #token: Secret | undefined;
  readonly #closed = new AbortController();

  constructor(options: __Name__HookOptions) {
    this.#url = new URL(options.url);
    this.#token = options.token;
  }

  async handle(event: ArchiveEvent, context: HookContext): Promise<void> {
    const what = `telling ${this.#url.host} of ${event.name}`;
    const signal = AbortSignal.any([context.signal, this.#closed.signal]);
    throwIfAborted(signal, what);
    const headers = {
      'content-type': 'application/json',
      // The same on a second try: whoever gets it can tell that it is no second event (HOOK-04).
      'idempotency-key': event.id,
      ...(this.#token !== undefined && { authorization: `Bearer ${this.#token.reveal()}` }),
    };
    // JSON keeps texts in their place, whatever is in them (HOOK-06).
    const body = JSON.stringify(event);
    const status = await post({ url: this.#url, headers, body, signal }).catch((error: unknown) => {
      throwIfAborted(signal, what);
      // Not the error itself as the cause: it may hold the request, with the token.
      throw new ArchiveError('HOOK_FAILED', `${what} failed: ${errnoOf(error) ?? 'the connection was cut'}`);
    });
    if (status >= 200 && status < 300) return;
    throw new ArchiveError(mayPass(status) ? 'HOOK_FAILED' : 'HOOK_REJECTED', `${what} failed: HTTP ${status}`);
  }

  async close(): Promise<void> {
    this.#closed.abort();
  }
}

/** Whether the same request may be taken later (HOOK-03): overload, a time limit, or a fault of the other side. */
function mayPass(status: number): boolean {
  return status >= 500 || status === 408 || status === 425 || status === 429;
}
