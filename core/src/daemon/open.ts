/** The supervisor: everything that a config asks for, for all of its clusters, kept running until it is told to stop. */
import { hostname } from 'node:os';
import { errorOf } from '../archive/telling.ts';
import type { OpenArchiveOptions } from '../archive/open.ts';
import type { Config, DaemonConfig } from '../config/config.ts';
import type { LoadedConfig, LoadedSection } from '../config/load.ts';
import { ArchiveError } from '../contracts/errors.ts';
import type { Logger } from '../contracts/plugin.ts';
import { within } from '../receive/backoff.ts';
import { Line } from '../storage/line.ts';
import { VERSION } from '../version.ts';
import { Cluster, type OpenScheduler } from './cluster.ts';
import type { Daemon, DaemonCluster, DaemonObserver } from './daemon.ts';
import { KeptServer, type OpenHttp } from './kept-server.ts';
import { Observers } from './observers.ts';
import { PACE, type Pace } from './pace.ts';
import { isSame, isSameSection } from './section.ts';

export interface OpenDaemonOptions extends Pick<OpenArchiveOptions, 'plugins' | 'command'> {
  /** Reads the config, at the start and at each reload: `loadSections`. */
  readonly load: () => Promise<readonly LoadedSection[]>;
  /** Told what the command line writes to stderr. Default: nothing is told. */
  readonly logger?: Logger;
  /** The log of one cluster. Default: `logger`. */
  readonly loggerOf?: (config: Config) => Promise<Logger>;
  /** Begins the jobs of a cluster. Default: `Archive.openScheduler`. */
  readonly openScheduler?: OpenScheduler;
  /** Begins to answer over HTTP; undefined when the config wants no answers. */
  readonly http?: OpenHttp;
  readonly pace?: Partial<Pace>;
}

/** What a reload came to, by names of clusters. */
export interface Reloaded {
  readonly begun: readonly string[];
  readonly ended: readonly string[];
  readonly restarted: readonly string[];
  readonly unchanged: readonly string[];
  /** Those that could not be begun by what the config says now. One that was there before goes on as it was; of another one `broken` says why. */
  readonly failed: readonly string[];
}

export interface RunningDaemon extends Daemon {
  /** Resolves when each receiver streams, or waits for a reason that it has told. */
  readonly ready: Promise<void>;
  /** Resolves when everything has ended after `close`. */
  readonly done: Promise<void>;
  /** How the stream of a cluster is, in a word and a line: a state of `wal.state`, or the code of what ended the receiver. */
  stream(cluster: string): { readonly state: string; readonly message: string } | undefined;
  /** Takes note of a fault that nobody has caught, of pgark or of a plugin: it is logged, told to observers, and ends nothing. */
  fault(error: unknown): void;
  /**
   * Reads the config anew. Clusters that are new are begun, those that are gone are drained, those whose section has changed are begun anew, one
   * after the other; all others go on untouched, and what of them is in trouble is tried now. Tokens and certificates are read anew.
   *
   * Errors: `CONFIG_INVALID` with every problem, `CONFIG_NOT_FOUND`: all stays as it was then. `ABORTED` once the daemon is being stopped.
   */
  reload(): Promise<Reloaded>;
  /**
   * Ends in order: no more runs, WAL flushed, acknowledged and shipped within so many milliseconds (default `daemon.drain`), HTTP last. Never
   * fails; a second call joins the first.
   */
  close(grace?: number): Promise<void>;
}

/** Clusters that are looked at at once: hundreds must not list their storages at the same time. */
const LOOKS = 4;
/** Milliseconds after which a receiving thread stands still. */
const STUCK = 30_000;

const SILENT: Logger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

/**
 * Begins everything that the config asks for. A cluster whose section is not valid, whose secret cannot be read or whose server is away keeps
 * no other one from beginning. Errors: `CONFIG_NOT_FOUND`, and `CONFIG_INVALID` when no cluster can be begun.
 */
export async function openDaemon(options: OpenDaemonOptions): Promise<RunningDaemon> {
  const sections = await options.load();
  const [first] = sections.flatMap((section) => ('loaded' in section ? [section.loaded.config.daemon] : []));
  if (first === undefined) throw problemOf(sections);
  const supervisor = new Supervisor(options, first);
  await supervisor.begin(sections);
  return supervisor;
}

function problemOf(sections: readonly LoadedSection[]): ArchiveError {
  const [error] = sections.flatMap((section) => ('error' in section ? [section.error] : []));
  return error ?? new ArchiveError('CONFIG_INVALID', 'the config has no cluster');
}

