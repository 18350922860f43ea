/**
 * `pgark run` is the synchronous standby and takes backups every few seconds; it is killed at random moments under load and started again. At
 * the end a server restored from the repository alone is held to every commit that was acknowledged, and the record of runs to the backups.
 * `PGARK_TEST_KILLS` sets how many, `PGARK_TEST_SEED` replays.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { TestArchive } from '../support/archive.ts';
import type { CliChild } from '../support/cli.ts';
import { later } from '../support/later.ts';
import { ledger, Writers } from '../support/load.ts';
import { PostgresServer } from '../support/postgres.ts';
import { randomFrom } from '../support/random.ts';
import { restoredAlone } from '../support/restoring.ts';
import { until } from '../support/until.ts';

const KILLS = Number(process.env['PGARK_TEST_KILLS'] ?? (process.env['PGARK_TEST_FULL'] === '1' ? 50 : 2));
const SEED = Number(process.env['PGARK_TEST_SEED'] ?? Date.now() % 1_000_000);

interface RunDocument {
  readonly id: string;
  readonly job: string;
  readonly state: string;
  readonly planned: string;
  readonly started: string;
  readonly ended?: string;
  readonly error?: { readonly message: string };
  readonly result?: { readonly backup?: string };
}

test(
  `no acknowledged commit and no run is lost or doubled over ${KILLS} kills of the daemon (seed ${SEED})`,
  async () => {
    console.log(`seed ${SEED}`);
    const random = randomFrom(SEED);
    const server = later(
      await PostgresServer.start({ major: 17, segmentMegabytes: 1, settings: { max_wal_size: '64MB' } }),
      (one) => one.destroy(),
    );
    const config = {
      schedule: [{ do: 'backup', at: '*/3 * * * * *' }],
      backup: { checkpoint: 'fast' },
      daemon: { listen: 'off' },
      log: { format: 'json' },
    };
    const archive = later(new TestArchive(server, { receive: { tail: '1s' }, config }), (one) => one.destroy());
    const logged: string[] = [];
    let child: CliChild | undefined;
    later(undefined, () => child?.kill('SIGKILL'));
    const end = async (signal: NodeJS.Signals): Promise<string | number | undefined> => {
      child?.kill(signal);
      const result = await child?.ended;
      logged.push(result?.stderr ?? '');
      return result?.signal ?? result?.code;
    };
    child = archive.start(['run']);
    await child.waitFor(/1 of 1 cluster streaming/, { milliseconds: 60_000 });
    await server.query(`ALTER SYSTEM SET synchronous_standby_names = 'pgark'`);
    await server.query('SELECT pg_reload_conf()');
    const writers = await Writers.start(server, 2);
    const counts: number[] = [];
    for (let kill = 1; kill <= KILLS; kill++) {
      const before = writers.total;
      await until(`commits before kill ${kill}`, () => writers.total > before + 50, child.stderr);
      await sleep(random() * 4000);
      counts.push(writers.total - before);
      expect(await end('SIGKILL')).toBe('SIGKILL');
      child = archive.start(['run']);
    }
    const last = writers.total;
    await until('commits after the last kill', () => writers.total > last + 50, child.stderr);

    // What was interrupted is found out and done again, and a run that goes on comes to its end.
    const runs = async (): Promise<readonly RunDocument[]> => archive.json(['runs', '--limit', '1000']);
    await until('a backup after the last kill', () => /"run":"backup-/.test(child?.stderr() ?? ''), child.stderr);
    await until('the orphans are found', async () => {
      const running = (await runs()).filter(({ state }) => state === 'running');
      await sleep(1000);
      return running.length <= 1;
    });
    expect(await end('SIGTERM'), logged.at(-1)).toBe(0);
    const acknowledged = writers.acknowledged;

    const found = await runs();
    const inState = (state: string): readonly RunDocument[] => found.filter((run) => run.state === state);
    const told = [...new Set(found.map(({ state }) => state))].map((state) => `${inState(state).length} ${state}`);
    console.log(
      `${KILLS} kills over ${counts.reduce((sum, count) => sum + count, 0)} commits; runs: ${told.join(', ')}`,
    );
    expect(inState('running')).toEqual([]);
    expect(inState('failed')).toEqual([]);
    expect(new Set(found.map(({ id }) => id)).size).toBe(found.length);
    // Every run that the log of any of the daemons speaks of is on record.
    const spoken = new Set(logged.join('').match(/(?<="run":")[^"]+/g));
    expect(spoken.size).toBeGreaterThan(0);
    expect([...spoken].filter((id) => !found.some((run) => run.id === id))).toEqual([]);
    // A moment is done once, though it may be tried again.
    const done = inState('succeeded').map(({ planned }) => Math.floor(Date.parse(planned) / 1000));
    expect(done.length).toBeGreaterThan(0);
    expect(new Set(done).size).toBe(done.length);
    const times = inState('succeeded')
      .map(({ started, ended }) => [Date.parse(started), Date.parse(ended ?? '')] as const)
      .toSorted(([left], [right]) => left - right);
    for (const [at, [started]] of times.entries()) expect(started).toBeGreaterThanOrEqual(times[at - 1]?.[1] ?? 0);
    // Each backup is of one run; what a run was killed before it could say so is the only other source of them.
    const backups = await archive.json<readonly { readonly id: string; readonly state: string }[]>(['list']);
    const complete = new Set(backups.filter(({ state }) => state === 'complete').map(({ id }) => id));
    const made = inState('succeeded').map(({ result }) => result?.backup ?? '');
    expect(new Set(made).size).toBe(made.length);
    expect(made.filter((id) => !complete.has(id))).toEqual([]);
    expect(complete.size - made.length).toBeLessThanOrEqual(KILLS);

    await server.kill();
    await writers.stop();
    const clone = await restoredAlone(archive, server);
    const rows = await ledger(clone);
    expect(rows.holes).toBe(0);
    rows.last.forEach((number, session) => expect(number).toBeGreaterThanOrEqual(acknowledged[session] ?? 0));
  },
  180_000 + KILLS * 40_000,
);
