/** The HTTP side of a daemon with its page, at an address that stays the same. */
import type { Daemon } from '../../core/src/daemon/daemon.ts';
import type { HttpServer } from '../../core/src/daemon/http/server.ts';
import { serveHttp } from '../../core/src/daemon/http/serve-http.ts';
import { mountedPage } from '../../core/src/daemon/page/mounted-page.ts';
import type { PageOptions } from '../../core/src/daemon/page/page-routes.ts';
import { silentLogger } from './silent-logger.ts';

export const TOKENS = [
  { name: 'grafana', role: 'viewer', token: 'viewer-token-0123456789' },
  { name: 'ada', role: 'operator', token: 'operator-token-0123456789' },
] as const;

type Role = (typeof TOKENS)[number]['role'];

/** The headers of a request of somebody with a token. */
export function credentials(role: Role): { readonly authorization: string } {
  return { authorization: `Bearer ${TOKENS.find((one) => one.role === role)?.token}` };
}

export class PageServer {
  readonly url: string;
  readonly #open: () => Promise<HttpServer>;
  #server: HttpServer;

  private constructor(server: HttpServer, open: () => Promise<HttpServer>) {
    this.url = server.url;
    this.#server = server;
    this.#open = open;
  }

  /** Listens where the config of the daemon says, which has {@link TOKENS}. */
  static async open(daemon: Daemon, options: PageOptions = {}): Promise<PageServer> {
    const page = mountedPage(daemon, options);
    const open = (): Promise<HttpServer> =>
      serveHttp({ daemon, secrets: { env: {}, directory: '/' }, logger: silentLogger, page });
    return new PageServer(await open(), open);
  }

  /** Answers nobody any more. */
  async close(): Promise<void> {
    await this.#server.close(0);
  }

  /** Listens again. */
  async reopen(): Promise<void> {
    this.#server = await this.#open();
  }
}
