import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { ArchiveError } from '../../src/contracts/errors.ts';
import type { Storage } from '../../src/contracts/storage.ts';
import { planCopy } from '../../src/copy/plan.ts';
import { formatLsn } from '../../src/postgres/lsn.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { keysOf, memoryStorage } from '../repository/repository.ts';
import {
  archive,
  copy,
  damage,
  makeBackup,
  pushWal,
  SEGMENT_SIZE,
  SYSTEM,
  walName,
  walOf,
  watchedPuts,
} from './archives.ts';

const FIRST = '20261121T060000Z-0001';
const SECOND = '20261121T070000Z-0002';
const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, at) => from + at);
const names = (timeline: number, from: number, to: number): string[] =>
  range(from, to).map((number) => walName(timeline, number));

/** The history file of a timeline: its ancestors and the segments in whose middle they end. */
async function pushHistory(
  repository: Repository,
  timeline: number,
  ancestors: readonly (readonly [timeline: number, segment: number])[],
): Promise<string> {
  const name = `${timeline.toString(16).toUpperCase().padStart(8, '0')}.history`;
  const text = ancestors
    .map(
      ([ancestor, segment]) =>
        `${ancestor}\t${formatLsn(BigInt(segment) * BigInt(SEGMENT_SIZE) + 0x8000n)}\tpromoted\n`,
    )
    .join('\n');
  await repository.wal(SYSTEM).push(name, { bytes: Buffer.from(text) });
  return name;
}

test('needed: the segments from the start to the stop of each backup, and no others', async () => {
  const source = await archive('a');
  await makeBackup(source, FIRST, { from: 2, to: 4 });
  await makeBackup(source, SECOND, { from: 4, to: 7 });
  await pushWal(source, 1, range(1, 9));
  const target = await archive('b');
  const { plan, result } = await copy(source, target, { wal: 'needed' });
  expect(await walOf(target)).toEqual(names(1, 2, 7));
  // The segment that both need is counted once.
  expect(plan.walCount).toMatchObject({ missing: 6, present: 0, plainBytes: 6 * SEGMENT_SIZE });
  expect(result.wal).toEqual({ copied: 6, plainBytes: 6 * SEGMENT_SIZE });
});

test('following: all that leads on from the backups, on every timeline that descends, with histories and the open end', async () => {
  const source = await archive('a');
  await makeBackup(source, FIRST, { from: 10, to: 12, timeline: 2 });
  await pushWal(source, 1, range(1, 8)); // before the backup
  await pushWal(source, 2, range(8, 16));
  await pushWal(source, 3, range(14, 15)); // forked from 2 behind the backup
  await pushWal(source, 4, range(9, 11)); // forked from 2 before it
  await pushWal(source, 5, range(15, 17)); // forked from 3
  await pushWal(source, 7, range(1, 2)); // nobody knows from where
  const histories = [
    await pushHistory(source, 2, [[1, 8]]),
    await pushHistory(source, 3, [
      [1, 8],
      [2, 14],
    ]),
  ];
  const foreign = await pushHistory(source, 4, [
    [1, 8],
    [2, 9],
  ]);
  histories.push(
    await pushHistory(source, 5, [
      [1, 8],
      [2, 14],
      [3, 15],
    ]),
  );
  const wal = source.wal(SYSTEM);
  const partial = `${walName(2, 17)}.partial`;
  const label = `${walName(2, 10)}.00000028.backup`;
  for (const name of [partial, label]) await wal.push(name, { bytes: randomBytes(300) });
  const slice = randomBytes(1000);
  // The open segment of timeline 5 has slices, and so has one that became whole since.
  for (const segment of [walName(5, 17), walName(5, 18)])
    for (const from of [0, 500]) await wal.pushTail(segment, from, from + 500, slice.subarray(from, from + 500));
  const target = await archive('b', { codecs: ['gz'] });
  const { plan, result } = await copy(source, target);
  const there = new Set(await walOf(target));
  const wanted = [
    ...names(2, 10, 16),
    ...names(3, 14, 15),
    ...names(5, 15, 17),
    ...histories,
    partial,
    label,
    `${walName(5, 18)}.tail/00000000-000001F4`,
    `${walName(5, 18)}.tail/000001F4-000003E8`,
  ];
  expect([...there].sort()).toEqual(wanted.sort());
  expect(there).not.toContain(foreign);
  expect(await target.wal(SYSTEM).tail(walName(5, 18))).toEqual(slice);
  expect(plan.notes).toEqual(['the WAL of timeline 7 is left out: its history file is not there']);
  expect(plan.walCount.missing).toBe(wanted.length);
  expect(result.wal).toEqual({ copied: wanted.length, plainBytes: plan.walCount.plainBytes });
  expect(result.failures).toEqual([]);
});

