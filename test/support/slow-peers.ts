/** Peers of a storage that are slow, or that take a connection and say nothing: proxies in front of a real server. */
import type { Storage } from '@pgark/sdk';
import type { SlowStorage } from '@pgark/sdk/testing';
import { Proxy, type Pace } from './proxy.ts';

/** Milliseconds: long enough for a loaded machine to move a few bytes. */
export const STALL_TIMEOUT = 1000;

/** Milliseconds after which a storage may give up that is never answered. */
export const SILENCE_TIMEOUT = 300;

/** About 25 kB/s in pieces of a few hundred bytes. */
const PACE: Pace = { bytes: 512, pause: 20 };

/** Makes them for one file of tests, which closes them. */
export class SlowPeers {
  readonly #proxies: Proxy[] = [];

  /** Opens a storage behind a peer that takes connections and nothing else. `open` gets the port. */
  async silent(target: number, open: (port: number) => Promise<Storage>): Promise<Storage> {
    const proxy = await this.#listen(target);
    proxy.stall();
    return open(proxy.port);
  }

  /** Opens a storage that gives up after {@link STALL_TIMEOUT} behind a peer that keeps the pace. */
  async slow(target: number, open: (port: number) => Promise<Storage>, pace: Pace = PACE): Promise<SlowStorage> {
    const proxy = await this.#listen(target, pace);
    return {
      storage: await open(proxy.port),
      rate: (pace.bytes / pace.pause) * 1000,
      stallTimeout: STALL_TIMEOUT,
      stop: () => proxy.stall(),
    };
  }

  async close(): Promise<void> {
    await Promise.all(this.#proxies.map((proxy) => proxy.close()));
  }

  async #listen(target: number, pace?: Pace): Promise<Proxy> {
    const proxy = await Proxy.listen({ port: target }, pace === undefined ? {} : { pace });
    this.#proxies.push(proxy);
    return proxy;
  }
}
