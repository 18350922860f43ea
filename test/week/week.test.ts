/**
 * A week of the daemon, by the clock of its scheduler in as many minutes as are asked for: load that waits for the archive at each commit,
 * a backup every three hours, verifications, checks, expiry, and in the middle of it a restart of the server, an outage of the storage and
 * a promotion. Then everything but the repository is thrown away.
 */
import { renameSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { TestArchive } from '../support/archive.ts';
import { contiguity } from '../support/contiguous.ts';
import { DaemonProcess, type DaemonMemory } from '../support/daemon-process.ts';
import { later } from '../support/later.ts';
import { ledger, Writers } from '../support/load.ts';
import { PostgresServer } from '../support/postgres.ts';
import { Proxy } from '../support/proxy.ts';
import { randomFrom } from '../support/random.ts';
import { flushedAll } from '../support/receiving.ts';
import { restoredAlone } from '../support/restoring.ts';
import { systemIdOf } from '../support/ship-wal.ts';
import { caughtUp, destroyStandby, promote, startStandby } from '../support/standby.ts';
import { until } from '../support/until.ts';

const MINUTES = Number(process.env['PGARK_TEST_WEEK'] || 60);
const SEED = Number(process.env['PGARK_TEST_SEED'] || Date.now() % 1_000_000);
const WEEK = 7 * 24 * 3_600_000;
const REAL = MINUTES * 60_000;
const FACTOR = WEEK / REAL;
const MEGABYTES = 16;

/** As examples/systemd/pgark.service begins it. */
const UNIT = { flags: ['--max-semi-space-size=8'], env: { MALLOC_MMAP_THRESHOLD_: '262144' } };

const SCHEDULE = [
  { do: 'backup', at: '0 */3 * * *' },
  { do: 'verify', at: '30 4 * * *', level: 'sample' },
  { do: 'verify', name: 'whole', at: '30 16 * * sun', level: 'full' },
  { do: 'check', at: '15 */12 * * *' },
  { do: 'expire', at: '45 */6 * * *' },
  { do: 'gc', at: '0 1 * * *' },
];

async function synchronous(server: PostgresServer, names: string): Promise<void> {
  await server.query(`ALTER SYSTEM SET synchronous_standby_names = '${names}'`);
  await server.query('SELECT pg_reload_conf()');
}

/** Load for a time: few commits, so that the archive of a week stays small. */
async function loadFor(server: PostgresServer, milliseconds: number): Promise<void> {
  for (const end = Date.now() + milliseconds; Date.now() < end;) {
    const writers = await Writers.start(server, 2);
    await sleep(Math.min(300, Math.max(1, end - Date.now())));
    await writers.stop();
    await sleep(Math.min(1500, Math.max(1, end - Date.now())));
  }
}

/** The medians of each tenth. */
function inTenths(samples: readonly DaemonMemory[]): readonly DaemonMemory[] {
  const length = Math.floor(samples.length / 10);
  return Array.from({ length: 10 }, (_, tenth) => {
    const those = samples.slice(tenth * length, (tenth + 1) * length);
    const of = (what: keyof DaemonMemory): number => median(those.map((sample) => sample[what]));
    return {
      resident: of('resident'),
      heapUsed: of('heapUsed'),
      heapTotal: of('heapTotal'),
      external: of('external'),
    };
  });
}

const median = (numbers: readonly number[]): number =>
  numbers.toSorted((left, right) => left - right)[Math.floor(numbers.length / 2)] ?? Number.NaN;

test(
  `a week in ${MINUTES} min (seed ${SEED})`,
  async () => {
    console.log(`seed ${SEED}, the clock of the jobs goes ${FACTOR.toFixed(0)} times as fast`);
    const random = randomFrom(SEED);
    const way = { port: 0 };
    const proxy = later(await Proxy.listen(way), (made) => made.close());
    const settings = { fsync: 'on', max_wal_size: '256MB', wal_keep_size: '256MB' };
    let primary = later(await PostgresServer.start({ major: 17, settings }), (made) => destroyStandby(made));
    way.port = primary.port;
    const systemId = await systemIdOf(primary);
    const archive = later(
      new TestArchive(primary, {
        config: {
          postgres: { url: `postgres://postgres@127.0.0.1:${proxy.port}/postgres` },
          schedule: SCHEDULE,
          retention: { keep: 24, minimum: 2 },
          daemon: { listen: 'off', refresh: '2s' },
        },
        receive: { tail: '1s', guardian: { interval: '1s', slots: 'all' } },
      }),
      (made) => made.destroy(),
    );
    const daemon = new DaemonProcess({ config: archive.config, factor: FACTOR, from: Date.now(), ...UNIT });
    later(daemon, (made) => made.end('SIGKILL'));
    const report = (): string => daemon.report;
    const streams = async (): Promise<boolean> =>
      (await primary.value(`SELECT count(*) FROM pg_stat_replication WHERE application_name = 'pgark'`)) === '1';
    const begun = Date.now();
    const at = async (share: number): Promise<void> => loadFor(primary, begun + REAL * share - Date.now());
    await until('it streams', streams, report);
    await synchronous(primary, 'pgark');

    await at(0.2 + random() * 0.05);
    await primary.stop();
    await sleep(2000);
    await primary.start();
    await until('it streams after a restart of the server', streams, report);

    await at(0.4 + random() * 0.05);
    const unlucky = (): number => daemon.ended.filter(({ state }) => state === 'failed' || state === 'skipped').length;
    const before = unlucky();
    renameSync(archive.repository, `${archive.repository}.away`);
    await at(0.47);
    renameSync(`${archive.repository}.away`, archive.repository);
    // What came of them is on record only when there is a repository again.
    await until('the outage hit runs', () => unlucky() > before, report);

    await at(0.65 + random() * 0.05);
    await synchronous(primary, '');
    await primary.stop();
    const standby = await startStandby(primary);
    later(standby, (made) => destroyStandby(made));
    await until('it streams beside a standby', streams, report);
    await caughtUp(primary, standby);
    await primary.kill();
    await promote(standby);
    primary = standby;
    way.port = primary.port;
    await until('it streams after a promotion', streams, report);
    await synchronous(primary, 'pgark');

    await at(1);
    const writers = await Writers.start(primary, 2);
    await sleep(500);
    const acknowledged = await writers.stop();
    const here = await ledger(primary);
    await primary.query('SELECT pg_switch_wal()');
    await flushedAll(primary);
    expect(await daemon.end('SIGTERM'), report()).toBe(0);

    const runs = daemon.ended;
    const told = new Map<string, number>();
    for (const { kind, state } of runs) told.set(`${kind} ${state}`, (told.get(`${kind} ${state}`) ?? 0) + 1);
    const tenths = inTenths(daemon.memory);
    console.log([...told].map(([what, count]) => `${what}: ${count}`).join('; '));
    const reasons = new Map<string, number>();
    for (const { kind, state, summary = '' } of runs)
      if (state !== 'succeeded')
        reasons.set(`${kind} ${state}: ${summary}`, (reasons.get(`${kind} ${state}: ${summary}`) ?? 0) + 1);
    console.log([...reasons].map(([what, count]) => `${count} ${what}`).join('\n'));
    for (const what of ['resident', 'heapUsed', 'heapTotal', 'external'] as const)
      console.log(`memory, ${what}: ${tenths.map((tenth) => tenth[what].toFixed(0)).join(' ')} MB by tenths, medians`);

    for (const bad of ['wal.gap', 'wal.conflict']) expect(daemon.events, report()).not.toContain(bad);
    // All else is looked at in any case.
    expect.soft(tenths.at(-1)?.resident).toBeLessThan((tenths[1]?.resident ?? 0) * 1.1);
    const { missing } = await contiguity(archive.repository, systemId, MEGABYTES * 1024 * 1024);
    expect(missing).toEqual([]);
    // Each planned moment is on record once, whatever came of it.
    expect(new Set(runs.map(({ id }) => id)).size).toBe(runs.length);
    const backups = runs.filter(({ kind }) => kind === 'backup');
    expect(backups.length).toBeGreaterThanOrEqual(50);
    expect(backups.filter(({ state }) => state === 'succeeded').length).toBeGreaterThanOrEqual(45);
    for (const [kind, least] of [
      ['verify', 6],
      ['check', 13],
      ['expire', 26],
    ] as const)
      expect(runs.filter((run) => run.kind === kind).length, kind).toBeGreaterThanOrEqual(least);
    // No two of a kind at once.
    for (const kind of new Set(runs.map((run) => run.kind))) {
      const own = runs
        .filter((run) => run.kind === kind && run.state !== 'skipped')
        .toSorted((left, right) => left.started - right.started);
      for (const [index, run] of own.entries())
        expect(own[index + 1]?.started ?? Number.POSITIVE_INFINITY, run.id).toBeGreaterThanOrEqual(
          run.ended ?? Number.POSITIVE_INFINITY,
        );
    }
    here.last.forEach((last, session) => expect(last).toBeGreaterThanOrEqual(acknowledged[session] ?? 0));

    const clone = await restoredAlone(archive, primary);
    const found = await ledger(clone);
    expect(found.holes).toBe(0);
    expect(found.last).toEqual(here.last);
  },
  600_000 + REAL * 2,
);
