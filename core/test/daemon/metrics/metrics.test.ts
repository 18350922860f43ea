/** What is told of a daemon whose state is made up; that of real ones is in test/integration/daemon-metrics.test.ts. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, onTestFinished, test } from 'vitest';
import { openArchive } from '../../../src/archive/open.ts';
import { loadConfig, type ConfigValue } from '../../../src/config/load.ts';
import { EVENT_NAMES, EVENTS } from '../../../src/contracts/event-table.ts';
import type { Daemon, DaemonCluster, DaemonObserver, Look } from '../../../src/daemon/daemon.ts';
import { KeptScheduler } from '../../../src/daemon/kept-scheduler.ts';
import { isStale } from '../../../src/daemon/http/look-document.ts';
import { Metrics } from '../../../src/daemon/metrics/metrics.ts';
import { streamReadings } from '../../../src/daemon/metrics/stream-readings.ts';
import { METRICS } from '../../../src/daemon/metrics/table.ts';
import type { ReceiverStatus } from '../../../src/receive/status-file.ts';
import { Scrape } from '../../../../test/support/prometheus.ts';

const NOW = Date.UTC(2026, 10, 29, 12, 0, 0);
const REFRESH = 15_000;

const CONFIG = {
  cluster: 'main',
  repositories: [{ name: 'near', storage: { use: 'memory' } }],
  schedule: [{ do: 'backup', at: '@daily', name: 'nightly' }],
  retention: { window: '14d', keep: 2 },
  hooks: [{ use: 'webhook', url: 'http://127.0.0.1:1', name: 'chat' }],
};

interface Made {
  readonly daemon: Daemon;
  readonly observers: Set<DaemonObserver>;
  readonly clusters: Map<string, DaemonCluster>;
  /** By the name of the cluster. */
  readonly looks: Map<string, Look>;
}

/** A daemon with an archive that is real, and of which nothing was seen but what a test puts into `looks`. */
async function made(names: readonly string[] = ['main'], config: ConfigValue = CONFIG): Promise<Made> {
  const folder = mkdtempSync(join(tmpdir(), 'pgark-metrics-'));
  const observers = new Set<DaemonObserver>();
  const looks = new Map<string, Look>();
  const clusters = new Map<string, DaemonCluster>();
  for (const name of names) {
    const loaded = await loadConfig({ value: { ...config, cluster: name }, env: {}, directory: folder });
    const archive = await openArchive({ config: loaded });
    onTestFinished(() => archive.close());
    clusters.set(name, {
      name,
      loaded,
      archive,
      scheduler: new KeptScheduler(name),
      parts: () => [{ name: 'receiver', state: 'failed', since: NOW, restarts: 3 }],
      receiver: () => undefined,
      latest: () => looks.get(name),
      look: () => Promise.reject(new Error('nobody may look for a scrape')),
      samples: () => [],
      events: () => [],
    });
  }
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const first = clusters.get(names[0] ?? '');
  if (first === undefined) throw new Error('no cluster');
  const daemon: Daemon = {
    version: '1.2.3',
    host: 'backup1',
    started: NOW,
    config: { ...first.archive.config.daemon, refresh: REFRESH },
    state: 'running',
    clusters,
    broken: new Map(),
    stuck: () => [],
    observe: (observer) => {
      observers.add(observer);
      return () => void observers.delete(observer);
    },
  };
  return { daemon, observers, clusters, looks };
}

async function scrapeOf(metrics: Metrics): Promise<Scrape> {
  return new Scrape(await metrics.text());
}

test('the families are those of the table, with its types and texts, whether or not anything is known', async () => {
  const { daemon } = await made();
  const metrics = new Metrics(daemon);
  onTestFinished(() => metrics.close());
  expect(metrics.contentType).toBe('text/plain; version=0.0.4; charset=utf-8');
  const { families, series } = await scrapeOf(metrics);
  expect([...families.keys()].sort()).toEqual(Object.keys(METRICS).sort());
  for (const [name, { type, labels, help }] of Object.entries(METRICS)) {
    expect(families.get(name)?.type, name).toBe(type);
    if (name.startsWith('pgark_')) expect(families.get(name)?.help).toBe(help);
    for (const one of series.filter((each) => each.name.replace(/_(?:bucket|sum|count)$/, '') === name))
      expect(Object.keys(one.labels).filter((label) => label !== 'le')).toEqual([...labels]);
  }
});

