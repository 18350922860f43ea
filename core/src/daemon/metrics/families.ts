import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { METRICS, type MetricName, type NameOf } from './table.ts';

/** Seconds: from a file on a disk to the upload of a large part. Few, as there is a series for each. */
const BUCKETS = [0.005, 0.025, 0.1, 0.5, 2.5, 10, 60, 300];

/** Counted elsewhere: it is set like a gauge. */
const SET_COUNTER = 'pgark_part_restarts_total';

/** What is set at each scrape. */
export type SetName = NameOf<'gauge'> | typeof SET_COUNTER;

/** The metrics of the table in a registry of their own, without a value. */
export class Families {
  readonly registry: Registry = new Registry();
  readonly #all = new Map<MetricName, Counter | Gauge | Histogram>();

  /** Makes those of the table but the ones that were registered by others. */
  constructor(others: (registry: Registry) => ReadonlySet<MetricName>) {
    const made = others(this.registry);
    for (const name of Object.keys(METRICS) as MetricName[]) {
      if (made.has(name)) continue;
      const { type, help, labels } = METRICS[name];
      const options = { name, help, labelNames: [...labels], registers: [this.registry] };
      if (type === 'counter') this.#all.set(name, new Counter(options));
      else if (type === 'gauge') this.#all.set(name, new Gauge(options));
      else this.#all.set(name, new Histogram({ ...options, buckets: BUCKETS }));
    }
  }

  counter(name: NameOf<'counter'>): Counter {
    return this.#all.get(name) as Counter;
  }

  histogram(name: NameOf<'histogram'>): Histogram {
    return this.#all.get(name) as Histogram;
  }

  /** Forgets every value that is set: what is not set anew is not known. */
  forgetSet(): void {
    for (const family of this.#all.values()) if (family instanceof Gauge) family.reset();
    this.counter(SET_COUNTER).reset();
  }

  set(name: SetName, labels: Readonly<Record<string, string>>, value: number): void {
    if (name === SET_COUNTER) this.counter(name).inc(labels, value);
    else (this.#all.get(name) as Gauge).set(labels, value);
  }

  /** Removes what was counted of a cluster. */
  async forgetCluster(cluster: string): Promise<void> {
    for (const family of this.#all.values()) {
      if (family instanceof Gauge) continue;
      const { values } = await family.get();
      for (const { labels } of values) {
        if (labels['cluster'] !== cluster) continue;
        // Of a histogram all its buckets go, whichever is named.
        family.remove(Object.fromEntries(Object.entries(labels).filter(([label]) => label !== 'le')));
      }
    }
  }
}
