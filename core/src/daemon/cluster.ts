/** Everything that the daemon does for one cluster. */
import type { Archive } from '../archive/archive.ts';
import type { SchedulerCall } from '../archive/schedule.ts';
import { openArchive, type OpenArchiveOptions } from '../archive/open.ts';
import { errorOf } from '../archive/telling.ts';
import type { DaemonConfig } from '../config/config.ts';
import type { LoadedConfig } from '../config/load.ts';
import type { ArchiveEvents, EventSink } from '../contracts/hook.ts';
import type { Logger } from '../contracts/plugin.ts';
import { pause, unlessAborted, within } from '../receive/backoff.ts';
import type { RunSink, Scheduler } from '../schedule/run.ts';
import type { ReceiverState } from '../status/receiver-state.ts';
import type { Line } from '../storage/line.ts';
import type { DaemonCluster, Look, PartReport, SeenEvent, StreamSample } from './daemon.ts';
import { KeptScheduler } from './kept-scheduler.ts';
import { Looker } from './looker.ts';
import type { Observers } from './observers.ts';
import type { Pace } from './pace.ts';
import { Part, type PartRun } from './part.ts';
import { Ring } from './ring.ts';
import { StreamSamples } from './stream-samples.ts';

/** Begins the jobs of an archive, and tells of its runs and events; another clock by which they are due can be added here. */
export type OpenScheduler = (archive: Archive, call: SchedulerCall) => Promise<Scheduler>;

export interface ClusterOptions extends Pick<OpenArchiveOptions, 'plugins' | 'command'> {
  readonly loaded: LoadedConfig;
  /** That of the daemon now: a reload may change it. */
  readonly config: () => DaemonConfig;
  /** Begins its jobs. Default: `Archive.openScheduler`. */
  readonly openScheduler?: OpenScheduler;
  readonly observers: Observers;
  /** For looks: so many clusters are looked at at once. */
  readonly line: Line;
  readonly logger: Logger;
  readonly pace: Pace;
}

/** Events that are kept. */
const EVENTS = 200;
/** States of a receiver that has not come to anything yet. */
const UNSETTLED: ReadonlySet<string> = new Set(['starting', 'connecting']);
/** Events after which a list of backups, or what is on record of them, may be another one. */
const OF_BACKUPS = /^(?:backup|expire|verify|drill|copy|wal\.gap)\b/;
/** States of a receiver in which nothing is wrong. */
const CALM: ReadonlySet<string> = new Set([...UNSETTLED, 'streaming', 'standing-by']);

export class Cluster implements DaemonCluster {
  readonly name: string;
  readonly loaded: LoadedConfig;
  readonly archive: Archive;
  readonly scheduler: KeptScheduler;
  readonly #options: ClusterOptions;
  readonly #logger: Logger;
  readonly #looker: Looker;
  readonly #samples = new StreamSamples();
  readonly #events = new Ring<SeenEvent>(EVENTS);
  readonly #receiver: Part;
  readonly #scheduling: Part;
  #walServer: Part | undefined;
  #reloadWalServer: (() => Promise<void>) | undefined;
  readonly #stop = new AbortController();
  /** As the receiver told it last. */
  #stream = { state: 'starting', message: 'the receiver starts' };
  #said: ReceiverState | undefined;
  /** When the receiving thread gave a sign of life, by `performance.now()`; undefined while there is none. */
  #alive: number | undefined;
  /** Until when the receiver may ship once it was asked to end, by `performance.now()`. */
  #drainUntil: number | undefined;