test('H-81 what was never seen is absent; what may be counted is 0', async () => {
  const { daemon } = await made();
  const metrics = new Metrics(daemon, { now: () => NOW });
  onTestFinished(() => metrics.close());
  const scrape = await scrapeOf(metrics);
  const gauges = scrape.series.filter(
    ({ name }) => name.startsWith('pgark_') && !/_(?:total|bucket|sum|count)$/.test(name),
  );
  expect(gauges.map(({ name, value }) => [name, value]).filter(([name]) => name !== 'pgark_daemon_state')).toEqual([
    ['pgark_receiver_stuck', 0],
    ['pgark_status_threshold_seconds', 93_600],
    ['pgark_status_threshold_seconds', 180_000],
    ['pgark_status_threshold_seconds', 900],
    ['pgark_status_threshold_seconds', 3600],
    ['pgark_retention_window_seconds', 1_209_600],
    ['pgark_repository_writable', 1],
    ['pgark_cluster_up', 1],
    ['pgark_part_up', 0],
    ['pgark_scheduler_holder', 0],
    ...[1, 0, 0, 0, 0, 0].map((count) => ['pgark_schedule_jobs', count]),
    ['pgark_build_info', 1],
  ]);
  const counters = scrape.series.filter(({ name }) => /^pgark_.*_total$/.test(name));
  const zero = counters.filter(({ name }) => name !== 'pgark_part_restarts_total');
  expect(zero.filter(({ value }) => value !== 0)).toEqual([]);
  expect(scrape.all('pgark_events_total')).toHaveLength(EVENT_NAMES.length);
  expect(scrape.value('pgark_part_restarts_total', { part: 'receiver' })).toBe(3);
  expect(scrape.value('pgark_runs_total', { job: 'nightly', outcome: 'failed' })).toBe(0);
  expect(scrape.value('pgark_hook_deliveries_total', { hook: 'chat', outcome: 'failed' })).toBe(0);
});

test('H-12 what a look saw is told while it is fresh, and its time longer', async () => {
  const { daemon, looks } = await made();
  const run = { id: 'nightly-1', job: 'nightly', kind: 'backup', trigger: 'schedule', host: 'backup1' } as const;
  const ended = NOW - 3_600_000;
  looks.set('main', {
    began: NOW - 2000,
    ended: NOW,
    failures: [],
    runs: [{ ...run, planned: ended, started: ended - 60_000, ended, state: 'succeeded' }],
  });
  let now = NOW;
  const metrics = new Metrics(daemon, { now: () => now });
  onTestFinished(() => metrics.close());
  const labels = { cluster: 'main', job: 'nightly' };
  const told = async (): Promise<readonly (number | undefined)[]> => {
    const scrape = await scrapeOf(metrics);
    return [
      scrape.value('pgark_run_last_success_timestamp_seconds', labels),
      scrape.value('pgark_run_last_duration_seconds', labels),
      scrape.value('pgark_look_timestamp_seconds'),
      scrape.value('pgark_look_duration_seconds'),
    ];
  };
  expect(await told()).toEqual([ended / 1000, 60, NOW / 1000, 2]);
  now = NOW + 4 * (REFRESH + 2000);
  expect(await told()).toEqual([ended / 1000, 60, NOW / 1000, 2]);
  now += 1;
  expect(await told()).toEqual([undefined, undefined, NOW / 1000, 2]);
  // A clock that was put back makes nothing fresh.
  now = NOW - 3_600_000;
  expect(await told()).toEqual([undefined, undefined, NOW / 1000, 2]);
  for (const [time, isOld] of [
    [NOW, false],
    [NOW + 86_400_000, true],
    [NOW - 3_600_000, true],
  ] as const)
    expect(isStale(looks.get('main') as Look, daemon, time), String(time - NOW)).toBe(isOld);
  const status = {
    time: new Date(NOW).toISOString(),
    state: 'streaming',
    repositories: [] as const,
  } as Partial<ReceiverStatus> as ReceiverStatus;
  const receiver = { state: 'running', status, ageSeconds: 0 } as const;
  const namesAt = (time: number): readonly string[] =>
    [...streamReadings({ receiver, hasReceiver: true, done: undefined, now: time })].map(({ name }) => name);
  expect(namesAt(NOW)).toContain('pgark_receiver_state_info');
  expect(namesAt(NOW - 3_600_000)).not.toContain('pgark_receiver_state_info');
});

