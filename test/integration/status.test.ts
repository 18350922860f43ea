/** `pgark status` and `pgark map` beside a real server and a real receiver. */
import { readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { parseMoment } from '../../core/src/restore/time-text.ts';
import { TestArchive } from '../support/archive.ts';
import { serverUser } from '../support/binaries.ts';
import { runCli, type CliResult } from '../support/cli.ts';
import { later } from '../support/later.ts';
import { PostgresServer } from '../support/postgres.ts';

interface Status {
  readonly level: string;
  readonly reasons: readonly string[];
  readonly canRestoreTo: string;
  readonly newestWindow?: { readonly to: { readonly time?: string }; readonly end: { readonly kind: string } };
  readonly receiver: {
    readonly state: string;
    readonly status?: { readonly connected?: object; readonly position?: object };
  };
  readonly server: { readonly state: string; readonly slot?: { readonly active: boolean } };
  readonly lag: { readonly bytes?: number };
  readonly lastBackup?: { readonly id: string };
}

test('the state of a receiver that runs, stopped, died or never was, and what can be restored; commit times lie beside the WAL', async () => {
  const server = later(await PostgresServer.start({ major: 18, segmentMegabytes: 1 }), (one) => one.destroy());
  const archive = later(
    new TestArchive(server, { receive: { tail: '1s' }, config: { status: { cacheAge: 'off' } } }),
    (one) => one.destroy(),
  );
  const nagios = (args: readonly string[] = []): Promise<CliResult> =>
    runCli(['--config', archive.config, 'status', '--nagios', ...args], { ...serverUser() });
  const status = (): Promise<Status> => archive.json<Status>(['status']);

  const none = await nagios();
  expect(none).toMatchObject({ code: 3 });
  expect(none.stdout).toMatch(/^PGARK UNKNOWN - main: repository primary could not be read: .* \| backup_age=U/);

  const receiver = later(await archive.receive(server), (one) => one.kill());
  const { id } = await archive.backup();
  await server.query('CREATE TABLE numbers AS SELECT 1 AS number');
  await archive.switchWal(server);
  await server.query('INSERT INTO numbers VALUES (2)');
  const after = BigInt(await server.value('SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint::text'));

  // The slice of the open segment with the last commit comes a second later, what the receiver says of itself up to two.
  let found = await status();
  const settled = (): boolean => found.lag.bytes === 0 && found.receiver.status?.position !== undefined;
  for (const deadline = Date.now() + 60_000; !settled() && Date.now() < deadline; found = await status())
    await sleep(200);
  expect(found).toMatchObject({
    level: 'ok',
    reasons: [],
    receiver: { state: 'running', status: { state: 'streaming', connected: {}, position: {} } },
    server: { state: 'answered', slot: { active: true } },
    lag: { bytes: 0 },
    lastBackup: { id },
    newestWindow: { end: { kind: 'end-of-archive' } },
  });
  expect(found.canRestoreTo).toMatch(
    new RegExp(`^main can restore to any moment from .* on timeline 1 \\(evidence: backup ${id}`),
  );
  const last = parseMoment(found.newestWindow?.to.time ?? '');
  expect(last).toBeLessThan(after);

  // A moment before the last commit can be planned, that of the commit cannot.
  const plan = (micros: string, code: number): Promise<string> =>
    archive.run(['restore', '--plan', '--target-time', micros], code);
  await plan(found.newestWindow?.to.time ?? '', 1);
  await archive.run(['restore', '--plan', '--target-time', found.newestWindow?.to.time ?? '', '--exclusive']);

  const good = await nagios();
  expect(good.stdout).toMatch(
    /^PGARK OK - main can restore .* \| backup_age=\d+s;93600;180000 wal_age=0s;900;3600 wal_lag=0B gaps=0\n$/,
  );
  expect(good.code).toBe(0);
  expect(await archive.run(['map'])).toContain('1 (latest)');

  // PostgreSQL shows such a role that there is a stream, and nothing else of it.
  await server.query('CREATE ROLE looker LOGIN REPLICATION');
  const url = `postgres://looker@127.0.0.1:${server.port}/postgres`;
  const narrow = await runCli(['--config', archive.config, 'status'], {
    ...serverUser(),
    env: { PGARK_POSTGRES_URL: url },
  });
  expect(narrow.stdout).toContain('streams; where to and how far is shown to members of pg_monitor only');

  expect(await receiver.stop()).toBe(0);
  expect(await status()).toMatchObject({ receiver: { state: 'stopped' }, server: { slot: { active: false } } });
  const times = readdirSync(join(archive.systemFolder, 'times', '00000001'));
  expect(times.length).toBeGreaterThan(0);

  const second = await archive.receive(server);
  await second.kill();
  expect(await status()).toMatchObject({ receiver: { state: 'stale' } });

  await server.stop();
  const down = await status();
  expect(down).toMatchObject({ server: { state: 'unknown' }, level: 'unknown' });
  expect(down.lag.bytes).toBeUndefined();

  // What is missing is told, and where; what cannot be looked at is unknown.
  const folder = join(archive.systemFolder, 'backups');
  renameSync(folder, `${folder}.away`);
  expect(await status()).toMatchObject({
    level: 'critical',
    reasons: expect.arrayContaining(['there is no backup that can be restored']),
  });
  renameSync(`${folder}.away`, folder);
  renameSync(archive.repository, `${archive.repository}.away`);
  expect((await nagios()).code).toBe(3);
  renameSync(`${archive.repository}.away`, archive.repository);
});
