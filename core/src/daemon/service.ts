/** Tells the service manager how the daemon is: ready, reloading, stopping, alive, and a line for people. */
import type { Logger } from '../contracts/plugin.ts';
import { pause } from '../receive/backoff.ts';
import type { RunningDaemon } from './open.ts';
import type { ServiceManager } from './service-manager.ts';

export interface ServiceOptions {
  readonly daemon: RunningDaemon;
  readonly manager: ServiceManager;
  readonly logger: Logger;
}

/** Milliseconds after which the service counts as started, though a receiver has not said how it is: the others must not suffer for it. */
const PATIENCE = 60_000;
/** Milliseconds between two looks at whether the line for people is still true. */
const LOOK = 2000;
/** Milliseconds by which the end is put off, and how often that is asked for. */
const PUT_OFF = 15_000;
const PUT_OFF_EVERY = 5000;
/** Clusters that the line names. */
const NAMED = 5;

/** As the line for people has it. */
const STREAMING = 'streaming';
const CALM: ReadonlySet<string> = new Set([STREAMING, 'standing-by']);

export class Service {
  readonly #daemon: RunningDaemon;
  readonly #manager: ServiceManager;
  readonly #logger: Logger;
  readonly #stop = new AbortController();
  readonly #timers: NodeJS.Timeout[] = [];
  #status = '';
  /** Receivers that stood still at the last look. */
  #stuck = '';

  constructor({ daemon, manager, logger }: ServiceOptions) {
    this.#daemon = daemon;
    this.#manager = manager;
    this.#logger = logger;
  }

  begin(): void {
    const { watchdog } = this.#manager;
    // One that is missed is no reason to be killed.
    if (watchdog !== undefined) this.#every(watchdog / 3, () => this.#tellAlive(watchdog / 2));
    this.#every(LOOK, () => this.#tellStatus());
    void this.#tellReady();
  }

  reloading(): void {
    this.#manager.tell('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`, 'STATUS=reading the config');
  }

  /** After a reload, or a failed one, which leaves all as it was; `problem` is what was wrong. */
  reloaded(problem?: string): void {
    this.#status = problem === undefined ? statusLine(this.#daemon) : `the config stays as it was: ${problem}`;
    this.#manager.tell('READY=1', `STATUS=${this.#status}`);
    // It is there to be read for as long as nothing else happens.
    if (problem !== undefined) this.#status = statusLine(this.#daemon);
  }

  /** The daemon ends, within so many milliseconds. */
  stopping(most: number): void {
    const until = performance.now() + most;
    const putOff = (): void => {
      if (performance.now() < until) this.#manager.tell(`EXTEND_TIMEOUT_USEC=${PUT_OFF * 1000}`);
    };
    this.#manager.tell('STOPPING=1', `STATUS=${(this.#status = 'shipping what was received')}`);
    putOff();
    this.#every(PUT_OFF_EVERY, putOff);
  }

  async close(): Promise<void> {
    this.#stop.abort();
    for (const timer of this.#timers) clearInterval(timer);
    await this.#manager.close();
  }

  #every(milliseconds: number, work: () => void): void {
    this.#timers.push(setInterval(work, milliseconds));
  }

  async #tellReady(): Promise<void> {
    await Promise.race([this.#daemon.ready, pause(PATIENCE, this.#stop.signal)]);
    if (this.#daemon.state === 'draining' || this.#stop.signal.aborted) return;
    this.#status = statusLine(this.#daemon);
    this.#manager.tell('READY=1', `STATUS=${this.#status}`);
  }

  #tellStatus(): void {
    const status = statusLine(this.#daemon);
    if (this.#daemon.state !== 'running' || status === this.#status) return;
    this.#status = status;
    this.#manager.tell(`STATUS=${status}`);
  }

  /** Only while the receivers work: this is the main thread, which says nothing of theirs. */
  #tellAlive(limit: number): void {
    const stuck = this.#daemon.stuck(limit).join(', ');
    if (stuck === '') this.#manager.tell('WATCHDOG=1');
    else if (stuck !== this.#stuck)
      this.#logger.error({}, `the receiver of ${stuck} stands still: the watchdog of systemd is not told anything`);
    this.#stuck = stuck;
  }
}

/** One line: how many clusters are received, and what is with the others. */
export function statusLine(daemon: Pick<RunningDaemon, 'clusters' | 'broken' | 'stream'>): string {
  const { clusters, broken } = daemon;
  const states = [...clusters.keys()].map((name) => ({ name, state: daemon.stream(name)?.state ?? 'unknown' }));
  const streaming = states.filter(({ state }) => state === STREAMING).length;
  const all = clusters.size + broken.size;
  const others = [
    ...states.filter(({ state }) => state !== STREAMING),
    ...[...broken.keys()].map((name) => ({ name, state: 'CONFIG_INVALID' })),
  ].sort((left, right) => Number(CALM.has(left.state)) - Number(CALM.has(right.state)));
  const named = others.slice(0, NAMED).map(({ name, state }) => `${name}: ${state}`);
  const more = others.length > NAMED ? [`${others.length - NAMED} more`] : [];
  return [`${streaming} of ${all} ${all === 1 ? 'cluster' : 'clusters'} streaming`, ...named, ...more].join('; ');
}