test('calls of storages, runs, deliveries and events are counted as they end', async () => {
  const { daemon, observers } = await made();
  const metrics = new Metrics(daemon);
  const [observer] = observers;
  const call = { key: 'main/7/wal/x', ms: 250 } as const;
  observer?.storageCall?.('main', 'near', { ...call, call: 'put', bytes: 1000 });
  observer?.storageCall?.('main', 'near', { ...call, call: 'put', step: 'part 1' });
  observer?.storageCall?.('main', 'near', { ...call, call: 'put', step: 'part 1', failed: 'STORAGE_UNAVAILABLE' });
  observer?.storageCall?.('main', 'near', { ...call, call: 'put', bytes: 10, failed: 'STORAGE_EXISTS' });
  observer?.storageCall?.('main', 'near', { ...call, call: 'get', bytes: 500, failed: 'STORAGE_UNAVAILABLE' });
  observer?.storageCall?.('main', 'near', { ...call, call: 'stat', failed: 'STORAGE_NOT_FOUND' });
  observer?.storageCall?.('main', 'near', { ...call, call: 'list', failed: 'ABORTED' });
  observer?.storageCall?.('main', 'near', { call: 'close', ms: 1 });
  observer?.delivery?.('main', { hook: 'chat', event: 'wal.gap', failed: 'HOOK_FAILED' });
  observer?.event?.('main', { time: NOW, name: 'storage.degraded', data: EVENTS['storage.degraded'].example });
  observer?.event?.('main', { time: NOW, name: 'wal.shipped', data: { file: '000000010000000000000001', bytes: 77 } });
  observer?.event?.('main', {
    time: NOW,
    name: 'expire.finished',
    data: { ...EVENTS['expire.finished'].example, repository: 'near' },
  });
  const scrape = await scrapeOf(metrics);
  const operations = scrape
    .all('pgark_storage_operations_total')
    .filter(({ value }) => value > 0)
    .map(({ labels: { operation, outcome }, value }) => [operation, outcome, value]);
  expect(operations).toEqual([
    ['put', 'succeeded', 1],
    ['put', 'exists', 1],
    ['step', 'succeeded', 1],
    ['step', 'failed', 1],
    ['get', 'failed', 1],
    ['stat', 'missing', 1],
    ['list', 'cancelled', 1],
  ]);
  const value = scrape.value.bind(scrape);
  expect(value('pgark_storage_bytes_total', { direction: 'sent' })).toBe(1010);
  expect(value('pgark_storage_bytes_total', { direction: 'received' })).toBe(500);
  expect(value('pgark_storage_operation_duration_seconds_count', { operation: 'put' })).toBe(2);
  expect(value('pgark_storage_operation_duration_seconds_sum', { operation: 'put' })).toBe(0.5);
  expect(value('pgark_storage_operation_duration_seconds_bucket', { operation: 'put', le: '0.1' })).toBe(0);
  expect(value('pgark_storage_operation_duration_seconds_bucket', { operation: 'put', le: '0.5' })).toBe(2);
  expect(value('pgark_storage_operation_duration_seconds_count', { operation: 'list' })).toBe(0);
  expect(value('pgark_hook_deliveries_total', { hook: 'chat', outcome: 'failed' })).toBe(1);
  expect(value('pgark_events_total', { event: 'storage.degraded' })).toBe(1);
  expect(value('pgark_condition_open', { condition: 'storage:offsite' })).toBe(1);
  expect(value('pgark_wal_shipped_bytes_total')).toBe(77);
  expect(value('pgark_retention_removed_backups_total', { repository: 'near' })).toBe(1);
  observer?.event?.('main', { time: NOW, name: 'storage.recovered', data: { repository: 'offsite' } });
  expect((await scrapeOf(metrics)).value('pgark_condition_open', { condition: 'storage:offsite' })).toBe(0);
  metrics.close();
  expect(observers.size).toBe(0);
});

