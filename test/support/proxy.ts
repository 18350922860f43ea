/** A TCP proxy on loopback that can break connections the ways networks do. */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** How slowly bytes go in each direction of a connection: so many at a time, then a pause of so many milliseconds. */
export interface Pace {
  readonly bytes: number;
  readonly pause: number;
}

/** Who connects to {@link Proxy.port} talks to the target. */
export class Proxy {
  readonly #server: Server;
  readonly #pairs = new Set<readonly [client: Socket, server: Socket]>();
  #stalled = false;
  #refusing = false;
  /** Connections accepted so far. */
  connections = 0;
  /** Connections turned away so far. */
  refused = 0;
  /** Bytes forwarded from the target so far. */
  received = 0;

  private constructor(target: { readonly port: number; readonly host?: string }, pace: Pace | undefined) {
    this.#server = createServer((client) => {
      if (this.#refusing) {
        this.refused += 1;
        client.destroy();
        return;
      }
      this.connections += 1;
      const server = connect(target.port, target.host ?? '127.0.0.1');
      const pair = [client, server] as const;
      this.#pairs.add(pair);
      if (pace === undefined) server.on('data', (bytes) => (this.received += bytes.length));
      for (const [from, to] of [
        [client, server],
        [server, client],
      ] as const) {
        from.setNoDelay(true);
        if (pace === undefined) from.pipe(to);
        else void this.#drip(from, to, pace);
        from.on('error', () => undefined); // both ends are cut on purpose
        from.on('close', () => {
          // What came before an orderly end still drips.
          if (pace === undefined || !from.readableEnded || this.#stalled) to.destroy();
          if (to.destroyed) this.#pairs.delete(pair);
        });
      }
      if (this.#stalled) this.stall();
    });
  }

  /** Listens on a free port and forwards to the target, at `pace` if there is one: such a one can be stalled and not resumed. */
  static async listen(
    target: { readonly port: number; readonly host?: string },
    options: { readonly pace?: Pace } = {},
  ): Promise<Proxy> {
    const proxy = new Proxy(target, options.pace);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  async #drip(from: Socket, to: Socket, { bytes, pause }: Pace): Promise<void> {
    try {
      for await (const data of from) {
        for (let rest = data as Buffer; rest.byteLength > 0; rest = rest.subarray(bytes)) {
          await sleep(pause);
          if (this.#stalled) await new Promise(() => undefined);
          to.write(rest.subarray(0, bytes));
        }
      }
      to.end();
    } catch {
      // The connection was cut: the other end is closed by the listener of "close".
    }
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the proxy does not listen');
    return address.port;
  }

  /** How many connections are open. */
  get open(): number {
    return this.#pairs.size;
  }

  /** Cuts every connection; gives how many there were. New ones are still accepted, unless `refuse` is set. */
  cut(options: { readonly refuse?: boolean } = {}): number {
    this.#refusing = options.refuse ?? false;
    const count = this.#pairs.size;
    for (const [client, server] of this.#pairs) {
      client.resetAndDestroy();
      server.resetAndDestroy();
    }
    return count;
  }

  /** Forwards nothing more in either direction, keeping every connection open: a peer that is gone without a word. */
  stall(): void {
    this.#stalled = true;
    for (const pair of this.#pairs) {
      for (const socket of pair) {
        socket.unpipe();
        socket.pause();
      }
    }
  }

  /** Forwards again, also what came meanwhile, and accepts connections again. */
  resume(): void {
    this.#refusing = false;
    if (!this.#stalled) return;
    this.#stalled = false;
    for (const [client, server] of this.#pairs) {
      client.pipe(server);
      server.pipe(client);
    }
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.cut();
    await closed;
  }
}
