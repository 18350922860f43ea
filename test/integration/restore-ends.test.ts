/** Restores to the very end of the WAL, where the last segment never became whole. */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { TestArchive } from '../support/archive.ts';
import { later } from '../support/later.ts';
import { PostgresServer } from '../support/postgres.ts';
import { archiveCommand, restored, startAndPromote } from '../support/restoring.ts';
import { destroyStandby, promote, startStandby } from '../support/standby.ts';
import { until } from '../support/until.ts';

const rowsOf = (server: PostgresServer): Promise<string> =>
  server.value(`SELECT coalesce(string_agg(n::text, ' ' ORDER BY n), '') FROM numbers`);

/** How far into the segment the slices of this folder reach: the second number of their names. */
const reachOf = (slices: string): number =>
  Math.max(...readdirSync(slices).map((name) => Number.parseInt(name.slice(9, 17), 16)));

interface Plan {
  readonly timeline: number;
  readonly warnings: readonly string[];
}

test('the slices of an unfinished segment are restored when server and spool are lost', async () => {
  const server = later(await PostgresServer.start({ major: 18 }), (started) => started.destroy());
  const archive = later(new TestArchive(server, { receive: { tail: '1s' } }), (made) => made.destroy());
  const receiver = later(await archive.receive(server), (started) => started.kill());
  await server.query('CREATE TABLE numbers (n int)');
  await archive.backup();
  await server.query('INSERT INTO numbers VALUES (1), (2)');
  const segment = await server.value('SELECT pg_walfile_name(pg_current_wal_insert_lsn())');
  const slices = join(archive.systemFolder, 'wal', '00000001', '00000000', `${segment}.tail`);
  await until('a slice', () => existsSync(slices));
  await server.query('INSERT INTO numbers VALUES (3)');
  // A later slice may have been cut before this commit: what counts is how far they reach.
  const committed = Number(
    await server.value('SELECT file_offset FROM pg_walfile_name_offset(pg_current_wal_flush_lsn())'),
  );
  await until('a slice with the last commit', () => reachOf(slices) >= committed);
  await Promise.all([server.kill(), receiver.kill()]);
  rmSync(archive.spool, { recursive: true });
  expect(archive.holds(segment), 'the segment must not have become whole').toBe(false);

  const clone = later(await restored(archive, 18, 'tail'), (opened) => opened.destroy());
  await startAndPromote(clone);
  expect(await rowsOf(clone)).toBe('1 2 3');
});

test('a promotion whose WAL lies only in the spool is followed; without it the timeline before is', async () => {
  const primary = later(await PostgresServer.create({ major: 17 }), (started) => started.destroy());
  const standby = later(await startStandby(primary), destroyStandby);
  const archive = later(new TestArchive(primary), (made) => made.destroy());
  const receiver = later(await archive.receive(primary), (started) => started.kill());
  await primary.query('CREATE TABLE numbers (n int)');
  await archive.backup();
  await primary.query('INSERT INTO numbers VALUES (1)');
  const lsn = await primary.value('SELECT pg_current_wal_flush_lsn()');
  await until(
    'the standby',
    async () => (await standby.value(`SELECT pg_last_wal_replay_lsn() >= '${lsn}'`)) === 'true',
  );
  await primary.stop();
  await receiver.stop();
  await promote(standby);
  archive.connectTo(standby);
  const second = later(await archive.receive(standby), (started) => started.kill());
  await standby.query('INSERT INTO numbers VALUES (2)');
  await until('the history', () => archive.holds('00000002.history'));
  const end = await standby.value('SELECT pg_current_wal_flush_lsn()');
  await until(
    'the receiver',
    async () => (await standby.value(`SELECT bool_and(flush_lsn >= '${end}') FROM pg_stat_replication`)) === 'true',
  );
  await Promise.all([standby.kill(), second.kill()]);
  expect(existsSync(join(archive.systemFolder, 'wal', '00000002', '00000000'))).toBe(false);

  const clone = later(await restored(archive, 17, 'spooled'), (opened) => opened.destroy());
  await startAndPromote(clone);
  expect(await rowsOf(clone)).toBe('1 2');
  expect(clone.log).toContain('selected new timeline ID: 3');

  rmSync(archive.spool, { recursive: true });
  const plan = await archive.json<Plan>(['restore', '--plan']);
  expect(plan.timeline).toBe(1);
  expect(plan.warnings).toContainEqual(
    expect.stringContaining('timeline 2 was begun, but none of its WAL is archived'),
  );
});

test('the partial segment that a server archives at its promotion ends the old timeline, and the new one has all of it', async () => {
  const primary = await PostgresServer.create({ major: 16 });
  later(primary, (started) => started.destroy());
  const archive = later(new TestArchive(primary), (made) => made.destroy());
  const archiving = { archive_mode: 'on', archive_command: archiveCommand(archive) };
  primary.configure(archiving);
  const standby = later(await startStandby(primary), destroyStandby);
  await primary.query('CREATE TABLE numbers (n int)');
  await archive.backup();
  await primary.query('INSERT INTO numbers VALUES (1)');
  const lsn = await primary.value('SELECT pg_current_wal_flush_lsn()');
  await until(
    'the standby',
    async () => (await standby.value(`SELECT pg_last_wal_replay_lsn() >= '${lsn}'`)) === 'true',
  );
  await primary.kill();
  await promote(standby);
  await standby.query('INSERT INTO numbers VALUES (2)');
  const last = await archive.switchWal(standby);
  const partial = `00000001${last.slice(8)}.partial`;
  await until('the partial segment', () => archive.holds(partial));
  await standby.stop();

  const old = later(await restored(archive, 16, 'old', ['--target-timeline', '1']), (opened) => opened.destroy());
  await startAndPromote(old);
  expect(await rowsOf(old)).toBe('1');
  const now = later(await restored(archive, 16, 'now'), (opened) => opened.destroy());
  await startAndPromote(now);
  expect(await rowsOf(now)).toBe('1 2');
});
