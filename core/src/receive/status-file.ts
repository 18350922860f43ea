/** What a running receiver says of itself, for `pgark status` on the same host: a small file beside the spool, written every few seconds. */
import { renameSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { ArchiveEvents } from '../contracts/hook.ts';
import type { Logger } from '../contracts/plugin.ts';
import { formatLsn } from '../postgres/lsn.ts';
import type { ReceiverPosition } from './messages.ts';
import type { Outlet } from './outlet.ts';
import type { Shipper } from './shipper.ts';
import type { TailShipper } from './tail-shipper.ts';

/** LSNs as text, times as ISO text. */
export interface ReceiverStatus {
  readonly format: 1;
  readonly pid: number;
  readonly host: string;
  /** When it was written. */
  readonly time: string;
  readonly started: string;
  /** As the event `wal.state` tells it. */
  readonly state: string;
  readonly since: string;
  readonly message: string;
  readonly slot: string;
  readonly systemId?: string;
  /** Absent while no server is connected. */
  readonly connected?: { readonly host: string; readonly since: string };
  readonly position?: {
    readonly timeline: number;
    readonly received: string;
    /** Durable in the spool. */
    readonly flushed: string;
    readonly serverEnd: string;
    readonly lagBytes: number;
    /** Since it last had all of the server's WAL. */
    readonly lagSeconds: number;
  };
  readonly repositories: readonly {
    readonly name: string;
    /** It has all WAL before, as far as this receiver has it; absent before a segment was opened, and while files wait. */
    readonly shipped?: string;
    /** Files of the spool that it does not have yet. */
    readonly waiting: number;
  }[];
}

export interface StatusFileOptions {
  /** `<spool>/<cluster>`, which exists. */
  readonly folder: string;
  readonly slot: string;
  readonly repositories: () => ReceiverStatus['repositories'];
  readonly logger: Logger;
}

/** What a repository has: all before the first file that it lacks, or what it has of the open segment, which begins at `openedAt`. */
export function shippedOf(
  outlet: Outlet,
  shippers: ReadonlyMap<string, Shipper>,
  tail: TailShipper | undefined,
  openedAt: bigint | undefined,
): ReceiverStatus['repositories'][number] {
  const waiting = [...shippers.values()].reduce((sum, shipper) => sum + shipper.left(outlet), 0);
  const lsn = waiting === 0 ? (tail?.reached(outlet) ?? openedAt) : undefined;
  return { name: outlet.name, waiting, ...(lsn !== undefined && { shipped: formatLsn(lsn) }) };
}

/** The name of the file in the folder of the cluster in the spool. */
export const STATUS_FILE = 'status.json';

/** Milliseconds between two writes. */
const EVERY = 2000;
/** Milliseconds without a sign of life of the thread that receives after which nothing is written: what it said last is not said now. */
const SILENCE = 10_000;

export class StatusFile {
  readonly #options: StatusFileOptions;
  readonly #started = new Date().toISOString();
  readonly #timer: NodeJS.Timeout;
  #state = { state: 'starting', since: this.#started, message: 'the receiver starts' };
  #systemId: string | undefined;
  #connected: ReceiverStatus['connected'];
  #position: ReceiverPosition | undefined;
  #caughtUp = Date.now();
  #failed = false;
  /** When the thread gave a sign of life, by `performance.now()`; undefined once it has ended. */
  #alive: number | undefined = performance.now();

  constructor(options: StatusFileOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.write(), EVERY);
    this.#timer.unref();
    this.write();
  }

  system(systemId: string): void {
    this.#systemId = systemId;
  }

  state({ state, message }: ArchiveEvents['wal.state']): void {
    this.#state = { state, since: new Date().toISOString(), message };
    this.write();
  }

  /** A server is connected, or no longer. */
  connected(host: string | undefined): void {
    this.#connected = host === undefined ? undefined : { host, since: new Date().toISOString() };
    if (host === undefined) this.#position = undefined;
  }

  position(position: ReceiverPosition): void {
    this.#position = position;
    if (position.flushed >= position.serverEnd) this.#caughtUp = Date.now();
  }

  /** The thread that receives works. */
  alive(): void {
    this.#alive = performance.now();
  }

  /** The thread has ended: what is said from now on it need not say. */
  threadEnded(): void {
    this.#alive = undefined;
  }

  /** Writes the last state and ends. */
  close(): void {
    clearInterval(this.#timer);
    this.threadEnded();
    this.connected(undefined);
    this.state({ state: 'stopped', message: 'the receiver was stopped' });
  }

  /** Never throws: a disk that is full must not end the receiver. The write is small, and not made durable. */
  write(): void {
    // Who reads it takes a status that is old for that of a receiver that stands still.
    if (this.#alive !== undefined && performance.now() - this.#alive > SILENCE) return;
    const path = join(this.#options.folder, STATUS_FILE);
    try {
      writeFileSync(`${path}.tmp`, `${JSON.stringify(this.#status(), undefined, 2)}\n`, { mode: 0o600 });
      renameSync(`${path}.tmp`, path);
      this.#failed = false;
    } catch (error) {
      if (!this.#failed) this.#options.logger.debug({ path, error }, 'the status of the receiver was not written');
      this.#failed = true;
    }
  }

  #status(): ReceiverStatus {
    const { slot, repositories } = this.#options;
    return {
      format: 1,
      pid: process.pid,
      host: hostname(),
      time: new Date().toISOString(),
      started: this.#started,
      ...this.#state,
      slot,
      ...(this.#systemId !== undefined && { systemId: this.#systemId }),
      ...(this.#connected !== undefined && { connected: this.#connected }),
      ...(this.#position !== undefined && { position: this.#shown(this.#position) }),
      repositories: repositories(),
    };
  }

  #shown({ timeline, received, flushed, serverEnd }: ReceiverPosition): NonNullable<ReceiverStatus['position']> {
    const lag = serverEnd > flushed ? serverEnd - flushed : 0n;
    return {
      timeline,
      received: formatLsn(received),
      flushed: formatLsn(flushed),
      serverEnd: formatLsn(serverEnd),
      lagBytes: Number(lag),
      lagSeconds: lag === 0n ? 0 : Math.round((Date.now() - this.#caughtUp) / 1000),
    };
  }
}
