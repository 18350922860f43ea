import { ArchiveError, throwIfAborted, type Secret } from '@pgark/sdk';
import { connectionError } from './depot-error.ts';

export interface DepotRequest {
  /** For messages: `storing base/0001.tar`. */
  readonly what: string;
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE';
  /** Behind the bucket, encoded. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** At least one piece; the last goes out alone. */
  readonly body?: readonly Uint8Array[];
  /** Makes an object visible: once its last piece is on its way `signal` no longer ends it, or nobody would know what came of it. */
  readonly commits?: boolean;
  readonly signal?: AbortSignal | undefined;
  /** Ends the request at any time: whoever gives it finds out later what came of it. */
  readonly stop?: AbortSignal;
  /** Called whenever a piece of the body was taken. */
  readonly moved?: () => void;
}

/** An answer; its body is still to be read. */
export interface DepotAnswer {
  readonly response: Response;
  /** Leaving the loop ends the connection. */
  chunks(): AsyncGenerator<Uint8Array, void, undefined>;
}

/** Requests to one bucket of a depot: each is sent once, and ends when nothing moves for so many milliseconds. */
export class DepotClient {
  readonly #root: string;
  readonly #token: Secret;
  readonly #idle: number;
  readonly #closing = new AbortController();

  constructor(options: {
    readonly url: string;
    readonly bucket: string;
    readonly token: Secret;
    readonly idle: number;
  }) {
    this.#root = `${options.url.replace(/\/+$/, '')}/${options.bucket}`;
    this.#token = options.token;
    this.#idle = options.idle;
  }

  /** Sends a request and waits for the head of the answer. Errors: `ABORTED`, `STORAGE_UNAVAILABLE`. */
  async send(request: DepotRequest): Promise<DepotAnswer> {
    const { what, method, path, body, signal, stop } = request;
    throwIfAborted(this.#closing.signal, what);
    throwIfAborted(signal, what);
    throwIfAborted(stop, what);
    const watch = new Watch(what, this.#idle, [stop, this.#closing.signal]);
    watch.alsoEndedBy(signal);
    try {
      const response = await fetch(this.#root + path, {
        method,
        headers: { ...request.headers, authorization: `Bearer ${this.#token.reveal()}` },
        redirect: 'error',
        signal: watch.signal,
        ...(body === undefined ? {} : { body: piecesOf(request, body, watch), duplex: 'half' as const }),
      });
      watch.progress();
      return { response, chunks: () => chunksOf(response, watch) };
    } catch (error) {
      throw watch.end() ?? connectionError(error, what);
    }
  }

  /** Ends all requests. */
  close(): void {
    this.#closing.abort();
  }
}

async function* piecesOf(
  { moved, commits }: DepotRequest,
  body: readonly Uint8Array[],
  watch: Watch,
): AsyncGenerator<Uint8Array, void, undefined> {
  for (const piece of body.slice(0, -1)) {
    yield piece;
    moved?.();
    watch.progress();
  }
  if (commits === true) watch.commit();
  yield body.at(-1) as Uint8Array;
}

async function* chunksOf(response: Response, watch: Watch): AsyncGenerator<Uint8Array, void, undefined> {
  const reader = response.body?.getReader();
  try {
    for (;;) {
      watch.progress();
      const step = await reader?.read();
      if (step === undefined || step.done) return;
      watch.pause(); // while the reader thinks, no time counts
      yield step.value;
    }
  } catch (error) {
    throw watch.error ?? connectionError(error, watch.what);
  } finally {
    watch.end();
    await reader?.cancel().catch(() => undefined); // what ended the reading has been told
  }
}

/** Ends a request by a signal of its own: for another signal, or because nothing has moved for too long. */
class Watch {
  readonly what: string;
  /** Why the request was ended. */
  error: ArchiveError | undefined;
  readonly #idle: number;
  readonly #controller = new AbortController();
  readonly #listening: [AbortSignal, () => void][] = [];
  #caller: AbortSignal | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(what: string, idle: number, signals: readonly (AbortSignal | undefined)[]) {
    this.what = what;
    this.#idle = idle;
    for (const signal of signals) this.#listen(signal);
    this.progress();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Ended by this signal, too, until {@link commit}. */
  alsoEndedBy(signal: AbortSignal | undefined): void {
    this.#caller = signal;
    this.#listen(signal);
  }

  progress(): void {
    this.pause();
    if (this.error === undefined) this.#timer = setTimeout(() => this.#fail(this.#silence()), this.#idle);
  }

  pause(): void {
    clearTimeout(this.#timer);
  }

  commit(): void {
    for (const [signal, listener] of this.#listening) {
      if (signal === this.#caller) signal.removeEventListener('abort', listener);
    }
  }

  /** The request is over; gives the error if it was ended from here. */
  end(): ArchiveError | undefined {
    this.pause();
    for (const [signal, listener] of this.#listening.splice(0)) signal.removeEventListener('abort', listener);
    return this.error;
  }

  #listen(signal: AbortSignal | undefined): void {
    if (signal === undefined) return;
    const listener = (): void =>
      this.#fail(new ArchiveError('ABORTED', `${this.what} was cancelled`, { cause: signal.reason }));
    signal.addEventListener('abort', listener);
    this.#listening.push([signal, listener]);
  }

  #silence(): ArchiveError {
    return new ArchiveError(
      'STORAGE_UNAVAILABLE',
      `${this.what} failed: nothing moved for ${this.#idle / 1000} seconds`,
    );
  }

  #fail(error: ArchiveError): void {
    this.error ??= error;
    this.end();
    this.#controller.abort();
  }
}