  private constructor(archive: Archive, options: ClusterOptions) {
    const { loaded, observers, line, logger, config, pace } = options;
    this.#options = options;
    this.#logger = logger;
    this.archive = archive;
    this.loaded = loaded;
    this.name = loaded.config.cluster;
    this.scheduler = new KeptScheduler(this.name);
    this.#looker = new Looker({
      cluster: this.name,
      archive,
      line,
      refresh: () => config().refresh,
      deadline: pace.look,
      soon: pace.soon,
      onLook: (look) => observers.tell('looked', this.name, look),
      logger,
    });
    this.#receiver = this.#part('receiver', (run) => this.#receive(run));
    this.#scheduling = this.#part('scheduler', (run) => this.#schedule(run));
  }

  /** Opens the archive. Nothing is begun. */
  static async open(options: ClusterOptions): Promise<Cluster> {
    const { loaded, observers, logger, plugins, command } = options;
    const { cluster } = loaded.config;
    const archive = await openArchive({
      config: loaded,
      logger,
      ...(plugins === undefined ? {} : { plugins }),
      ...(command === undefined ? {} : { command }),
      onStorageCall: (repository, call) => observers.tell('storageCall', cluster, repository, call),
      onMetric: (sample) => observers.tell('metric', cluster, sample),
      onDelivery: (delivery) => observers.tell('delivery', cluster, delivery),
    });
    return new Cluster(archive, options);
  }

  begin(): void {
    this.#receiver.begin();
    this.#scheduling.begin();
    this.serve();
    this.#looker.begin();
    void this.#sample();
  }

  /** Gives WAL to other hosts, or no longer, as the config says now. */
  serve(): void {
    const { serveWal } = this.#options.config();
    if (serveWal === (this.#walServer !== undefined)) return;
    const old = this.#walServer;
    this.#walServer = serveWal ? this.#part('wal-server', (run) => this.#serve(run)) : undefined;
    this.#walServer?.begin();
    void old?.stop(this.#serverTime);
  }

  /** Tries now what has failed, with secrets read anew, and reads token and certificates of the WAL server. A receiver that streams is left alone. */
  async refresh(): Promise<void> {
    if (this.#receiver.report.state === 'failed' || !CALM.has(this.#stream.state)) this.#receiver.renew();
    for (const part of [this.#scheduling, this.#walServer]) if (part?.report.state === 'failed') part.renew();
    this.serve();
    // By what the config says now it may be due long before.
    this.#looker.soon();
    try {
      await this.#reloadWalServer?.();
    } catch (error) {
      this.#logger.error({ error: errorOf(error) }, 'token and certificates of the WAL server stay as they were');
    }
  }

  /** As the event `wal.state` told it last. */
  get stream(): { readonly state: string; readonly message: string } {
    const { state, error } = this.#receiver.report;
    return state === 'failed' && error !== undefined ? { state: error.code, message: error.message } : this.#stream;
  }

  /** Whether the receiver streams, or waits for a reason that it has told. */
  get isSettled(): boolean {
    return !UNSETTLED.has(this.stream.state);
  }

  /** Whether the receiving thread has given no sign of life for so many milliseconds. */
  isStuck(milliseconds: number): boolean {
    return this.#alive !== undefined && performance.now() - this.#alive > milliseconds;
  }

  parts(): readonly PartReport[] {
    return [this.#receiver, this.#scheduling, this.#walServer].flatMap((part) => part?.report ?? []);
  }

  receiver(): ReceiverState | undefined {
    return this.#said;
  }

  latest(): Look | undefined {
    return this.#looker.latest;
  }

  look(): Promise<Look> {
    return this.#looker.look();
  }

  samples(): readonly StreamSample[] {
    return this.#samples.items;
  }

  events(): readonly SeenEvent[] {
    return this.#events.items;
  }

  /**
   * Ends everything in order: no more runs, the last bytes flushed, acknowledged and shipped within so many milliseconds, then the rest. What
   * hangs is left behind. Never throws.
   */
  async close(grace: number): Promise<void> {
    const { pace } = this.#options;
    this.#looker.stop();
    // Runs may need the receiver, such as a backup that waits for its WAL.
    await this.#scheduling.stop(pace.runs + pace.cancelled);
    this.#drainUntil = performance.now() + grace;
    await Promise.all([this.#receiver.stop(grace + pace.late), this.#walServer?.stop(this.#serverTime)]);
    this.#stop.abort();
    let failure: unknown;
    const closing = this.archive.close().catch((error: unknown) => (failure = error));
    await within(
      pace.closing,
      closing.then(() => undefined),
    );
    if (failure !== undefined) this.#logger.warn({ error: errorOf(failure) }, 'the archive was not closed cleanly');
  }

  /** Milliseconds in which the WAL server has to end. */
  get #serverTime(): number {
    const { closing, late } = this.#options.pace;
    return closing + late;
  }

  #part(name: PartReport['name'], run: (run: PartRun) => Promise<void>): Part {
    const { observers, pace } = this.#options;
    const onReport = (report: PartReport): void => observers.tell('part', this.name, report);
    return new Part({ name, run, onReport, logger: this.#logger, pace });
  }

  async #receive({ signal, running }: PartRun): Promise<void> {
    this.#stream = { state: 'starting', message: 'the receiver starts' };
    try {
      await this.archive.receive({
        signal,
        onEvent: this.#onEvent,
        stopTimeout: () => {
          // The thread has ended. That it says nothing while the rest is shipped is no standstill, for which the process would be ended.
          this.#alive = undefined;
          return this.#shippingTime();
        },
        onAlive: () => {
          if (this.#alive === undefined) running();
          this.#alive = performance.now();
        },
      });
    } finally {
      this.#alive = undefined;
    }
  }

  /** Milliseconds that a receiver gets to ship when it ends. */
  #shippingTime(): number {
    if (this.#drainUntil === undefined) return this.#options.pace.failedShipping;
    return Math.max(0, this.#drainUntil - performance.now());
  }

  async #schedule({ signal, running }: PartRun): Promise<void> {
    const {
      observers,
      pace,
      openScheduler = (archive, call): Promise<Scheduler> => archive.openScheduler(call),
    } = this.#options;
    const onRun: RunSink = (run) => {
      this.#looker.changed();
      observers.tell('run', this.name, run);
    };
    const opening = openScheduler(this.archive, { onRun, onEvent: this.#onEvent });
    const scheduler = await unlessAborted(signal, opening, 'beginning the jobs').catch((error: unknown) => {
      // What is opened too late is nobody's.
      opening.then((late) => late.close()).catch(() => undefined);
      throw error;
    });
    this.scheduler.use(scheduler);
    running();
    await untilAborted(signal);
    try {
      await scheduler.close(pace.runs);
    } finally {
      this.scheduler.use('it has ended');
    }
  }

  async #serve({ signal, running }: PartRun): Promise<void> {
    const server = await this.archive.serve({ signal });
    this.#reloadWalServer = () => server.reload();
    running();
    this.#logger.info({}, `serving WAL at ${server.url}`);
    await untilAborted(signal);
    this.#reloadWalServer = undefined;
    await server.close(this.#options.pace.closing);
  }

  /** Never throws: who reports may be the receiver. */
  readonly #onEvent: EventSink = (name, data) => {
    const seen: SeenEvent = { time: Date.now(), name, data };
    if (name === 'wal.state') this.#takeState(data as ArchiveEvents['wal.state']);
    if (OF_BACKUPS.test(name)) this.#looker.changed();
    // There is one for each segment: nothing else would be left to see.
    if (name !== 'wal.shipped') this.#events.add(seen);
    this.#options.observers.tell('event', this.name, seen);
  };

  #takeState({ state, message, repository }: ArchiveEvents['wal.state']): void {
    // A storage that is away keeps a receiver from beginning that has nothing yet: then this is what it waits for.
    if (repository === undefined || (UNSETTLED.has(this.#stream.state) && state !== 'shipping'))
      this.#stream = { state, message };
  }

  async #sample(): Promise<void> {
    const { config, pace } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        this.#said = await this.archive.receiver({ signal });
        this.#samples.take(this.#said);
      } catch (error) {
        if (!signal.aborted) this.#logger.debug({ error: errorOf(error) }, 'the receiver was not asked');
      }
      await pause(Math.min(config().refresh, pace.sample), signal);
    }
  }
}

async function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
