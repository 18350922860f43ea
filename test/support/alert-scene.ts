/**
 * A real daemon whose metrics a real Prometheus scrapes, and the alert rules of the docs. A test makes a condition true, and says which alerts
 * fire then: these and no others.
 */
import { expect } from 'vitest';
import type { ConfigValue } from '../../core/src/config/load.ts';
import type { Archive } from '../../core/src/archive/archive.ts';
import type { DaemonCluster } from '../../core/src/daemon/daemon.ts';
import { serveHttp } from '../../core/src/daemon/http/serve-http.ts';
import { Metrics } from '../../core/src/daemon/metrics/metrics.ts';
import type { OpenDaemonOptions } from '../../core/src/daemon/open.ts';
import type { RunRequest } from '../../core/src/schedule/run.ts';
import { sectionFor, streamIs, testDaemon, type TestDaemon } from './daemon.ts';
import { freePort } from './free-port.ts';
import { later } from './later.ts';
import { hasPrometheus, NO_PROMETHEUS } from './prometheus.ts';
import { RunningPrometheus, type Alert } from './running-prometheus.ts';
import { rulesOf, shortenedRules } from './shortened-rules.ts';
import { silentLogger } from './silent-logger.ts';
import { until } from './until.ts';

/** Why a test of alerts may not run. */
export const WHY: string = `PGARK_TEST_FULL=1; ${NO_PROMETHEUS}`;
export const isWanted: boolean = process.env['PGARK_TEST_FULL'] === '1' && hasPrometheus;
/** Of a test that waits for one alert after the other. */
export const LONG = { timeout: 900_000 } as const;

/** What the tests of a file have seen. */
const seen = { fired: new Set<string>(), cleared: new Set<string>() };

export interface AlertSceneOptions extends Partial<OpenDaemonOptions> {
  /** Of the server of cluster `main`. */
  readonly url: string;
  /** More of the section of cluster `main`. */
  readonly cluster?: (folder: string) => object;
  /** Other clusters. */
  readonly others?: (folder: string) => Readonly<Record<string, ConfigValue>>;
  /** More of the section `daemon`. */
  readonly daemon?: object;
  /** Rules that keep their own times in this scene, as what it does takes longer than the shortened ones. */
  readonly ownTimes?: readonly string[];
}

/** The daemon looks once a second, and each look lists everything. */
export class AlertScene {
  readonly opened: TestDaemon;
  readonly prometheus: RunningPrometheus;
  /** At first Prometheus has not found its target yet. */
  #expected: readonly string[] = ['PgarkAbsent'];

  private constructor(opened: TestDaemon, prometheus: RunningPrometheus) {
    this.opened = opened;
    this.prometheus = prometheus;
  }

  /** It ends with the test. */
  static async open(options: AlertSceneOptions): Promise<AlertScene> {
    const { url, cluster, others, daemon: section, ownTimes, ...rest } = options;
    const port = await freePort();
    let metrics: Metrics | undefined;
    later(undefined, () => metrics?.close());
    const opened = await testDaemon(
      (folder) => ({
        main: {
          ...(sectionFor(folder, 'main', url) as object),
          status: { cacheAge: 'off' },
          ...cluster?.(folder),
        },
        ...others?.(folder),
      }),
      {
        section: { listen: `127.0.0.1:${port}`, openMetrics: true, ...section },
        http: async (daemon) => {
          if (daemon.config.listen === undefined) return undefined;
          metrics ??= new Metrics(daemon);
          return serveHttp({ daemon, secrets: { env: {}, directory: '/' }, logger: silentLogger, metrics });
        },
        ...rest,
      },
    );
    await streamIs(opened, 'main', 'streaming');
    const { folder } = opened;
    return new AlertScene(opened, await RunningPrometheus.start({ folder, port, rules: shortenedRules(ownTimes) }));
  }

  /** As it is now: a reload makes another one. */
  get cluster(): DaemonCluster {
    const found = this.opened.daemon.clusters.get('main');
    if (found === undefined) throw new Error('there is no cluster main');
    return found;
  }

  get archive(): Archive {
    return this.cluster.archive;
  }

  /** Reads another config: what is given of the section of cluster `main`, and of `daemon`, takes the place of what was there. */
  async reload({ main = {}, daemon = {} }: { readonly main?: object; readonly daemon?: object }): Promise<void> {
    const { config } = this.opened;
    const value = config.value as { readonly clusters: { readonly main: object }; readonly daemon: object };
    config.value = {
      clusters: { main: { ...value.clusters.main, ...main } },
      daemon: { ...value.daemon, ...daemon },
    };
    await this.opened.daemon.reload();
  }

  /**
   * Waits until exactly these fire, and no other one is about to. Until then some of those may fire that were expected before; one that is
   * neither now nor was is a failure.
   */
  async fires(...names: readonly string[]): Promise<void> {
    const before = this.#expected;
    this.#expected = names;
    const allowed = new Set([...before, ...names]);
    let last: readonly Alert[] = [];
    const told = (state: Alert['state']): readonly string[] =>
      [...new Set(last.filter((one) => one.state === state).map(({ labels }) => labels['alertname'] ?? ''))].sort();
    await until(
      `fires: ${names.join(', ') || 'nothing'}`,
      async () => {
        last = await this.prometheus.alerts();
        for (const { annotations, state, labels } of last) {
          if (state === 'firing' && !allowed.has(labels['alertname'] ?? ''))
            throw new Error(`fires, but should not: ${JSON.stringify({ labels, annotations })}\n${this.#logs()}`);
          const broken = Object.values(annotations).find((text) => /error|no value|NaN/i.test(text));
          if (broken !== undefined) throw new Error(`an alert says: ${broken}`);
        }
        return told('firing').join() === [...names].sort().join() && told('pending').length === 0;
      },
      () => `firing ${told('firing').join()}, pending ${told('pending').join()}\n${this.#logs()}`,
    );
    for (const name of names) seen.fired.add(name);
    for (const name of before) if (!names.includes(name)) seen.cleared.add(name);
  }

  /** Begins a run, once this daemon runs the jobs. Gives its id. */
  async start(kind: RunRequest['kind']): Promise<string> {
    await until(
      'the scheduler runs',
      () => this.cluster.scheduler.state.state === 'running',
      () => JSON.stringify(this.cluster.scheduler.state),
    );
    return (await this.cluster.scheduler.start({ kind, by: 'somebody' })).id;
  }

  /** Waits until an expression of Prometheus has a value, while nothing else fires than before. */
  async sees(expression: string): Promise<void> {
    await until(
      expression,
      async () => (await this.prometheus.values(expression)).length > 0,
      () => this.#logs(),
    );
    await this.fires(...this.#expected);
  }

  #logs(): string {
    const { logs } = this.opened;
    return logs
      .filter((line) => !line.startsWith('debug'))
      .slice(-20)
      .join('\n');
  }
}

/** At the end of a file: each rule of the group was seen firing when it should, and clearing after, but those that cannot be driven on this host. */
export function expectWholeGroup(group: string, undriven: readonly string[] = []): void {
  const names = rulesOf(group)
    .filter((name) => !undriven.includes(name))
    .sort();
  const of = (set: ReadonlySet<string>): readonly string[] => names.filter((name) => set.has(name));
  expect(of(seen.fired)).toEqual(names);
  expect(of(seen.cleared)).toEqual(names);
}
