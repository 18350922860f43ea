/**
 * The daemon is the synchronous standby and runs jobs that are due every few seconds, by a clock that is faster than that of the host; it is
 * killed at random moments under load and started again, every second time within a run. At the end a server restored from the repository alone
 * is held to every commit that was acknowledged, and the record of runs to the moments of their jobs, to what the daemons told, and to the
 * backups. `PGARK_TEST_KILLS` sets how many, `PGARK_TEST_SEED` replays.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { acceleratedClock } from '../support/accelerated-clock.ts';
import { TestArchive } from '../support/archive.ts';
import { DaemonProcess } from '../support/daemon-process.ts';
import { later } from '../support/later.ts';
import { ledger, Writers } from '../support/load.ts';
import { momentsOnRecord, type EvenJob, type RunDocument } from '../support/moments-on-record.ts';
import { PostgresServer } from '../support/postgres.ts';
import { randomFrom } from '../support/random.ts';
import { restoredAlone } from '../support/restoring.ts';
import { until } from '../support/until.ts';

const KILLS = Number(process.env['PGARK_TEST_KILLS'] ?? (process.env['PGARK_TEST_FULL'] === '1' ? 50 : 2));
const SEED = Number(process.env['PGARK_TEST_SEED'] ?? Date.now() % 1_000_000);

/** So many times as fast as that of the host the clock goes: what waits 15 s for a run that may still come to its end waits one or less. */
const FACTOR = KILLS > 10 ? 15 : 30;
const SECOND = 1000;

/** Milliseconds by the host's clock after which a backup is due; the others are half as often. */
const BACKUPS = (120 * SECOND) / FACTOR;

const SCHEDULE = [
  { do: 'backup', at: '0 */2 * * * *' },
  { do: 'verify', level: 'chain', at: '40 */4 * * * *' },
  { do: 'check', at: '40 2-58/4 * * * *' },
];
const JOBS: readonly EvenJob[] = [
  { name: 'backup', period: 120 * SECOND, phase: 0 },
  { name: 'verify', period: 240 * SECOND, phase: 40 * SECOND },
  { name: 'check', period: 240 * SECOND, phase: 160 * SECOND },
];

