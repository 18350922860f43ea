/** Recovery to every kind of target on every version: which rows are there, and where the server says that it ended. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestArchive } from '../support/archive.ts';
import { MAJORS, PostgresServer } from '../support/postgres.ts';
import { archiveCommand, dropSetting, restoreCli, restored, startAndPromote } from '../support/restoring.ts';

interface Plan {
  readonly reachable: boolean;
  readonly backup: { readonly id: string };
  readonly timeline: number;
  readonly wal: { readonly end?: string; readonly lastTransaction?: string };
  readonly problems: readonly { readonly message: string; readonly hint: string }[];
}

/** What does not depend on the version of the server is tried on one. */
const ONE = 18;

describe.each(MAJORS)('PostgreSQL %i', (major) => {
  const undo: (() => unknown)[] = [];
  let archive: TestArchive;
  let first = '';
  let second = '';
  const facts = { xid: '', lsn: '', time: '', end: '' };

  beforeAll(async () => {
    const server = await PostgresServer.start({ major });
    undo.push(() => server.destroy());
    archive = new TestArchive(server);
    undo.push(() => archive.destroy());
    const receiver = await archive.receive(server);
    undo.push(() => receiver.kill());
    const client = await server.client();
    const insert = async (number: number): Promise<string> => {
      const { rows } = await client.query<{ xid: string }>(
        'INSERT INTO events VALUES ($1) RETURNING pg_current_xact_id()::text AS xid',
        [number],
      );
      return rows[0]?.xid ?? '';
    };
    await client.query('CREATE TABLE events (number int PRIMARY KEY)');
    first = (await archive.backup()).id;
    await insert(1);
    facts.xid = await insert(2);
    await insert(3);
    facts.lsn = await server.value('SELECT pg_current_wal_insert_lsn()');
    await insert(4);
    await sleep(20);
    facts.time = await server.value(
      `SELECT to_char(clock_timestamp() AT TIME ZONE 'Asia/Kolkata', 'YYYY-MM-DD HH24:MI:SS.US') || '+05:30'`,
    );
    await sleep(20);
    await insert(5);
    await client.query(`SELECT pg_create_restore_point('before six')`);
    await insert(6);
    await archive.switchWal(server);
    second = (await archive.backup()).id;
    await insert(7);
    facts.end = await server.value('SELECT pg_current_wal_insert_lsn()');
    await client.end();
    await archive.switchWal(server);
    await receiver.stop();
    await server.stop();
  });

  afterAll(async () => {
    for (const each of undo.splice(0).toReversed()) await each();
  });

  async function recovered(
    name: string,
    args: readonly string[],
  ): Promise<{ readonly server: PostgresServer; readonly rows: string }> {
    const server = await restored(archive, major, name, args);
    undo.push(() => server.destroy());
    await startAndPromote(server);
    const rows = await server.value(`SELECT string_agg(number::text, ' ' ORDER BY number) FROM events`);
    await server.query('INSERT INTO events VALUES (1000)'); // it takes writes
    return { server, rows };
  }

  test('the end of the archive', async () => {
    const { server, rows } = await recovered('latest', []);
    expect(rows).toBe('1 2 3 4 5 6 7');
    expect(await server.value('SHOW archive_mode')).toBe('off');
    await server.stop();
  });

  test('a transaction, with and without it', async () => {
    const inclusive = await recovered('xid', ['--target-xid', facts.xid]);
    expect(inclusive.rows).toBe('1 2');
    expect(inclusive.server.log).toContain(`recovery stopping after commit of transaction ${facts.xid}`);
    await inclusive.server.stop();
    if (major !== ONE) return;
    const exclusive = await recovered('xid-exclusive', ['--target-xid', facts.xid, '--exclusive']);
    expect(exclusive.rows).toBe('1');
    await exclusive.server.stop();
  });

  test('a position', async () => {
    const { server, rows } = await recovered('lsn', ['--target-lsn', facts.lsn, '--exclusive']);
    expect(rows).toBe('1 2 3');
    expect(server.log).toContain(`recovery stopping before WAL location (LSN) "${facts.lsn}"`);
    await server.stop();
  });

  test('a restore point', async () => {
    const { server, rows } = await recovered('name', ['--target-name', 'before six']);
    expect(rows).toBe('1 2 3 4 5');
    expect(server.log).toContain('recovery stopping at restore point "before six"');
    await server.stop();
  });

  test('the end of a backup, of the newest and of a named one', async () => {
    const newest = await recovered('immediate', ['--target', 'immediate']);
    expect(newest.rows).toBe('1 2 3 4 5 6');
    expect(newest.server.log).toContain('recovery stopping after reaching consistency');
    await newest.server.stop();
    const plan = await archive.json<Plan>(['restore', '--plan', '--target', 'immediate', '--backup', first]);
    expect(plan.backup.id).toBe(first);
  });

  test.runIf(major === ONE)('the plan takes the newest backup that leads to the target', async () => {
    const planned = async (args: readonly string[]): Promise<string> =>
      (await archive.json<Plan>(['restore', '--plan', ...args])).backup.id;
    expect(await planned([])).toBe(second);
    for (const args of [
      ['--target-time', facts.time],
      ['--target-lsn', facts.lsn],
      ['--target-xid', facts.xid],
      ['--target-name', 'before six'],
    ])
      expect(await planned(args), args.join(' ')).toBe(first);
    expect(await planned(['--target-time', facts.time, '--backup', first])).toBe(first);
  });

  test.runIf(major === ONE)(
    'H-38 a target that the archive does not lead to is refused before anything is written',
    async () => {
      const plan = await archive.json<Plan>(['restore', '--plan']);
      const end = plan.wal.lastTransaction ?? '';
      const refused = async (args: readonly string[], message: RegExp): Promise<void> => {
        const result = await restoreCli(archive, [`${archive.folder}/refused`, ...args]);
        expect(result).toMatchObject({ code: 1 });
        expect(result.stderr.split('pgark: error: ')[1]).toMatch(message);
      };
      await refused(['--target-time', end], /lies behind the last transaction in the WAL, which ended at/);
      await refused(['--target-time', '2020-01-01 00:00Z'], new RegExp(`no backup ends before the target .*${first}`));
      await refused(['--target-lsn', 'FF/0'], /lies behind the last WAL record/);
      await refused(['--target-lsn', '0/1000000'], /no backup ends before the target/);
      await refused(['--target-xid', '4000000'], /does not end in the WAL/);
      await refused(['--target-name', 'nothing'], /there is no restore point "nothing"/);
      await refused(['--target-time', facts.time, '--backup', second], /no backup ends before the target/);
      await refused(['--target-timeline', '7'], /on the way to timeline 7, whose history file is not archived/);
      // The very last moment that can be reached: just before the last transaction.
      const last = await archive.json<Plan>(['restore', '--plan', '--target-time', end, '--exclusive']);
      expect(last.reachable).toBe(true);
    },
  );

  test('a moment, and from there on along a timeline of its own, which archives', async () => {
    const branch = await restored(archive, major, 'time', ['--target-time', facts.time]);
    undo.push(() => branch.destroy());
    // Told to archive again, it may write into the archive that it came from: as timeline 2.
    dropSetting(branch.data, 'archive_mode');
    branch.configure({ archive_mode: 'on', archive_command: archiveCommand(archive) });
    await startAndPromote(branch);
    expect(await branch.value(`SELECT string_agg(number::text, ' ' ORDER BY number) FROM events`)).toBe('1 2 3 4');
    expect(branch.log).toMatch(/recovery stopping before commit of transaction \d+/);
    await branch.query('INSERT INTO events VALUES (200)');
    await archive.switchWal(branch);
    await branch.stop();
    expect(archive.holds('00000002.history')).toBe(true);

    const newest = await recovered('newest-timeline', []);
    expect(newest.rows).toBe('1 2 3 4 200');
    await newest.server.stop();
    if (major !== ONE) return;
    const old = await recovered('old-timeline', ['--target-timeline', '1']);
    expect(old.rows).toBe('1 2 3 4 5 6 7');
    await old.server.stop();
    const current = await archive.json<Plan>(['restore', '--plan', '--target-timeline', 'current']);
    expect([current.timeline, current.backup.id]).toEqual([1, second]);
    const along = await archive.json<Plan>(['restore', '--plan', '--target-timeline', '2']);
    expect([along.timeline, along.backup.id]).toEqual([2, first]);
  });
});
