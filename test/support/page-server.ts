/** The page over HTTP, for who is named: what the API puts before it is left out. */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import { Hono } from 'hono';
import type { Daemon } from '../../core/src/daemon/daemon.ts';
import type { Caller, HttpEnv } from '../../core/src/daemon/http/caller.ts';
import { assets } from '../../core/src/daemon/page/assets.ts';
import { pageRoutes, type PageOptions } from '../../core/src/daemon/page/page-routes.ts';

export interface PageServer {
  readonly url: string;
  /** Who asks from now on. */
  caller: Caller;
  /** Takes no more requests, and cuts off those that go on. */
  close(): Promise<void>;
  /** Listens again at the same address. */
  open(): Promise<void>;
}

export async function servePage(daemon: Daemon, options: PageOptions = {}): Promise<PageServer> {
  const app = new Hono<HttpEnv>();
  const server = createAdaptorServer({ fetch: app.fetch });
  let port = 0;
  const opened: PageServer = {
    get url() {
      return `http://127.0.0.1:${port}`;
    },
    caller: { name: 'somebody', role: 'viewer' },
    close: async () => {
      server.close();
      if ('closeAllConnections' in server) server.closeAllConnections();
      await once(server, 'close');
    },
    open: async () => {
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
      ({ port } = server.address() as AddressInfo);
    },
  };
  app.use(async (context, next) => {
    context.set('caller', opened.caller);
    await next();
  });
  app.route('/', assets());
  app.route('/', pageRoutes(daemon, options));
  await opened.open();
  return opened;
}
