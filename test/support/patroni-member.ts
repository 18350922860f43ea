/** The part of Patroni's REST API that pgark asks: 200 for `GET /primary` with the lock of the leader, 503 without, as its documentation says. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';

export class PatroniMember {
  readonly url: string;
  leads: boolean;
  readonly #server: Server;

  private constructor(server: Server, url: string, leads: boolean) {
    this.#server = server;
    this.url = url;
    this.leads = leads;
    server.on('request', (request, response) => {
      const status = request.url === '/primary' ? (this.leads ? 200 : 503) : 404;
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ state: 'running', role: this.leads ? 'primary' : 'replica', timeline: 1 }));
    });
  }

  /** `host` is a name of this machine, and stands in the URL. */
  static async start(host: string, leads: boolean): Promise<PatroniMember> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    return new PatroniMember(server, `http://${host}:${address.port}`, leads);
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