test('a repository that was away is brought up though it has the backups: what it has is not read', async () => {
  const storage = await memoryStorage();
  const source = await archive('a', { storage });
  await makeBackup(source, FIRST, { from: 2, to: 3 });
  await pushWal(source, 1, range(2, 120));
  const target = await archive('b');
  await copy(source, target);
  await pushWal(source, 1, range(121, 125));
  const calls = { get: 0, list: 0 };
  const counting: Storage = {
    ...watchedPuts(storage, () => undefined),
    get: (...call) => {
      calls.get++;
      return storage.get(...call);
    },
    list: (...call) => {
      calls.list++;
      return storage.list(...call);
    },
  };
  const { plan, result } = await copy(await archive('a', { storage: counting }), target);
  expect(result.backups).toMatchObject([{ state: 'present' }]);
  expect(plan.walCount).toMatchObject({ missing: 5, present: 119 });
  expect(result.wal.copied).toBe(5);
  expect(await walOf(target)).toEqual(names(1, 2, 125));
  // Two records and five segments; a few listings, not one for each segment.
  expect(calls.get).toBeLessThan(10);
  expect(calls.list).toBeLessThan(20);
});

test('none: for backups whose WAL the target has from elsewhere; without it the backup is refused', async () => {
  const source = await archive('a');
  await makeBackup(source, FIRST, { from: 2, to: 4 });
  const wal = await pushWal(source, 1, range(2, 4));
  const target = await archive('b');
  const [first, second, third] = [...wal.keys()];
  for (const name of [first, third]) {
    if (name !== undefined) await target.wal(SYSTEM).push(name, { bytes: wal.get(name) ?? new Uint8Array() });
  }
  const refused = await copy(source, target, { wal: 'none' });
  expect(refused.result.failures).toMatchObject([
    {
      subject: FIRST,
      error: { code: 'WAL_NOT_FOUND', message: `backup ${FIRST} needs ${second}, not in repository b` },
    },
  ]);
  expect(await target.backups(SYSTEM).list()).toEqual([]);
  await target.wal(SYSTEM).push(second ?? '', { bytes: wal.get(second ?? '') ?? new Uint8Array() });
  const { result } = await copy(source, target, { wal: 'none' });
  expect(result).toMatchObject({ backups: [{ state: 'copied' }], wal: { copied: 0 }, failures: [] });
});

test('a backup whose WAL is nowhere is refused with the names of what is missing, before its objects are read', async () => {
  const source = await archive('a');
  await makeBackup(source, FIRST, { from: 2, to: 9 });
  await makeBackup(source, SECOND, { from: 10, to: 11 });
  await pushWal(source, 1, [2, 10, 11]);
  const target = await archive('b');
  const { plan, result } = await copy(source, target);
  expect(plan.backups.map(({ state }) => state)).toEqual(['failed', 'copy']);
  expect(result.failures).toMatchObject([{ subject: FIRST, error: { code: 'WAL_NOT_FOUND' } }]);
  expect(result.failures[0]?.error.message).toBe(
    `backup ${FIRST} needs ${names(1, 3, 5).join(', ')} and 4 more WAL files, neither in repository a nor in b`,
  );
  expect(result.backups.map(({ state }) => state)).toEqual(['failed', 'copied']);
  expect((await keysOf(target.storage)).filter((key) => key.includes(FIRST))).toEqual([]);
});

test('H-22 WAL of one name with other content in the target is a conflict: the backup fails, what follows goes on', async () => {
  for (const number of [3, 6]) {
    const source = await archive('a');
    await makeBackup(source, FIRST, { from: 2, to: 4 });
    await pushWal(source, 1, range(2, 8));
    const target = await archive('b');
    await pushWal(target, 1, [number]);
    const [before] = (await keysOf(target.storage)).filter((key) => key.includes(walName(1, number)));
    const { plan, result } = await copy(source, target);
    const subject = number === 3 ? FIRST : walName(1, 6);
    expect(result.failures).toContainEqual({ subject, error: expect.objectContaining({ code: 'WAL_CONFLICT' }) });
    expect([...plan.failures, ...plan.conflicts].map((failure) => failure.subject)).toContain(subject);
    expect(result.failures[0]?.error.message).toMatch(
      / has digest [0-9a-f]{32} in repository a and [0-9a-f]{32} in repository b$/,
    );
    expect(result.backups[0]?.state).toBe(number === 3 ? 'failed' : 'copied');
    // Once, as it was, and everything else beside it.
    expect((await keysOf(target.storage)).filter((key) => key.includes(walName(1, number)))).toEqual([before]);
    expect(await walOf(target)).toEqual(names(1, 2, 8));
  }
});

test('a history of other content is a conflict too', async () => {
  const [source, target] = [await archive('a'), await archive('b')];
  await makeBackup(source, FIRST, { from: 2, to: 3 });
  await pushWal(source, 1, range(2, 5));
  await pushWal(source, 2, [5]);
  await pushHistory(source, 2, [[1, 5]]);
  await pushHistory(target, 2, [[1, 4]]);
  const { plan, result } = await copy(source, target);
  expect(plan.conflicts).toMatchObject([{ subject: '00000002.history', error: { code: 'WAL_CONFLICT' } }]);
  expect(result.failures).toMatchObject([{ subject: '00000002.history', error: { code: 'WAL_CONFLICT' } }]);
});