test('a cluster that a reload has taken away leaves nothing, and one that it has brought begins at 0', async () => {
  const { daemon, observers, clusters } = await made(['main', 'other']);
  const late = clusters.get('other');
  if (late === undefined) throw new Error('no cluster');
  clusters.delete('other');
  const metrics = new Metrics(daemon);
  onTestFinished(() => metrics.close());
  const [observer] = observers;
  const of = (scrape: Scrape, cluster: string): number =>
    scrape.series.filter(({ labels }) => labels['cluster'] === cluster).length;
  const before = await scrapeOf(metrics);
  expect(of(before, 'other')).toBe(0);
  const all = of(before, 'main');
  clusters.set('other', late);
  clusters.delete('main');
  observer?.storageCall?.('other', 'near', { call: 'put', bytes: 5, ms: 1 });
  const after = await scrapeOf(metrics);
  expect([of(after, 'main'), of(after, 'other')]).toEqual([0, all]);
  expect(after.value('pgark_storage_bytes_total', { direction: 'sent' })).toBe(5);
  // What it still does while it ends leaves nothing either.
  observer?.storageCall?.('main', 'near', { call: 'put', bytes: 5, ms: 1 });
  observer?.event?.('main', { time: NOW, name: 'receive.stopped', data: { lsn: '0/1' } });
  expect(of(await scrapeOf(metrics), 'main')).toBe(0);
});

test('H-81 ten thousand events and calls make no further series, and keep no memory', async () => {
  const { daemon, observers } = await made();
  const metrics = new Metrics(daemon, { now: () => NOW });
  onTestFinished(() => metrics.close());
  const [observer] = observers;
  const happen = (times: number): void => {
    for (let turn = 0; turn < times; turn += 1) {
      const id = crypto.randomUUID();
      for (const name of EVENT_NAMES.slice(turn % 7))
        observer?.event?.('main', {
          time: NOW,
          name,
          data: { ...EVENTS[name].example, id, file: id, lsn: id, message: id },
        });
      for (const call of ['put', 'get', 'stat', 'list', 'remove', 'retain'] as const)
        observer?.storageCall?.('main', 'near', {
          call,
          key: id,
          prefix: id,
          bytes: turn,
          ms: turn,
          ...(turn % 3 === 0 && { failed: id }),
        });
      observer?.delivery?.('main', { hook: 'chat', event: 'wal.gap', failed: id });
      observer?.run?.('main', {
        id,
        job: 'nightly',
        kind: 'backup',
        trigger: 'schedule',
        planned: NOW,
        started: NOW,
        host: id,
        state: 'failed',
      });
    }
  };
  happen(10);
  const before = await scrapeOf(metrics);
  const memory = heapUsed();
  happen(300);
  const after = await scrapeOf(metrics);
  expect(after.value('pgark_runs_total', { job: 'nightly', outcome: 'failed' })).toBe(310);
  expect(
    after.series.reduce((sum, { name, value }) => sum + (name === 'pgark_events_total' ? value : 0), 0),
  ).toBeGreaterThan(7000);
  expect(after.series).toHaveLength(before.series.length);
  expect(heapUsed() - memory).toBeLessThan(2 * 1024 * 1024);
});

/** After everything that is not held is gone. */
function heapUsed(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage().heapUsed;
}
