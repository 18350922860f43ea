/** What nothing accounts for is found, and nothing else. */
import { expect, test } from 'vitest';
import { holdLease } from '../../src/repository/held-lease.ts';
import { newBackupId } from '../../src/repository/layout.ts';
import { LEASE_MARGIN, LEASE_TIME } from '../../src/repository/lease.ts';
import { GRACE, planGarbage, runGarbage, type Garbage } from '../../src/retention/gc.ts';
import {
  Clock,
  DAY,
  keysIn,
  putBackup,
  putObject,
  putWal,
  range,
  segmentsIn,
  smallArchive,
  SYSTEM,
  walName,
} from './small-archive.ts';

const actions = (found: readonly Garbage[]): readonly string[] =>
  found.map(({ kind, action, subject }) => `${action} ${kind} ${subject}`);

test('H-57 parts of a backup without a record go when they are old by its id and by the storage, and no lease names them', async () => {
  const clock = new Clock();
  const { repository, storage } = await smallArchive(clock);
  await putWal(repository, 1, [1, 2, 3]);
  const whole = await putBackup(repository, { time: clock.time, from: 1 });
  const left = await putBackup(repository, { time: clock.time + 1000, from: 2, commit: false });
  // The clock of its host was a year behind, or ahead: one of both says that it is young.
  const behind = newBackupId(new Date(clock.time - 365 * DAY), () => 0.1);
  const ahead = newBackupId(new Date(clock.time + 365 * DAY), () => 0.1);
  await putBackup(repository, { time: clock.time, id: ahead, from: 2, commit: false });
  clock.time += GRACE + 2000;
  await putBackup(repository, { time: clock.time, id: behind, from: 2, commit: false });
  const before = await keysIn(storage);
  const plan = await planGarbage(repository, { now: clock.now });
  expect(actions(plan)).toEqual([`keep backup ${behind}`, `remove backup ${left}`, `keep backup ${ahead}`]);
  expect(await keysIn(storage)).toEqual(before);

  const scope = { backups: [left], wal: [] };
  const lease = await holdLease(repository, SYSTEM, { command: 'copy', scope, now: clock.now });
  const held = await runGarbage(repository, { now: clock.now });
  expect(held.objects).toBe(0);
  expect(held.found.find(({ subject }) => subject === left)?.reason).toContain('pgark copy on');
  await lease.release();

  expect(await runGarbage(repository, { now: clock.now })).toMatchObject({ objects: 4, bytes: 16 });
  const after = await keysIn(storage);
  expect(before.filter((key) => !after.includes(key)).every((key) => key.includes(`/backups/${left}/`))).toBe(true);
  expect((await repository.backups(SYSTEM).list()).map(({ id, state }) => `${id} ${state}`)).toEqual([
    `${behind} incomplete`,
    `${whole} complete`,
    `${ahead} incomplete`,
  ]);
});

test('slices go when their segment is there whole, those of an unfinished one stay', async () => {
  const clock = new Clock();
  const { repository, storage } = await smallArchive(clock);
  const archive = repository.wal(SYSTEM);
  await putBackup(repository, { time: clock.time, from: 1 });
  await putWal(repository, 1, [1, 2]);
  for (const segment of [1, 2, 3]) await archive.pushTail(walName(1, segment), 0, 5, Buffer.from('slice'));
  clock.time += GRACE + 1;
  await archive.pushTail(walName(1, 2), 5, 7, Buffer.from('xy'));
  expect(actions(await planGarbage(repository, { now: clock.now }))).toEqual([
    'remove slices timeline 1',
    'keep slices timeline 1',
  ]);
  expect(await runGarbage(repository, { now: clock.now })).toMatchObject({ objects: 2 });
  expect((await archive.slices(walName(1, 1))).length).toBe(0);
  expect((await archive.slices(walName(1, 2))).map(({ from }) => from)).toEqual([5]);
  expect((await archive.slices(walName(1, 3))).length).toBe(1);
  expect(await segmentsIn(repository)).toEqual([1, 2]);
  expect(await runGarbage(repository, { now: clock.now, grace: 0 })).toMatchObject({ objects: 1 });
  expect((await keysIn(storage)).filter((key) => key.includes('.tail/'))).toHaveLength(1);
});

test('what speaks of things that are gone goes too: times, facts, leases, probes', async () => {
  const clock = new Clock();
  const { repository, storage } = await smallArchive(clock);
  await putWal(repository, 1, range(5, 9));
  const id = await putBackup(repository, { time: clock.time, from: 5 });
  const lost = newBackupId(new Date(clock.time), () => 0.5);
  for (const subject of [id, lost, 'wal'])
    await repository.facts(SYSTEM).add(subject, { kind: 'behind', time: clock.time, data: {} });
  const times = (first: number, last: number): string =>
    `main/${SYSTEM}/times/00000001/${walName(1, first)}-${walName(1, last)}-${'0'.repeat(32)}.json`;
  const others = [times(4, 5), `main/${SYSTEM}/times/00000001/index`, `main/${SYSTEM}/times/v2/x.json`];
  for (const key of [times(1, 4), ...others]) await putObject(storage, key);
  await putObject(storage, 'main/check/abcd/0');
  await holdLease(repository, SYSTEM, { command: 'restore', scope: { backups: 'all', wal: 'all' }, now: clock.now });
  const before = await keysIn(storage);
  expect(actions(await planGarbage(repository, { now: clock.now }))).toEqual([]);
  clock.time += Math.max(GRACE, LEASE_TIME + LEASE_MARGIN) + 1;
  const { found } = await runGarbage(repository, { now: clock.now });
  expect(actions(found)).toEqual([
    'remove times 1 of them',
    'remove facts 1 of them',
    'remove lease 1 of them',
    'remove probe 1 of them',
  ]);
  const after = await keysIn(storage);
  expect(before.filter((key) => !after.includes(key))).toEqual(
    expect.arrayContaining([times(1, 4), 'main/check/abcd/0', expect.stringContaining(lost)]),
  );
  expect(after).toHaveLength(before.length - 3);
  for await (const { key } of storage.list(`main/${SYSTEM}/leases/`)) throw new Error(`${key} is left`);
});
