/** Backups of real servers are expired; what is kept is restored, to the beginning of what it promises. */
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { TestArchive } from '../support/archive.ts';
import { later } from '../support/later.ts';
import { giveToServer, PostgresServer } from '../support/postgres.ts';
import { restored, startAndPromote } from '../support/restoring.ts';
import { until } from '../support/until.ts';

interface ExpireDocument {
  readonly backups: readonly { readonly id: string; readonly action: string; readonly text: string }[];
  readonly wal: readonly { readonly action: string; readonly objects: number }[];
  readonly done?: {
    readonly removed: readonly string[];
    readonly retained: readonly string[];
    readonly objects: number;
  };
}

async function expire(archive: TestArchive, args: readonly string[] = []): Promise<ExpireDocument> {
  const [document] = await archive.json<readonly [ExpireDocument]>(['expire', ...args]);
  return document;
}

const filesOf = (archive: TestArchive): readonly string[] =>
  readdirSync(archive.repository, { recursive: true, encoding: 'utf8' }).filter((name) => /\.(?:json|zst)$/.test(name));

/** Inserts a row, and gives a moment at which it is there and the next one is not. */
async function moment(server: PostgresServer, row: number): Promise<string> {
  await server.query(`INSERT INTO rows VALUES (${row})`);
  return server.value(`SELECT to_char(clock_timestamp(), 'YYYY-MM-DD HH24:MI:SS.USOF')`);
}

test('every kept backup is restored to the beginning of its window, and nothing of a living cluster is removed after initdb', async () => {
  const server = later(await PostgresServer.start({ major: 18, segmentMegabytes: 1 }), (started) => started.destroy());
  const archive = later(new TestArchive(server, { config: { retention: { keep: 2 } } }), (made) => made.destroy());
  const receiver = later(await archive.receive(server), (started) => started.kill());
  await server.query('CREATE TABLE rows (n int)');
  const taken: { readonly id: string; readonly time: string; readonly rows: number }[] = [];
  for (const rows of [1, 2, 3, 4]) {
    const { id } = await archive.backup();
    taken.push({ id, time: await moment(server, rows), rows });
    await server.query(`SELECT pg_logical_emit_message(true, 'test', repeat('x', 1500000))`);
  }
  await moment(server, 5);
  await archive.switchWal(server);
  const system = await server.value('SELECT system_identifier FROM pg_control_system()');

  // A dry run changes nothing, and explains each decision.
  const before = filesOf(archive);
  const plan = await expire(archive);
  expect(filesOf(archive)).toEqual(before);
  expect(plan.backups.map(({ id, action }) => `${action} ${id}`)).toEqual(
    taken.map(({ id }, at) => `${at < 2 ? 'remove' : 'keep'} ${id}`),
  );
  for (const { text } of plan.backups) expect(text).toMatch(/^(?:kept|removed) because ./);
  expect(await archive.run(['expire'])).toContain('nothing was removed: this was the plan');

  const { done } = await expire(archive, ['--confirm']);
  expect(done).toMatchObject({ removed: taken.slice(0, 2).map(({ id }) => id), retained: [] });
  expect(plan.wal.find(({ action }) => action === 'remove')?.objects).toBeGreaterThan(0);
  expect(filesOf(archive).length).toBeLessThan(before.length);

  // The receiver goes on meanwhile, and so does the archive.
  expect(receiver.ended).toBe(false);
  const kept = taken.slice(2);
  for (const { id, time, rows } of kept) {
    const name = `to-${rows}`;
    const args = ['--backup', id, '--target-time', time];
    const clone = later(await restored(archive, 18, name, args), (opened) => opened.destroy());
    await startAndPromote(clone);
    expect(await clone.value('SELECT count(*) FROM rows')).toBe(String(rows));
    await clone.kill();
  }
  await receiver.stop();
  await server.kill();

  // Another cluster under the same name.
  const second = later(await PostgresServer.start({ major: 18, segmentMegabytes: 1 }), (started) => started.destroy());
  rmSync(archive.spool, { recursive: true });
  mkdirSync(archive.spool);
  giveToServer(archive.spool);
  archive.connectTo(second);
  const receiving = later(await archive.receive(second), (started) => started.kill());
  await second.query('CREATE TABLE rows (n int)');
  const young = await archive.backup();
  const time = await moment(second, 1);
  await moment(second, 2);
  const last = await second.value('SELECT pg_walfile_name(pg_switch_wal())');
  const living = await second.value('SELECT system_identifier FROM pg_control_system()');
  const begin = await second.value(`SELECT pg_walfile_name('${young.startLsn}')`);
  // WAL from before its first backup leads nowhere, and may go.
  const own = (): readonly string[] =>
    filesOf(archive).filter((name) => {
      const segment = /\/wal\/.*\/([0-9A-F]{24})/.exec(name)?.[1];
      return name.startsWith(`main/${living}/`) && (segment === undefined || segment >= begin);
    });
  await until('the last segment', () => own().some((name) => name.includes(`/${last}-`)));
  await receiving.stop();
  const all = own();
  expect(all.length).toBeGreaterThan(5);
  expect((await expire(archive, ['--confirm'])).done?.removed).toEqual([]);
  expect(own()).toEqual(all);
  // All of the old one, as it is named.
  const { done: gone } = await expire(archive, ['--confirm', '--remove', system]);
  expect(gone?.removed).toEqual(kept.map(({ id }) => id));
  expect(own()).toEqual(all);
  const left = (): readonly string[] => filesOf(archive).filter((name) => name.startsWith(`main/${system}/`));
  // What said when its transactions ended goes with the garbage.
  expect(left().filter((name) => !name.includes('/times/'))).toEqual([]);
  await archive.run(['gc', '--confirm', '--grace', '0s']);
  expect(left()).toEqual([]);
  expect(own()).toEqual(all);
  const args = ['--backup', young.id, '--target-time', time];
  const clone = later(await restored(archive, 18, 'young', args), (opened) => opened.destroy());
  await startAndPromote(clone);
  expect(await clone.value('SELECT count(*) FROM rows')).toBe('1');
  expect(existsSync(join(archive.repository, 'main', 'pgark.json'))).toBe(true);
});