test(
  `no acknowledged commit and no run is lost or doubled over ${KILLS} kills of the daemon (seed ${SEED})`,
  async () => {
    console.log(`seed ${SEED}`);
    const random = randomFrom(SEED);
    const server = later(
      await PostgresServer.start({ major: 17, segmentMegabytes: 1, settings: { max_wal_size: '64MB' } }),
      (one) => one.destroy(),
    );
    const config = { schedule: SCHEDULE, backup: { checkpoint: 'fast' }, daemon: { listen: 'off' } };
    const archive = later(new TestArchive(server, { receive: { tail: '1s' }, config }), (one) => one.destroy());
    const from = Date.now();
    const clock = acceleratedClock(FACTOR, from);
    const daemons: DaemonProcess[] = [];
    const start = (): DaemonProcess => {
      const daemon = new DaemonProcess({ config: archive.config, factor: FACTOR, from });
      daemons.push(daemon);
      return daemon;
    };
    let daemon = start();
    later(undefined, () => daemon.end('SIGKILL'));
    const report = (): string => daemon.report;
    const leads = (): boolean => daemon.says(/this daemon runs the jobs of cluster/);
    const streams = async (): Promise<boolean> =>
      (await server.value(`SELECT count(*) FROM pg_stat_replication WHERE application_name = 'pgark'`)) === '1';
    await until('it streams', streams, report);
    await until('it runs the jobs', leads, report);
    const led = clock.now();
    await server.query(`ALTER SYSTEM SET synchronous_standby_names = 'pgark'`);
    await server.query('SELECT pg_reload_conf()');
    const writers = await Writers.start(server, 2);
    const first = writers.total;
    // Before it nothing can be restored, so that nothing could be said of the commits.
    await until('the first backup', () => daemon.told.some(({ state }) => state === 'succeeded'), report);
    const cut = new Set<string>();
    let within = 0;
    for (let kill = 1; kill <= KILLS; kill++) {
      const before = writers.total;
      await until(`commits before kill ${kill}`, () => writers.total > before + 50, report);
      if (kill % 2 === 0) await sleep(random() * BACKUPS);
      else
        do {
          const begun = daemon.told.length;
          await until(`a run before kill ${kill}`, () => daemon.told.length > begun, report);
          // The first kill comes at once, so that one surely hits what has just begun.
          if (kill > 1) await sleep(random() * 600);
        } while (daemon.running.length === 0);
      expect(await daemon.end('SIGKILL')).toBe('SIGKILL');
      for (const { id } of daemon.running) cut.add(id);
      if (daemon.running.length > 0) within += 1;
      // Now and then nobody is there while moments go by.
      if (kill % 5 === 0) await sleep(random() * 3 * BACKUPS);
      daemon = start();
    }
    const last = writers.total;
    await until('commits after the last kill', () => writers.total > last + 50, report);
    // What was interrupted is found out before one of its kind begins.
    for (const { name } of JOBS)
      await until(`a ${name} after the last kill`, () => daemon.told.some(({ job }) => job === name), report);
    const commits = writers.total - first;
    expect(await daemon.end('SIGTERM'), report()).toBe(0);
    const acknowledged = writers.acknowledged;

    const found = await archive.json<readonly RunDocument[]>(['runs', '--limit', '10000']);
    const inState = (state: string): readonly RunDocument[] => found.filter((run) => run.state === state);
    const states = [...new Set(found.map(({ state }) => state))].map((state) => `${inState(state).length} ${state}`);
    const repeated = found.filter(({ repeats }) => repeats !== undefined).length;
    const moments = JOBS.map((job) => ({ ...job, ...momentsOnRecord(found, job) }));
    const sum = (of: 'run' | 'skipped'): number => moments.reduce((all, one) => all + one[of].length, 0);
    console.log(
      `${KILLS} kills over ${commits} commits, ${within} of them within ${cut.size} runs; ` +
        `moments: ${sum('run')} came to a run, ${sum('skipped')} were skipped; ` +
        `runs: ${states.join(', ')}, ${repeated} of them repeat one`,
    );

    // Each moment since the first daemon began is on record once: as a run, or as skipped for a reason.
    for (const { name, period, phase, first: begin, missing, doubled, strange } of moments) {
      expect({ missing, doubled, strange }, name).toEqual({ missing: [], doubled: [], strange: [] });
      const due = Math.ceil((led - phase) / period) * period + phase;
      expect(begin, name).toBeLessThanOrEqual(due);
    }
    expect(sum('run')).toBeGreaterThanOrEqual(KILLS / 2);
    expect(inState('running')).toEqual([]);
    expect(found.filter(({ state, summary }) => state !== 'succeeded' && !summary)).toEqual([]);
    // Servers of tests run with fsync off, which a check calls a failure; and a verification may be due before the first backup is there.
    const there = Math.min(
      ...inState('succeeded').flatMap(({ kind, ended = '' }) => (kind === 'backup' ? [Date.parse(ended)] : [])),
    );
    const isRight = ({ kind, error, started }: RunDocument): boolean =>
      (kind === 'check' && error?.code === 'CHECK_FAILED') ||
      (kind === 'verify' && error?.code === 'BACKUP_NOT_FOUND' && Date.parse(started) < there);
    expect(inState('failed').filter((run) => !isRight(run))).toEqual([]);

    // The kills have hit runs, and those are known for it.
    expect(within).toBeGreaterThan(0);
    const interrupted = inState('interrupted').filter(
      ({ summary }) => summary?.endsWith('ended while it ran') === true,
    );
    expect(interrupted.length).toBeGreaterThan(0);

    // Every run that any of the daemons speaks of is on record, and none was begun twice.
    const known = new Set(found.map(({ id }) => id));
    expect(known.size).toBe(found.length);
    const spoken = daemons.flatMap((one) => [...one.spoken]);
    expect(spoken.length).toBeGreaterThan(0);
    expect(spoken.filter((id) => !known.has(id))).toEqual([]);
    const begun = daemons.flatMap(({ told }) => told.flatMap(({ id, state }) => (state === 'running' ? [id] : [])));
    expect(new Set(begun).size).toBe(begun.length);

    // No two of a kind at once.
    for (const { name } of JOBS) {
      const times = found
        .filter(({ job, state }) => job === name && state !== 'skipped')
        .map(({ started, ended }) => [Date.parse(started), Date.parse(ended ?? '')] as const)
        .toSorted(([left], [right]) => left - right);
      for (const [at, [started]] of times.entries())
        expect(started, name).toBeGreaterThanOrEqual(times[at - 1]?.[1] ?? 0);
    }

    // Each backup is of one run; what a run was killed before it could say so is the only other source of them.
    const backups = await archive.json<readonly { readonly id: string; readonly state: string }[]>(['list']);
    const complete = new Set(backups.filter(({ state }) => state === 'complete').map(({ id }) => id));
    const made = inState('succeeded').flatMap(({ kind, result }) => (kind === 'backup' ? [result?.backup ?? ''] : []));
    expect(new Set(made).size).toBe(made.length);
    expect(made.filter((id) => !complete.has(id))).toEqual([]);
    expect(complete.size - made.length).toBeLessThanOrEqual(interrupted.length);

    await server.kill();
    await writers.stop();
    const clone = await restoredAlone(archive, server);
    const rows = await ledger(clone);
    expect(rows.holes).toBe(0);
    rows.last.forEach((number, session) => expect(number).toBeGreaterThanOrEqual(acknowledged[session] ?? 0));
  },
  180_000 + KILLS * 40_000,
);

test('a moment that is missing, doubled or made up is found', () => {
  const hourly: EvenJob = { name: 'check', period: 3600 * SECOND, phase: 0 };
  const at = (time: string, more: Partial<RunDocument> = {}): RunDocument => {
    const planned = `2026-05-01T${time}Z`;
    return { id: time, job: 'check', kind: 'check', state: 'succeeded', planned, started: planned, ...more };
  };
  const skipped = at('05:00:00.000', {
    state: 'skipped',
    result: { moments: 3, first: '2026-05-01T03:00:00.000Z' },
  });
  const whole = [at('01:00:00.000'), at('02:00:00.000', { state: 'interrupted' }), skipped];
  const again = at('02:00:00.001', { repeats: '02:00:00.000' });
  const none = { missing: [], doubled: [], strange: [] };
  expect(momentsOnRecord([...whole, again], hourly)).toMatchObject(none);
  expect(momentsOnRecord([...whole, at('08:00:00.000')], hourly)).toMatchObject({
    missing: [6, 7].map((hour) => Date.parse(`2026-05-01T0${hour}:00:00Z`)),
  });
  expect(momentsOnRecord([...whole, at('04:00:00.000')], hourly)).toMatchObject({
    doubled: [Date.parse('2026-05-01T04:00:00Z')],
  });
  for (const strange of [at('02:30:00.000'), at('02:00:00.001'), at('01:00:00.001', { repeats: '01:00:00.000' })])
    expect(momentsOnRecord([...whole, strange], hourly).strange).toEqual([strange.id]);
});
