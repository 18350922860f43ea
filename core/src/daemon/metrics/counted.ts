/** What is counted as it happens. It is gone with the process, as every monitoring system expects of counters. */
import { EVENT_NAMES, EVENTS, type EventRow } from '../../contracts/event-table.ts';
import type { EventName } from '../../contracts/hook.ts';
import type { Config } from '../../config/config.ts';
import type { HookDelivery } from '../../hooks/courier.ts';
import type { Run } from '../../schedule/run.ts';
import type { StorageCall } from '../../storage/observe.ts';
import type { DaemonObserver, SeenEvent } from '../daemon.ts';
import type { Families } from './families.ts';
import { reading, type Reading } from './reading.ts';
import { jobNames } from './work-readings.ts';

/** How calls of a storage may end, by the operation. */
const OUTCOMES: Readonly<Record<string, readonly string[]>> = {
  put: ['succeeded', 'exists', 'cancelled', 'failed'],
  step: ['succeeded', 'cancelled', 'failed'],
  get: ['succeeded', 'missing', 'cancelled', 'failed'],
  stat: ['succeeded', 'missing', 'cancelled', 'failed'],
  list: ['succeeded', 'cancelled', 'failed'],
  remove: ['succeeded', 'cancelled', 'failed'],
  retain: ['succeeded', 'missing', 'cancelled', 'failed'],
};

const RUN_OUTCOMES: readonly Run['state'][] = ['succeeded', 'failed', 'cancelled', 'interrupted', 'skipped'];

export class Counted implements DaemonObserver {
  readonly #families: Families;
  /** By cluster: conditions by their keys, and whether they last. */
  readonly #conditions = new Map<string, Map<string, boolean>>();
  /** By cluster: repositories whose histograms have begun, which begin once. */
  readonly #repositories = new Map<string, Set<string>>();
  readonly #clusters = new Set<string>();

  constructor(families: Families) {
    this.#families = families;
  }

  /** All of which something was counted. */
  get clusters(): ReadonlySet<string> {
    return this.#clusters;
  }

  /** Lets what may be counted of a cluster begin at 0: what comes first is an increase then. */
  begin(config: Config): void {
    const { cluster } = config;
    this.#clusters.add(cluster);
    const counter = this.#families.counter.bind(this.#families);
    const duration = this.#families.histogram('pgark_storage_operation_duration_seconds');
    counter('pgark_receiver_disconnects_total').inc({ cluster }, 0);
    counter('pgark_wal_shipped_files_total').inc({ cluster }, 0);
    counter('pgark_wal_shipped_bytes_total').inc({ cluster }, 0);
    for (const outcome of ['complete', 'partial']) counter('pgark_looks_total').inc({ cluster, outcome }, 0);
    for (const event of EVENT_NAMES) counter('pgark_events_total').inc({ cluster, event }, 0);
    const begun = this.#repositories.get(cluster) ?? new Set<string>();
    this.#repositories.set(cluster, begun);
    for (const { name: repository, lock } of config.repositories) {
      const isNew = !begun.has(repository);
      begun.add(repository);
      for (const [operation, outcomes] of Object.entries(OUTCOMES)) {
        if (operation === 'retain' && lock === undefined) continue;
        if (operation !== 'step' && isNew) duration.zero({ cluster, repository, operation });
        for (const outcome of outcomes)
          counter('pgark_storage_operations_total').inc({ cluster, repository, operation, outcome }, 0);
      }
      for (const direction of ['sent', 'received'])
        counter('pgark_storage_bytes_total').inc({ cluster, repository, direction }, 0);
      counter('pgark_retention_removed_backups_total').inc({ cluster, repository }, 0);
      counter('pgark_retention_removed_bytes_total').inc({ cluster, repository }, 0);
    }
    for (const job of jobNames(config))
      for (const outcome of RUN_OUTCOMES) counter('pgark_runs_total').inc({ cluster, job, outcome }, 0);
    for (const { name: hook } of config.hooks)
      for (const outcome of ['succeeded', 'failed'])
        counter('pgark_hook_deliveries_total').inc({ cluster, hook, outcome }, 0);
  }

