/** A second standby after a failover, which reads the archive of a receiver that had more than the new primary. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { TestArchive } from '../support/archive.ts';
import { CLI } from '../support/cli.ts';
import { later } from '../support/later.ts';
import { giveToServer, PostgresServer, removeFolder, temporaryFolder } from '../support/postgres.ts';
import { flushedAll } from '../support/receiving.ts';
import { restored, startAndPromote } from '../support/restoring.ts';
import { caughtUp, destroyStandby, promote, startStandby } from '../support/standby.ts';
import { until } from '../support/until.ts';

const conninfo = (port: number): string => `host=127.0.0.1 port=${port} user=postgres application_name=standby`;
const rowsOf = (server: PostgresServer): Promise<string> =>
  server.value(`SELECT coalesce(string_agg(n::text, ' ' ORDER BY n), '') FROM numbers`);

test('H-08 a standby is not given WAL of the old timeline from behind the fork of the new one; a recovery that stays on the old one is', async () => {
  const primary = later(await PostgresServer.start({ major: 17 }), (one) => one.destroy());
  await primary.query('CREATE TABLE numbers (n int)');
  await primary.stop();
  const second = join(later(temporaryFolder('second'), removeFolder), 'data');
  execFileSync('cp', ['-a', primary.data, second]);
  writeFileSync(join(second, 'standby.signal'), '');
  giveToServer(join(second, 'standby.signal'));
  const first = later(await startStandby(primary), destroyStandby);
  const hosts = `127.0.0.1:${primary.port},127.0.0.1:${first.port}`;
  const url = `postgres://postgres@${hosts}/postgres?target_session_attrs=primary`;
  const archive = later(new TestArchive(primary, { config: { postgres: { url } } }), (made) => made.destroy());
  const receiver = later(await archive.receive(primary), (started) => started.kill());
  await archive.backup();
  // The fork is to lie inside a segment.
  await primary.query('INSERT INTO numbers VALUES (0)');
  await caughtUp(primary, first);
  // The first standby loses its connection, then the primary commits something that only the receiver gets.
  await first.query(`ALTER SYSTEM SET primary_conninfo = '${conninfo(1)}'`);
  await first.query('SELECT pg_reload_conf()');
  const connected = `SELECT count(*) FROM pg_stat_replication WHERE application_name = 'standby'`;
  await until('no standby', async () => (await primary.value(connected)) === '0');
  await primary.query('INSERT INTO numbers VALUES (1)');
  const old = await primary.value('SELECT pg_walfile_name(pg_current_wal_insert_lsn())');
  await flushedAll(primary);
  await primary.kill();
  await promote(first);
  await first.query('INSERT INTO numbers VALUES (2)');
  await until(
    'the history',
    () => archive.holds('00000002.history'),
    () => receiver.output,
  );
  await flushedAll(first);
  const log = join(archive.systemFolder, 'wal', '00000001', '00000000');
  await until('what only the receiver had', () => readdirSync(log).includes(`${old}.tail`));
  expect(archive.holds(old), 'the segment must not have become whole').toBe(false);

  // On a host without the spool, as its config says.
  const config = join(archive.folder, 'second.json');
  const content = JSON.parse(readFileSync(archive.config, 'utf8')) as Record<string, object>;
  writeFileSync(config, JSON.stringify({ ...content, receive: { spool: join(archive.folder, 'none') } }));
  giveToServer(config);
  const standby = await PostgresServer.open(17, second, {
    primary_conninfo: conninfo(first.port),
    restore_command: `${CLI.join(' ')} --config ${config} wal-fetch "%f" "%p"`,
    recovery_target_timeline: 'latest',
    wal_retrieve_retry_interval: '200ms',
  });
  later(standby, (one) => one.destroy());
  await standby.start();
  await until(
    'the rest on the standby',
    async () => (await rowsOf(standby)).length > 1,
    () => standby.log,
  );
  // The new primary has 2 and never had 1.
  expect(await rowsOf(standby)).toBe('0 2');
  expect(standby.log).toMatch(`restored log file "${old}" from archive`);
  expect(standby.log).toMatch(/started streaming WAL from primary at \S+ on timeline 2/);

  const clone = await restored(archive, 17, 'old', ['--target-timeline', '1']);
  later(clone, (opened) => opened.destroy());
  await startAndPromote(clone);
  expect(await rowsOf(clone)).toBe('0 1');
});
