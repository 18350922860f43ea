/** The metrics of a real daemon, server and repository: compared with the truth, and with each failure driven. */
import { readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { PluginValue } from '../../core/src/config/load.ts';
import { ArchiveError } from '../../core/src/contracts/errors.ts';
import type { ArchiveEvent } from '../../core/src/contracts/hook.ts';
import { API_VERSION, type Plugin } from '../../core/src/contracts/plugin.ts';
import type { DaemonCluster } from '../../core/src/daemon/daemon.ts';
import type { OpenDaemonOptions } from '../../core/src/daemon/open.ts';
import type { Run } from '../../core/src/schedule/run.ts';
import { Metrics } from '../../core/src/daemon/metrics/metrics.ts';
import { parseLsn } from '../../core/src/postgres/lsn.ts';
import { sectionFor, streamIs, testDaemon, type TestDaemon } from '../support/daemon.ts';
import { PostgresServer } from '../support/postgres.ts';
import { hasPromtool, NO_PROMETHEUS, promtool, Scrape } from '../support/prometheus.ts';
import { until } from '../support/until.ts';

const SEGMENT = 1024 * 1024;

let server: PostgresServer;
beforeAll(async () => {
  server = await PostgresServer.start({ major: 17, segmentMegabytes: 1 });
});
afterAll(() => server.destroy());

interface Watched extends TestDaemon {
  /** As it is now: a reload makes another one. */
  readonly cluster: () => DaemonCluster;
  readonly repository: string;
  /** Looks anew, and scrapes. */
  readonly seen: () => Promise<Scrape>;
  readonly metrics: Metrics;
}

/** A daemon that streams. Each look lists everything, as files are taken away behind its back. */
async function watched(
  section: { readonly receive?: object; readonly [key: string]: unknown } = {},
  options: Partial<OpenDaemonOptions> = {},
): Promise<Watched> {
  const opened = await testDaemon((folder) => {
    const base = sectionFor(folder, 'main', server.url()) as { readonly receive: object };
    const receive = { ...base.receive, ...section.receive };
    return {
      main: {
        ...base,
        status: { cacheAge: 'off' },
        backup: { checkpoint: 'fast' },
        retention: { window: '7d' },
        ...section,
        receive,
      },
    };
  }, options);
  const metrics = new Metrics(opened.daemon);
  onTestFinished(() => metrics.close());
  const cluster = (): DaemonCluster => {
    const found = opened.daemon.clusters.get('main');
    if (found === undefined) throw new Error('no cluster');
    return found;
  };
  const seen = async (): Promise<Scrape> => {
    const now = Date.now();
    // One that goes on may have seen what was before.
    while ((await cluster().look()).began < now);
    return new Scrape(await metrics.text());
  };
  return { ...opened, metrics, cluster, seen, repository: join(opened.folder, 'main.repository') };
}

/** Files below a folder, by their path and size. */
function filesBelow(folder: string): readonly { readonly path: string; readonly size: number }[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .flatMap((path) => {
      const info = statSync(path);
      return info.isFile() ? [{ path, size: info.size }] : [];
    });
}

const segmentsOf = (folder: string): readonly string[] =>
  filesBelow(folder)
    .map(({ path }) => path)
    .filter((path) => /^[0-9A-F]{24}-[0-9a-f]{32}/.test(basename(path)))
    .sort();

/** Writes segments, and waits until they are in the repository. */
async function shipSegments({ repository }: Watched, count = 1): Promise<void> {
  let end = 0n;
  for (let turn = 0; turn < count; turn += 1) {
    await server.query('SELECT pg_logical_emit_message(true, $1, $2)', ['test', 'x'.repeat(1000)]);
    end = parseLsn(await server.value('SELECT pg_switch_wal()'));
  }
  await until('they are shipped', () => segmentsOf(repository).some((path) => endOf(path) >= end));
}

/** The end of a segment, by the path of its object. */
function endOf(path: string): bigint {
  const name = basename(path);
  return (BigInt(`0x${name.slice(8, 16)}`) * 4096n + BigInt(`0x${name.slice(16, 24)}`) + 1n) * BigInt(SEGMENT);
}

test('what it says of server, stream, repository and backup is so', async ({ skip }) => {
  const opened = await watched();
  const { cluster, repository, seen } = opened;
  await streamIs(opened, 'main', 'streaming');
  const { backups } = { backups: [await cluster().archive.backup(), await cluster().archive.backup()] };
  await shipSegments(opened);
  const before = parseLsn(await server.value('SELECT pg_current_wal_lsn()'));
  let scrape = await seen();
  const after = parseLsn(await server.value('SELECT pg_current_wal_lsn()'));
  const value = (name: string, labels: Readonly<Record<string, string>> = {}): number =>
    scrape.value(name, labels) ?? NaN;

  expect(value('pgark_server_up')).toBe(1);
  expect(value('pgark_server_wal_lsn_bytes')).toBeGreaterThanOrEqual(Number(before));
  expect(value('pgark_server_wal_lsn_bytes')).toBeLessThanOrEqual(Number(after));
  expect(value('pgark_timeline')).toBe(1);
  expect(value('pgark_receiver_connected')).toBe(1);
  expect(scrape.all('pgark_receiver_state_info').map(({ labels }) => labels['state'])).toEqual(['streaming']);
  expect(value('pgark_receiver_stuck')).toBe(0);
  expect(value('pgark_slot_lost')).toBe(0);
  expect(value('pgark_slot_active')).toBe(1);
  expect(value('pgark_slot_kept_bytes')).toBeGreaterThanOrEqual(0);
  expect(scrape.value('pgark_slot_safe_bytes')).toBeUndefined();
  await until('all is durable in the spool', async () => {
    scrape = await seen();
    return value('pgark_wal_flushed_lsn_bytes') >= Number(after);
  });
  expect(value('pgark_wal_received_lsn_bytes')).toBeGreaterThanOrEqual(value('pgark_wal_flushed_lsn_bytes'));
  expect(Math.abs(value('pgark_receiver_caught_up_timestamp_seconds') - Date.now() / 1000)).toBeLessThan(60);

  const segments = segmentsOf(repository);
  const last = segments.at(-1);
  if (last === undefined) throw new Error('no segments');
  expect(value('pgark_repository_wal_segments')).toBe(segments.length);
  expect(value('pgark_wal_uploaded_lsn_bytes')).toBeGreaterThanOrEqual(Number(endOf(last)));
  expect(Math.abs(value('pgark_wal_last_upload_timestamp_seconds') - statSync(last).mtimeMs / 1000)).toBeLessThan(1);
  expect(value('pgark_wal_shipped_files_total')).toBe(segments.length);
  expect(value('pgark_wal_shipped_bytes_total')).toBe(segments.length * SEGMENT);

  // Two that began within one second are listed in any order.
  const records = (await cluster().archive.backups()).backups
    .flatMap((one) => (one.state === 'complete' ? [one.record] : []))
    .toSorted((one, other) => Date.parse(one.stopTime) - Date.parse(other.stopTime));
  expect(records).toHaveLength(backups.length);
  const [first, second] = records;
  if (first === undefined || second === undefined) throw new Error('no backups');
  expect(value('pgark_repository_backups', { state: 'restorable' })).toBe(2);
  expect(scrape.all('pgark_repository_backups').reduce((sum, one) => sum + one.value, 0)).toBe(2);
  const stored = (id: string): number =>
    filesBelow(repository)
      .filter(({ path }) => path.includes(`/${id}/`) && !path.endsWith('backup.json') && path.includes('/backups/'))
      .reduce((sum, { size }) => sum + size, 0);
  expect(value('pgark_backup_size_bytes', { kind: 'stored' })).toBe(stored(second.id));
  expect(value('pgark_backup_size_bytes', { kind: 'raw' })).toBe(second.dataSize);
  expect(value('pgark_repository_backup_bytes')).toBe(stored(first.id) + stored(second.id));
  expect(value('pgark_backup_last_success_timestamp_seconds', { type: 'full' })).toBe(
    Date.parse(second.stopTime) / 1000,
  );
  expect(value('pgark_backup_oldest_timestamp_seconds')).toBe(Date.parse(first.stopTime) / 1000);
  expect(value('pgark_backup_duration_seconds')).toBeCloseTo(
    (Date.parse(second.stopTime) - Date.parse(second.startTime)) / 1000,
    3,
  );
  expect(scrape.value('pgark_backup_last_failure_timestamp_seconds')).toBeUndefined();

  expect(value('pgark_recovery_windows')).toBe(1);
  expect(value('pgark_recovery_window_start_timestamp_seconds')).toBe(Date.parse(first.stopTime) / 1000);
  expect(value('pgark_recovery_window_end_timestamp_seconds')).toBeGreaterThan(Date.parse(second.stopTime) / 1000 - 1);
  expect(value('pgark_recovery_window_end_timestamp_seconds')).toBeLessThan(Date.now() / 1000);
  expect(scrape.all('pgark_wal_gaps').map((one) => one.value)).toEqual([0, 0]);
  expect(value('pgark_wal_gap_segments')).toBe(0);
  expect(value('pgark_status', { level: 'ok' })).toBe(1);
  expect(value('pgark_retention_window_seconds')).toBe(7 * 86_400);
  expect(value('pgark_repository_up')).toBe(1);

  // Everything that is there was sent once; leases were too, and are gone.
  const all = filesBelow(repository);
  const bytes = all.reduce((sum, { size }) => sum + size, 0);
  expect(value('pgark_storage_operations_total', { operation: 'put', outcome: 'succeeded' })).toBeGreaterThanOrEqual(
    all.length,
  );
  expect(value('pgark_storage_bytes_total', { direction: 'sent' })).toBeGreaterThanOrEqual(bytes);
  expect(value('pgark_storage_bytes_total', { direction: 'sent' })).toBeLessThan(bytes + 65_536);

  // On record in the repository: another daemon tells the same.
  await cluster().archive.verify({ level: 'full' });
  scrape = await seen();
  expect(value('pgark_verify_last_damaged_objects', { level: 'full' })).toBe(0);
  expect(value('pgark_verify_last_skipped_objects', { level: 'full' })).toBe(0);
  expect(Math.abs(value('pgark_verify_last_timestamp_seconds', { level: 'full' }) - Date.now() / 1000)).toBeLessThan(
    60,
  );
  expect(scrape.all('pgark_verify_last_timestamp_seconds')).toHaveLength(1);
  expect(scrape.all('pgark_drill_last_success_timestamp_seconds')).toEqual([]);

  const text = await opened.metrics.text();
  if (!hasPromtool) skip(`all but this is so: ${NO_PROMETHEUS}`);
  expect(promtool(['check', 'metrics'], text)).toEqual({ code: 0, said: '' });
  // That it would say something.
  expect(promtool(['check', 'metrics'], text.replaceAll('spool_size_bytes', 'spool_size_mb')).code).not.toBe(0);
});

test('a server that is down, and a slot that is lost', async () => {
  const slot = 'pgark_metrics';
  await server.query('SELECT pg_create_physical_replication_slot($1, true)', [slot]);
  const opened = await watched({ receive: { slot, createSlot: false } });
  const { seen } = opened;
  await streamIs(opened, 'main', 'streaming');
  await until('it is connected', async () => (await seen()).value('pgark_receiver_connected') === 1);
  await server.stop();
  onTestFinished(async () => {
    if (!server.running) await server.start();
  });
  let scrape = await seen();
  await until('nobody receives', async () => {
    scrape = await seen();
    return scrape.value('pgark_receiver_connected') === 0 && scrape.value('pgark_server_up') === 0;
  });
  for (const name of [
    'pgark_server_wal_lsn_bytes',
    'pgark_timeline',
    'pgark_receiver_lag_bytes',
    'pgark_wal_flushed_lsn_bytes',
    'pgark_wal_lag_bytes',
    'pgark_slot_lost',
    'pgark_slot_active',
  ])
    expect(scrape.all(name), name).toEqual([]);
  expect(scrape.value('pgark_receiver_disconnects_total')).toBeGreaterThanOrEqual(1);
  expect(scrape.value('pgark_condition_open', { condition: 'receive' })).toBe(1);
  expect(scrape.value('pgark_part_up', { part: 'receiver' })).toBe(1);
  expect(scrape.value('pgark_repository_up')).toBe(1);

  await server.start();
  await streamIs(opened, 'main', 'streaming');
  await until('it is received again', async () => (await seen()).value('pgark_receiver_connected') === 1);
  expect((await seen()).value('pgark_condition_open', { condition: 'receive' })).toBe(0);

  // Whoever streams from it is cut off first.
  await until('the slot is dropped', async () => {
    await server.query(
      `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active_pid IS NOT NULL`,
    );
    try {
      await server.query(`SELECT pg_drop_replication_slot('${slot}')`);
    } catch {
      return false; // the receiver was faster
    }
    return true;
  });
  await until('that is seen', async () => {
    scrape = await seen();
    return scrape.value('pgark_slot_lost') === 1;
  });
  expect(scrape.all('pgark_slot_active')).toEqual([]);
});

test('a repository that is down', async () => {
  const opened = await watched();
  const { cluster, repository, seen } = opened;
  await streamIs(opened, 'main', 'streaming');
  await cluster().archive.backup();
  await shipSegments(opened);
  let before = await seen();
  await until('nothing waits', async () => {
    before = await seen();
    return before.value('pgark_spool_waiting_files') === 0;
  });
  expect(before.value('pgark_repository_backups', { state: 'restorable' })).toBe(1);
  const failed = (scrape: Scrape): number =>
    scrape.all('pgark_storage_operations_total', { outcome: 'failed' }).reduce((sum, { value }) => sum + value, 0);

  renameSync(repository, `${repository}.away`);
  await server.query('SELECT pg_switch_wal() FROM pg_logical_emit_message(true, $1, $2)', ['test', 'x']);
  let scrape = before;
  await until('it cannot be read, and WAL waits', async () => {
    scrape = await seen();
    return scrape.value('pgark_repository_up') === 0 && (scrape.value('pgark_spool_waiting_files') ?? 0) > 0;
  });
  await until('a file waits in the spool, and the receiver says how far it is', async () => {
    scrape = await seen();
    const names = ['pgark_spool_oldest_file_timestamp_seconds', 'pgark_wal_flushed_lsn_bytes'];
    return names.every((name) => scrape.value(name) !== undefined);
  });
  for (const name of [
    'pgark_repository_backups',
    'pgark_repository_backup_bytes',
    'pgark_repository_wal_segments',
    'pgark_backup_last_success_timestamp_seconds',
    'pgark_wal_uploaded_lsn_bytes',
    'pgark_wal_lag_bytes',
    'pgark_wal_gaps',
    'pgark_recovery_windows',
    'pgark_recovery_window_start_timestamp_seconds',
  ])
    expect(scrape.all(name), name).toEqual([]);
  expect(scrape.value('pgark_server_up')).toBe(1);
  expect(scrape.value('pgark_receiver_connected')).toBe(1);
  expect(scrape.value('pgark_spool_size_bytes')).toBeGreaterThan(SEGMENT);
  expect(scrape.value('pgark_spool_free_bytes')).toBeGreaterThan(0);
  expect(failed(scrape)).toBeGreaterThan(failed(before));
  expect(scrape.value('pgark_looks_total', { outcome: 'partial' })).toBeGreaterThan(0);

  renameSync(`${repository}.away`, repository);
  // What waits is shipped at its next try.
  scrape = await seen();
  expect(scrape.value('pgark_repository_up')).toBe(1);
  expect(scrape.value('pgark_wal_uploaded_lsn_bytes')).toBe(before.value('pgark_wal_uploaded_lsn_bytes'));
  expect(scrape.value('pgark_repository_backups', { state: 'restorable' })).toBe(1);
});

test('a gap behind the newest backup, which the next backup turns into a hole; a backup that is damaged', async () => {
  const opened = await watched();
  const { cluster, repository, seen } = opened;
  await streamIs(opened, 'main', 'streaming');
  const first = await cluster().archive.backup();
  await shipSegments(opened, 3);
  const segments = segmentsOf(repository);
  rmSync(segments.at(-2) ?? '');
  let scrape = await seen();
  expect(scrape.value('pgark_wal_gaps', { kind: 'end' })).toBe(1);
  expect(scrape.value('pgark_wal_gaps', { kind: 'between' })).toBe(0);
  expect(scrape.value('pgark_status', { level: 'critical' })).toBe(1);
  expect(scrape.value('pgark_recovery_windows')).toBe(1);

  await cluster().archive.backup();
  await shipSegments(opened);
  scrape = await seen();
  expect(scrape.value('pgark_wal_gaps', { kind: 'end' })).toBe(0);
  expect(scrape.value('pgark_wal_gaps', { kind: 'between' })).toBe(1);
  expect(scrape.value('pgark_recovery_windows')).toBe(2);

  const parts = filesBelow(repository).filter(({ path }) => path.includes(first.record.id) && path.includes('.tar'));
  rmSync(parts[0]?.path ?? '');
  scrape = await seen();
  expect(scrape.value('pgark_repository_backups', { state: 'damaged' })).toBe(1);
  expect(scrape.value('pgark_repository_backups', { state: 'restorable' })).toBe(1);
  await cluster().archive.verify({ level: 'chain' });
  scrape = await seen();
  expect(scrape.value('pgark_verify_last_damaged_objects', { level: 'chain' })).toBeGreaterThanOrEqual(2);
  expect(scrape.all('pgark_verify_last_timestamp_seconds')).toHaveLength(1);
});

test('runs of jobs, one that fails, and a hook that cannot be told', async () => {
  let refuses = false;
  const handle = async ({ name }: ArchiveEvent): Promise<void> => {
    await Promise.resolve();
    if (refuses) throw new ArchiveError('HOOK_FAILED', `nobody takes ${name}`);
  };
  const plugin: Plugin<'hook'> = {
    name: 'moody',
    kind: 'hook',
    apiVersion: API_VERSION,
    options: { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) } },
    create: () => ({ handle, close: () => Promise.resolve() }),
  };
  const hook = { use: 'moody', retries: 0 };
  const hooks: readonly PluginValue[] = [
    { ...hook, name: 'gate', policy: 'fail', events: ['backup.started'] },
    { ...hook, name: 'chat', events: ['backup.failed'] },
  ];
  const schedule = [{ do: 'check', at: '0 0 1 1 *', name: 'yearly' }];
  const opened = await watched({ hooks }, { plugins: [plugin] });
  const { cluster, seen, config } = opened;
  await streamIs(opened, 'main', 'streaming');
  // A scheduler that finds no repository looks again after half a minute.
  await cluster().archive.backup();
  const { clusters, ...others } = config.value as { readonly clusters: { readonly main: object } };
  config.value = { ...others, clusters: { main: { ...clusters.main, schedule } } };
  expect(await opened.daemon.reload()).toMatchObject({ restarted: ['main'] });
  await streamIs(opened, 'main', 'streaming');
  let scrape = await seen();
  await until('it has the lock', async () => {
    scrape = await seen();
    return scrape.value('pgark_scheduler_holder') === 1;
  });
  const [planned] = cluster().scheduler.planned();
  expect(scrape.value('pgark_run_next_timestamp_seconds', { job: 'yearly' })).toBe((planned?.next ?? NaN) / 1000);
  expect(scrape.value('pgark_schedule_jobs', { kind: 'check' })).toBe(1);
  expect(scrape.value('pgark_schedule_jobs', { kind: 'drill' })).toBe(0);
  expect(scrape.all('pgark_run_last_success_timestamp_seconds')).toEqual([]);
  expect(scrape.all('pgark_run_last_failure_timestamp_seconds')).toEqual([]);

  const ended = async (kind: Run['kind'] = 'backup'): Promise<Run> => {
    const { id } = await cluster().scheduler.start({ kind, by: 'somebody' });
    let run: Run | undefined;
    await until('the run ends', async () => {
      run = (await cluster().archive.runs()).runs.find((one) => one.id === id && one.ended !== undefined);
      return run !== undefined;
    });
    if (run === undefined) throw new Error('no run');
    return run;
  };
  const succeeded = await ended();
  expect(succeeded).toMatchObject({ state: 'succeeded' });
  scrape = await seen();
  const job = { job: 'backup' };
  expect(scrape.value('pgark_runs_total', { ...job, outcome: 'succeeded' })).toBe(1);
  expect(scrape.value('pgark_runs_total', { ...job, outcome: 'failed' })).toBe(0);
  expect(scrape.value('pgark_run_last_success_timestamp_seconds', job)).toBe((succeeded.ended ?? NaN) / 1000);
  expect(scrape.all('pgark_backup_last_failure_timestamp_seconds')).toEqual([]);
  expect(scrape.value('pgark_hook_waiting_events', { hook: 'chat' })).toBe(0);
  expect(scrape.value('pgark_hook_deliveries_total', { hook: 'gate', outcome: 'succeeded' })).toBe(2);
  const backups = scrape.value('pgark_repository_backups', { state: 'restorable' });

  // What a check finds out about keys is told as everything else is.
  await ended('check');
  expect((await seen()).value('pgark_condition_open', { condition: 'keys:primary:newest' })).toBe(0);

  refuses = true;
  const failed = await ended();
  expect(failed).toMatchObject({ state: 'failed' });
  scrape = await seen();
  expect(scrape.value('pgark_runs_total', { ...job, outcome: 'failed' })).toBe(1);
  expect(scrape.value('pgark_run_last_failure_timestamp_seconds', job)).toBe((failed.ended ?? NaN) / 1000);
  expect(scrape.value('pgark_backup_last_failure_timestamp_seconds')).toBe((failed.ended ?? NaN) / 1000);
  expect(scrape.value('pgark_repository_backups', { state: 'restorable' })).toBe(backups);
  expect(scrape.value('pgark_hook_deliveries_total', { hook: 'gate', outcome: 'failed' })).toBe(1);
  await until('an event waits', async () => {
    scrape = await seen();
    return scrape.value('pgark_hook_waiting_events', { hook: 'chat' }) === 1;
  });
  expect(scrape.value('pgark_hook_oldest_event_timestamp_seconds', { hook: 'chat' })).toBeGreaterThan(
    failed.started / 1000 - 1,
  );
});
