/** The metrics of a daemon, as Prometheus reads them. */
import type { Daemon, DaemonCluster, Look } from '../daemon.ts';
import { archiveReadings, configReadings } from './archive-readings.ts';
import { Counted } from './counted.ts';
import { Families } from './families.ts';
import { processMetrics } from './process-metrics.ts';
import { oneOf, reading, type Reading } from './reading.ts';
import { streamReadings } from './stream-readings.ts';
import { lookReadings, partReadings, workReadings } from './work-readings.ts';

/** So many refreshes after a look, and as many times as long as it took, what it saw says nothing of now. */
const STALE = 4;

const STATES: readonly Daemon['state'][] = ['starting', 'running', 'draining'];

export interface MetricsOptions {
  /** For tests. */
  readonly now?: () => number;
}

/**
 * Watches a daemon until it is closed, and says what is known when it is asked, without asking anybody else: what a look saw is told while it is
 * not too old, and what nobody knows is absent.
 */
export class Metrics {
  readonly #daemon: Daemon;
  readonly #now: () => number;
  readonly #families = new Families(processMetrics);
  readonly #counted = new Counted(this.#families);
  readonly #stop: () => void;
  /** Those that are counted, with the archive that they had then. */
  readonly #known = new Map<string, DaemonCluster['archive']>();
  /** What a look says: it is worked out once. */
  readonly #seen = new WeakMap<Look, readonly Reading[]>();

  constructor(daemon: Daemon, { now = Date.now }: MetricsOptions = {}) {
    this.#daemon = daemon;
    this.#now = now;
    this.#stop = daemon.observe(this.#counted);
    for (const cluster of daemon.clusters.values()) this.#begin(cluster);
  }

  get contentType(): string {
    return this.#families.registry.contentType;
  }

  /** The text format of Prometheus. */
  async text(): Promise<string> {
    const { clusters } = this.#daemon;
    for (const cluster of clusters.values())
      if (this.#known.get(cluster.name) !== cluster.archive) this.#begin(cluster);
    for (const name of this.#counted.clusters) {
      if (clusters.has(name)) continue;
      this.#known.delete(name);
      await this.#counted.forget(name);
    }
    this.#fill();
    return this.#families.registry.metrics();
  }

  /** Watches no longer. */
  close(): void {
    this.#stop();
    this.#families.registry.clear();
  }

  #begin({ name, archive }: DaemonCluster): void {
    this.#known.set(name, archive);
    this.#counted.begin(archive.config);
  }

  /** All at once: who reads meanwhile must not see a half of it. */
  #fill(): void {
    const { clusters, broken } = this.#daemon;
    this.#families.forgetSet();
    this.#set(this.#ownReadings());
    const stuck = new Set(this.#daemon.stuck());
    for (const cluster of clusters.values()) {
      const { name } = cluster;
      const labels = { cluster: name };
      this.#set(reading('pgark_cluster_up', true), labels);
      if (hasReceiver(cluster)) this.#set(reading('pgark_receiver_stuck', stuck.has(name)), labels);
      this.#set(this.#clusterReadings(cluster), labels);
    }
    for (const cluster of broken.keys()) this.#set(reading('pgark_cluster_up', false), { cluster });
  }

  *#ownReadings(): Generator<Reading> {
    const { version, host, state } = this.#daemon;
    yield* reading('pgark_build_info', 1, { version, node: process.version, host });
    yield* oneOf('pgark_daemon_state', 'state', STATES, state);
  }

  *#clusterReadings(cluster: DaemonCluster): Generator<Reading> {
    const { config } = cluster.archive;
    const now = this.#now();
    const look = cluster.latest();
    const seen = look !== undefined && this.#isFresh(look, now) ? look : undefined;
    yield* configReadings(config);
    yield* partReadings(cluster);
    yield* this.#counted.readings(cluster.name);
    yield* streamReadings({
      receiver: cluster.receiver(),
      hasReceiver: hasReceiver(cluster),
      done: seen?.status,
      now,
    });
    if (look !== undefined) yield* lookReadings(look);
    if (seen === undefined) return;
    let readings = this.#seen.get(seen);
    if (readings === undefined) {
      readings = [...archiveReadings(seen, config), ...workReadings(seen, config)];
      this.#seen.set(seen, readings);
    }
    yield* readings;
  }

  /** One from the future was seen by a clock that was put back since, and may be of any age. */
  #isFresh({ began, ended }: Look, now: number): boolean {
    return Math.abs(now - ended) <= STALE * (this.#daemon.config.refresh + (ended - began));
  }

  #set(readings: Iterable<Reading>, labels: Readonly<Record<string, string>> = {}): void {
    for (const { name, labels: own, value } of readings) this.#families.set(name, { ...labels, ...own }, value);
  }
}

function hasReceiver(cluster: DaemonCluster): boolean {
  return cluster.parts().some(({ name }) => name === 'receiver');
}
