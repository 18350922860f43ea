import type { Counter, Gauge, Histogram } from '@opentelemetry/api';
import type { Resource } from '@opentelemetry/resources';
import { MeterProvider, MetricReader, type ResourceMetrics } from '@opentelemetry/sdk-metrics';
import type { ArchiveEvent } from '@pgark/sdk';
import type { EndedOperation } from './starts.ts';

/** Events whose second telling is known as such. */
const MOST_IDS = 1000;
/** Seconds: from a backup that copies nothing to one of days. */
const DURATIONS = [1, 10, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600];

/** Read when something is to be sent, and not by a clock. */
class Reader extends MetricReader {
  protected override onShutdown(): Promise<void> {
    return Promise.resolve();
  }
  protected override onForceFlush(): Promise<void> {
    return Promise.resolve();
  }
}

/** What events add up to since the process began. Cumulative: what could not be sent is in what is sent next. */
export class Meters {
  readonly #reader = new Reader();
  readonly #counted = new Set<string>();
  readonly #events: Counter;
  readonly #shipped: Counter;
  readonly #gaps: Counter;
  readonly #conflicts: Counter;
  readonly #open: Gauge;
  readonly #durations: Histogram;
  readonly #size: Gauge;
  readonly #finished: Gauge;

  constructor(resource: Resource) {
    const meter = new MeterProvider({ resource, readers: [this.#reader] }).getMeter('pgark');
    this.#events = meter.createCounter('pgark.events', { unit: '{event}', description: 'Events that were reported.' });
    this.#shipped = meter.createCounter('pgark.wal.shipped', {
      unit: 'By',
      description: 'WAL that is in all repositories.',
    });
    this.#gaps = meter.createCounter('pgark.wal.gaps', { unit: '{gap}', description: 'Losses of WAL.' });
    this.#conflicts = meter.createCounter('pgark.wal.conflicts', {
      unit: '{file}',
      description: 'Files of WAL that a repository holds with another content.',
    });
    this.#open = meter.createGauge('pgark.condition.open', {
      description: 'Whether a condition lasts: 1 open, 0 closed.',
    });
    this.#durations = meter.createHistogram('pgark.operation.duration', {
      unit: 's',
      description: 'How long operations took.',
      advice: { explicitBucketBoundaries: DURATIONS },
    });
    this.#size = meter.createGauge('pgark.backup.size', {
      unit: 'By',
      description: 'Stored bytes of the last backup.',
    });
    this.#finished = meter.createGauge('pgark.backup.finished', {
      unit: 's',
      description: 'When the last backup was complete, in seconds since 1970.',
    });
    // Counted from the beginning on; what never came is 0 and not unknown.
    for (const counter of [this.#shipped, this.#gaps, this.#conflicts]) counter.add(0);
  }

  /** Counts an event, once, however often it is told. */
  count(event: ArchiveEvent, ended: EndedOperation | undefined): void {
    if (this.#counted.has(event.id)) return;
    this.#counted.add(event.id);
    const [oldest] = this.#counted;
    if (this.#counted.size > MOST_IDS && oldest !== undefined) this.#counted.delete(oldest);

    this.#events.add(1, { 'pgark.event.name': event.name, 'pgark.event.severity': event.severity });
    const { condition } = event;
    if (condition !== undefined)
      this.#open.record(condition.state === 'open' ? 1 : 0, { 'pgark.condition.key': condition.key });
    if (ended?.start !== undefined) {
      const { operation, outcome, start, end } = ended;
      this.#durations.record((end - start) / 1000, {
        'pgark.operation.name': operation,
        'pgark.operation.outcome': outcome,
      });
    }
    const { bytes } = event.data as { readonly bytes?: unknown };
    if (event.name === 'wal.shipped' && typeof bytes === 'number') this.#shipped.add(bytes);
    if (event.name === 'wal.gap') this.#gaps.add(1);
    if (event.name === 'wal.conflict') this.#conflicts.add(1);
    if (event.name !== 'backup.finished') return;
    this.#finished.record(event.time / 1000);
    if (typeof bytes === 'number') this.#size.record(bytes);
  }

  /** All that is known now. */
  async collect(): Promise<ResourceMetrics> {
    const { resourceMetrics, errors } = await this.#reader.collect();
    if (errors.length > 0) throw errors[0];
    return resourceMetrics;
  }
}