class Supervisor implements RunningDaemon {
  readonly version = VERSION;
  readonly host: string = hostname();
  readonly started: number = Date.now();
  readonly ready: Promise<void>;
  readonly done: Promise<void>;
  readonly #options: OpenDaemonOptions;
  readonly #logger: Logger;
  readonly #pace: Pace;
  readonly #observers: Observers;
  readonly #line = new Line(LOOKS, 'looking at a cluster');
  readonly #http: KeptServer | undefined;
  #state: Daemon['state'] = 'starting';
  #config: DaemonConfig;
  #clusters: ReadonlyMap<string, Cluster> = new Map();
  #broken: ReadonlyMap<string, ArchiveError> = new Map();
  #isReady!: () => void;
  #isDone!: () => void;
  #closing: Promise<void> | undefined;
  /** Reloads come one after the other. */
  #reloading: Promise<unknown> = Promise.resolve();

  constructor(options: OpenDaemonOptions, config: DaemonConfig) {
    const { logger = SILENT, http, pace } = options;
    this.#options = options;
    this.#config = config;
    this.#logger = logger;
    this.#pace = { ...PACE, ...pace };
    this.#observers = new Observers(logger);
    this.ready = new Promise((resolve) => (this.#isReady = resolve));
    this.done = new Promise((resolve) => (this.#isDone = resolve));
    if (http !== undefined) this.#http = new KeptServer({ open: () => http(this), logger, pace: this.#pace });
    this.observe({ event: () => this.#settle(), part: () => this.#settle() });
  }

  get config(): DaemonConfig {
    return this.#config;
  }

  get state(): Daemon['state'] {
    return this.#state;
  }

  get clusters(): ReadonlyMap<string, DaemonCluster> {
    return this.#clusters;
  }

  get broken(): ReadonlyMap<string, ArchiveError> {
    return this.#broken;
  }

  observe(observer: DaemonObserver): () => void {
    return this.#observers.add(observer);
  }

  stuck(milliseconds: number = STUCK): readonly string[] {
    return [...this.#clusters.values()].flatMap((cluster) => (cluster.isStuck(milliseconds) ? [cluster.name] : []));
  }

  stream(cluster: string): { readonly state: string; readonly message: string } | undefined {
    return this.#clusters.get(cluster)?.stream;
  }

  fault(error: unknown): void {
    const stack = error instanceof Error ? { stack: error.stack } : {};
    const failure = errorOf(error);
    this.#logger.error(
      { code: failure.code, ...stack },
      `a fault of pgark or of a plugin, which goes on: ${failure.message}`,
    );
    this.#observers.tell('fault', failure);
  }

  /** Begins the clusters of the config, and HTTP. */
  async begin(sections: readonly LoadedSection[]): Promise<void> {
    const clusters = new Map<string, Cluster>();
    const broken = new Map<string, ArchiveError>();
    for (const section of sections) {
      try {
        if ('error' in section) throw section.error;
        clusters.set(section.name, await this.#open(section.loaded));
      } catch (error) {
        const failure = errorOf(error);
        broken.set(section.name, failure);
        this.#logger.error({ cluster: section.name, code: failure.code }, `it is not begun: ${failure.message}`);
      }
    }
    this.#clusters = clusters;
    this.#broken = broken;
    for (const cluster of clusters.values()) cluster.begin();
    await this.#http?.begin();
  }

  reload(): Promise<Reloaded> {
    const reloading = this.#reloading.then(() => this.#reload());
    this.#reloading = reloading.catch(() => undefined); // who has asked is told
    return reloading;
  }

  close(grace: number = this.#config.drain): Promise<void> {
    return (this.#closing ??= this.#close(grace));
  }

  async #close(grace: number): Promise<void> {
    this.#state = 'draining';
    // It begins nothing more by now; what it waits for may hang.
    await within(
      this.#pace.closing,
      this.#reloading.then(() => undefined),
    );
    await Promise.all([...this.#clusters.values()].map((cluster) => cluster.close(grace)));
    await this.#http?.close();
    this.#isReady();
    this.#isDone();
  }

  async #open(loaded: LoadedConfig): Promise<Cluster> {
    const { loggerOf, openScheduler, plugins, command } = this.#options;
    return Cluster.open({
      loaded,
      config: () => this.#config,
      ...(openScheduler === undefined ? {} : { openScheduler }),
      ...(plugins === undefined ? {} : { plugins }),
      ...(command === undefined ? {} : { command }),
      observers: this.#observers,
      line: this.#line,
      logger: (await loggerOf?.(loaded.config)) ?? this.#logger,
      pace: this.#pace,
    });
  }

  async #reload(): Promise<Reloaded> {
    this.#throwIfClosing();
    const sections = await this.#options.load();
    this.#throwIfClosing();
    if (sections.some((section) => 'error' in section) || sections.length === 0) throw problemOf(sections);
    const loaded = sections.flatMap((section) => ('loaded' in section ? [section.loaded] : []));
    const names = new Set(loaded.map(({ config }) => config.cluster));
    const ended = [...this.#clusters.values()].filter(({ name }) => !names.has(name));
    const changed = loaded.filter(({ config }) => {
      const old = this.#clusters.get(config.cluster);
      return old !== undefined && !isSameSection(old.loaded.config, config);
    });
    const added = loaded.filter(({ config }) => !this.#clusters.has(config.cluster));
    const old = this.#config;
    this.#config = loaded[0]?.config.daemon ?? old;
    this.#broken = new Map();
    const unchanged = [...this.#clusters.keys()].filter(
      (name) => names.has(name) && !changed.some(({ config }) => config.cluster === name),
    );
    for (const name of unchanged) await this.#clusters.get(name)?.refresh();
    for (const cluster of ended) {
      if (this.#closing !== undefined) break;
      await cluster.close(this.#config.drain);
      this.#put(cluster.name, undefined, loaded);
    }
    const failed = new Set<string>();
    for (const section of [...changed, ...added])
      if (!(await this.#exchange(section, loaded))) failed.add(section.config.cluster);
    if (this.#closing === undefined)
      await this.#http?.reload({ anew: !isSame(listening(old), listening(this.#config)) });
    const done = (sections: readonly LoadedConfig[]): readonly string[] =>
      sections.flatMap(({ config }) => (failed.has(config.cluster) ? [] : [config.cluster]));
    return {
      begun: done(added),
      ended: ended.map(({ name }) => name),
      restarted: done(changed),
      unchanged,
      failed: [...failed],
    };
  }

  /** Begins a cluster as its section says now, in place of the one that was there; gives whether it could. Never throws. */
  async #exchange(section: LoadedConfig, order: readonly LoadedConfig[]): Promise<boolean> {
    const { cluster: name } = section.config;
    if (this.#closing !== undefined) return false;
    const before = this.#clusters.get(name);
    let cluster: Cluster;
    try {
      cluster = await this.#open(section);
    } catch (error) {
      const failure = errorOf(error);
      // Whatever is wrong with the new section, no receiver ends for it.
      if (before === undefined) this.#broken = new Map([...this.#broken, [name, failure]]);
      const what = before === undefined ? 'it is not begun' : 'it goes on as it was';
      this.#logger.error({ cluster: name, code: failure.code, hint: failure.hint }, `${what}: ${failure.message}`);
      return false;
    }
    if (this.#closing === undefined) await before?.close(this.#config.drain);
    if (this.#closing !== undefined) {
      await cluster.archive.close().catch(() => undefined); // it was not begun
      return false;
    }
    this.#put(name, cluster, order);
    cluster.begin();
    return true;
  }

  #throwIfClosing(): void {
    if (this.#closing !== undefined) throw new ArchiveError('ABORTED', 'the daemon is being stopped');
  }

  /** In the order of the config; whoever holds the old map is not disturbed. */
  #put(name: string, cluster: Cluster | undefined, order: readonly LoadedConfig[]): void {
    const all = new Map(this.#clusters);
    if (cluster === undefined) all.delete(name);
    else all.set(name, cluster);
    const names = [...new Set([...order.map(({ config }) => config.cluster), ...all.keys()])];
    this.#clusters = new Map(names.flatMap((each) => (all.has(each) ? [[each, all.get(each) as Cluster]] : [])));
  }

  #settle(): void {
    if (this.#state !== 'starting' || ![...this.#clusters.values()].every(({ isSettled }) => isSettled)) return;
    this.#state = 'running';
    this.#isReady();
  }
}

/** What of the config the HTTP server is made of. Names and tokens it reads anew, so that sessions last whose token does. */
function listening({ listen, tls, clientRole, openMetrics, peers }: DaemonConfig): unknown {
  return { listen, tls, clientRole, openMetrics, peers };
}
