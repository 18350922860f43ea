/** The HTTP server over all its restarts. What fails here is tried again, and is no matter of the receivers. */
import { errorOf } from '../archive/telling.ts';
import type { Logger } from '../contracts/plugin.ts';
import { Backoff, pause, within } from '../receive/backoff.ts';
import type { Daemon } from './daemon.ts';
import type { HttpServer } from './http/server.ts';
import type { Pace } from './pace.ts';

/** Begins to answer; undefined when the config wants no answers. */
export type OpenHttp = (daemon: Daemon) => Promise<HttpServer | undefined>;

export interface KeptServerOptions {
  readonly open: () => Promise<HttpServer | undefined>;
  readonly logger: Logger;
  readonly pace: Pace;
}

export class KeptServer {
  readonly #options: KeptServerOptions;
  readonly #backoff: Backoff;
  #server: HttpServer | undefined;
  /** Ends the tries to begin. */
  #trying = new AbortController();
  #isClosed = false;

  constructor(options: KeptServerOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.pace.restart);
  }

  /** Tries once before it returns, and then until it is closed; after that it does nothing. Never throws. */
  async begin(): Promise<void> {
    if (this.#isClosed) return;
    this.#trying = new AbortController();
    const { signal } = this.#trying;
    if (!(await this.#try(signal))) void this.#keepTrying(signal);
  }

  /** Reads tokens and certificates anew, or begins anew where the server itself is to be another. Never throws. */
  async reload({ anew }: { readonly anew: boolean }): Promise<void> {
    const { logger } = this.#options;
    if (anew || this.#server === undefined) {
      await this.#end();
      await this.begin();
      return;
    }
    try {
      await this.#server.reload();
    } catch (error) {
      const { code, message } = errorOf(error);
      logger.error({ code }, `tokens and certificates stay as they were: ${message}`);
    }
  }

  /** For good. Never throws. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#end();
  }

  async #end(): Promise<void> {
    this.#trying.abort();
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    const { logger, pace } = this.#options;
    const closing = server.close().catch((error: unknown) => {
      logger.warn({ error: errorOf(error) }, 'the HTTP server was not closed cleanly');
    });
    await within(pace.closing, closing);
  }

  async #keepTrying(signal: AbortSignal): Promise<void> {
    do await pause(this.#backoff.next(), signal);
    while (!signal.aborted && !(await this.#try(signal)));
  }

  async #try(signal: AbortSignal): Promise<boolean> {
    const { open, logger } = this.#options;
    try {
      const server = await open();
      if (signal.aborted) await server?.close();
      else this.#server = server;
      this.#backoff.reset();
      if (server !== undefined) logger.info({}, `listening at ${server.url}`);
      return true;
    } catch (error) {
      const { code, message, hint } = errorOf(error);
      logger.error({ code, hint }, `nobody is answered over HTTP: ${message}`);
      return false;
    }
  }
}