test('a damaged segment is never stored; it costs the backup that needs it, or itself alone', async () => {
  for (const number of [3, 6]) {
    const source = await archive('a');
    await makeBackup(source, FIRST, { from: 2, to: 4 });
    await pushWal(source, 1, range(2, 8));
    const key = (await keysOf(source.storage)).find((found) => found.includes(walName(1, number))) ?? '';
    await damage(source, key);
    const target = await archive('b');
    const { result } = await copy(source, target);
    const [failure] = result.failures;
    expect(failure?.subject).toBe(number === 3 ? FIRST : walName(1, number));
    expect(failure?.error.code).toMatch(/^(?:STORAGE|CODEC)_CORRUPT$/);
    expect(failure?.error.message).toContain(`repository a: `);
    expect(failure?.error.message).toContain(key);
    expect(result.backups[0]?.state).toBe(number === 3 ? 'failed' : 'copied');
    expect(await walOf(target)).toEqual(names(1, 2, 8).filter((name) => name !== walName(1, number)));
  }
});

test('a source that goes away while WAL is carried ends the copy, and the next one goes on', async () => {
  const storage = await memoryStorage();
  const source = await archive('a', { storage });
  await makeBackup(source, FIRST, { from: 2, to: 3 });
  await pushWal(source, 1, range(2, 30));
  let away = false;
  const failing: Storage = {
    ...watchedPuts(storage, () => undefined),
    get: (key, options) => {
      if (key.includes(walName(1, 15))) away = true;
      if (!away) return storage.get(key, options);
      return unavailable(key);
    },
  };
  const target = await archive('b');
  const { result } = await copy(await archive('a', { storage: failing }), target);
  expect(away).toBe(true);
  expect(result.stopped).toMatchObject({ code: 'STORAGE_UNAVAILABLE', details: { repository: 'a' } });
  expect(result.failures).toEqual([]);
  expect((await walOf(target)).length).toBeLessThan(20);
  const again = await copy(source, target);
  expect(again.result.wal.copied).toBe(again.plan.walCount.missing);
  expect(await walOf(target)).toEqual(names(1, 2, 30));
});

test('several systems in one archive are copied each for itself', async () => {
  const source = await archive('a');
  await makeBackup(source, FIRST, { from: 2, to: 3 });
  await pushWal(source, 1, range(2, 5));
  const other = '7710493345181099999';
  await source.wal(other).push(walName(1, 2), { bytes: randomBytes(10) });
  const plan = await planCopy({ source, target: await archive('b') });
  // No backup of it: nothing could be done with its WAL.
  expect([...plan.following.keys()]).toEqual([SYSTEM]);
  expect(plan.walCount.missing).toBe(4);
});

// eslint-disable-next-line require-yield
async function* unavailable(key: string): AsyncGenerator<Uint8Array> {
  throw new ArchiveError('STORAGE_UNAVAILABLE', `${key} cannot be reached`);
}

test('commit times go with the WAL that they are of, and a second copy adds none', async () => {
  const source = await archive('a');
  await makeBackup(source, FIRST, { from: 10, to: 12 });
  await pushWal(source, 1, range(8, 16));
  const said = (number: number): { segment: string; transactions: number; first: number; last: number } => {
    return { segment: walName(1, number), transactions: 1, first: number, last: number };
  };
  const times = source.times(SYSTEM);
  await times.add([said(7), said(8)]);
  await times.add([said(9), said(10)]);
  await times.add([said(12), said(13)]);
  await times.add([said(15)]);
  const known = async (repository: Repository): Promise<readonly string[]> => {
    const all = { first: 0n, last: 100n, segmentSize: SEGMENT_SIZE };
    return [...(await repository.times(SYSTEM).between(1, all)).keys()];
  };
  const target = await archive('b');
  await copy(source, target, { wal: 'needed' });
  expect(await known(target)).toEqual([9, 10, 12, 13].map((number) => walName(1, number)));
  await copy(source, target);
  expect(await known(target)).toEqual([9, 10, 12, 13, 15].map((number) => walName(1, number)));
  const before = await keysOf(target.storage);
  await copy(source, target);
  expect(await keysOf(target.storage)).toEqual(before);

  // One whose bytes are not those of its name says nothing, and costs no copy.
  const spoilt = (await keysOf(source.storage)).find((key) => key.includes(`/times/00000001/${walName(1, 12)}-`));
  await damage(source, spoilt ?? '');
  const other = await archive('c');
  expect((await copy(source, other)).result.failures).toEqual([]);
  expect(await known(other)).toEqual([9, 10, 15].map((number) => walName(1, number)));
  expect(await walOf(other)).toEqual(await walOf(target));
});