  /** Conditions of which the daemon has heard. */
  *readings(cluster: string): Generator<Reading> {
    for (const [condition, isOpen] of this.#conditions.get(cluster) ?? [])
      yield* reading('pgark_condition_open', isOpen, { condition });
  }

  async forget(cluster: string): Promise<void> {
    this.#clusters.delete(cluster);
    this.#conditions.delete(cluster);
    this.#repositories.delete(cluster);
    await this.#families.forgetCluster(cluster);
  }

  readonly event = (cluster: string, seen: SeenEvent): void => {
    this.#clusters.add(cluster);
    this.#families.counter('pgark_events_total').inc({ cluster, event: seen.name });
    this.#condition(cluster, seen);
    if (seen.name === 'receive.disconnected')
      this.#families.counter('pgark_receiver_disconnects_total').inc({ cluster });
    if (isNamed(seen, 'wal.shipped')) {
      this.#families.counter('pgark_wal_shipped_files_total').inc({ cluster });
      this.#families.counter('pgark_wal_shipped_bytes_total').inc({ cluster }, seen.data.bytes);
    }
    if (isNamed(seen, 'expire.finished')) {
      const { repository, backups, bytes } = seen.data;
      this.#families.counter('pgark_retention_removed_backups_total').inc({ cluster, repository }, backups.length);
      this.#families.counter('pgark_retention_removed_bytes_total').inc({ cluster, repository }, bytes);
    }
  };

  readonly storageCall = (cluster: string, repository: string, call: StorageCall): void => {
    this.#clusters.add(cluster);
    if (call.call === 'close') return;
    const operation = call.step === undefined ? call.call : 'step';
    const outcome = outcomeOf(call);
    this.#families.counter('pgark_storage_operations_total').inc({ cluster, repository, operation, outcome });
    // A step is a part of a put, which is told too.
    if (operation === 'step') return;
    if (outcome !== 'cancelled')
      this.#families
        .histogram('pgark_storage_operation_duration_seconds')
        .observe({ cluster, repository, operation }, call.ms / 1000);
    if (call.bytes === undefined) return;
    const direction = call.call === 'put' ? 'sent' : 'received';
    this.#families.counter('pgark_storage_bytes_total').inc({ cluster, repository, direction }, call.bytes);
  };

  readonly delivery = (cluster: string, { hook, failed }: HookDelivery): void => {
    this.#clusters.add(cluster);
    const outcome = failed === undefined ? 'succeeded' : 'failed';
    this.#families.counter('pgark_hook_deliveries_total').inc({ cluster, hook, outcome });
  };

  readonly run = (cluster: string, { job, state }: Run): void => {
    this.#clusters.add(cluster);
    if (state !== 'running') this.#families.counter('pgark_runs_total').inc({ cluster, job, outcome: state });
  };

  readonly looked = (cluster: string, { failures }: { readonly failures: readonly unknown[] }): void => {
    this.#clusters.add(cluster);
    const outcome = failures.length === 0 ? 'complete' : 'partial';
    this.#families.counter('pgark_looks_total').inc({ cluster, outcome });
  };

  readonly fault = (): void => this.#families.counter('pgark_faults_total').inc();

  #condition<Name extends EventName>(cluster: string, { name, data }: SeenEvent<Name>): void {
    const row: EventRow<Name> = EVENTS[name];
    const condition = row.condition?.(data);
    if (condition === undefined) return;
    const known = this.#conditions.get(cluster) ?? new Map<string, boolean>();
    this.#conditions.set(cluster, known.set(condition.key, condition.state === 'open'));
  }
}

function outcomeOf({ failed }: StorageCall): string {
  if (failed === undefined) return 'succeeded';
  if (failed === 'STORAGE_NOT_FOUND') return 'missing';
  if (failed === 'STORAGE_EXISTS') return 'exists';
  return failed === 'ABORTED' ? 'cancelled' : 'failed';
}

function isNamed<Name extends EventName>(seen: SeenEvent, name: Name): seen is SeenEvent<Name> {
  return seen.name === name;
}
