import type { RetainOptions, Storage } from '@pgark/sdk';
import { ArchiveError } from '@pgark/sdk';
import { MemoryStorage } from '@pgark/storage-memory';
import { beforeEach, describe, expect, test } from 'vitest';
import { bodyOf } from '../../src/repository/objects.ts';
import { Repository } from '../../src/repository/repository.ts';
import { extendLocks, type ExtendLocksOptions, type ExtendLocksResult } from '../../src/retention/extend-locks.ts';
import { neededRanges } from '../../src/retention/needed-ranges.ts';
import { withLock } from '../../src/storage/lock.ts';
import { SAMPLE_FACTS, SYSTEM } from '../repository/sample-record.ts';

const DAY = 86_400_000;
const LOCK = 30 * DAY;
const START = Date.parse('2026-11-01T00:00:00Z');

/** A storage that counts who is asked for its lock, and can fail then. */
class Asked extends MemoryStorage {
  readonly asked: string[] = [];
  fails: (key: string) => boolean = () => false;

  override async retain(key: string, until: Date, options?: RetainOptions): Promise<Date> {
    if (this.fails(key)) throw new ArchiveError('STORAGE_DENIED', `locking ${key} is refused`);
    this.asked.push(key);
    return super.retain(key, until, options);
  }
}

let now = START;
let memory: Asked;
let repository: Repository;

const repositoryOf = (storage: Storage, lock: number | undefined): Repository =>
  new Repository({
    cluster: 'main',
    storage,
    codecs: [],
    codecFor: async (suffix) => Promise.reject(new Error(`no codec ${suffix}`)),
    ...(lock !== undefined && { lock }),
  });

beforeEach(() => {
  now = START;
  memory = new Asked({ now: () => now });
  repository = repositoryOf(withLock(memory, { lock: LOCK, now: () => now }), LOCK);
});

const segment = (number: number): string => `0000000100000000${number.toString(16).toUpperCase().padStart(8, '0')}`;

async function archive(from: number, to: number, name = segment): Promise<void> {
  for (let number = from; number <= to; number++)
    await repository.wal(SYSTEM).push(name(number), { bytes: Buffer.from(`segment ${number}`) });
}

async function backup(id: string, lsn: string): Promise<void> {
  const backups = repository.backups(SYSTEM);
  const part = await backups.putObject(id, 'base/0000.tar', bodyOf(Buffer.from(`part of ${id}`)));
  const manifest = await backups.putObject(id, 'backup_manifest', bodyOf(Buffer.from('{}')));
  const fileList = await backups.putObject(id, 'files.json', bodyOf(Buffer.from('[]')));
  const facts = { ...SAMPLE_FACTS, id, startLsn: lsn, dataSize: 1 };
  const parts = [{ ...part, archive: 'base', number: 0, entries: 1 }];
  await backups.commit({ ...facts, stopLsn: lsn.replace(/28$/, '50'), parts, manifest, fileList });
}

async function extend(more: Partial<ExtendLocksOptions> = {}): Promise<ExtendLocksResult> {
  memory.asked.length = 0;
  const ranges = await neededRanges({ repository, systemId: SYSTEM });
  return extendLocks({ repository, systemId: SYSTEM, ranges, now: () => now, ...more });
}

/** The keys that could be removed now. */
async function unlocked(): Promise<readonly string[]> {
  const keys: string[] = [];
  for await (const { key } of memory.list('')) keys.push(key);
  const { retained } = await memory.remove(keys);
  return keys.filter((key) => !retained.includes(key));
}

const FIRST = '20261101T000000Z-0001';

describe('extending locks', () => {
  test('what the kept backup needs is asked once, then left alone until half of its lock has passed, then extended', async () => {
    await repository.open({ create: true });
    await archive(1, 5);
    await backup(FIRST, '0/3000028');
    now += 1000;
    const first = await extend();
    expect(first).toMatchObject({ extended: 0, gone: [] });
    // The backup's four objects, three segments and the marker; WAL before the backup is nobody's.
    expect(first.looked).toBe(8);
    expect(memory.asked.filter((key) => key.includes('/wal/')).map((key) => key.slice(-57, -33))).toEqual(
      [3, 4, 5].map(segment),
    );

    now += 10 * DAY;
    await archive(6, 7);
    now += 1000;
    const second = await extend();
    // What is new: two segments, and the record of the first run.
    expect(second).toMatchObject({ looked: 3, extended: 0 });
    expect(second.objects).toBe(11);

    now += 6 * DAY;
    const third = await extend();
    expect(third.extended).toBe(9);
    expect(third.until).toEqual(new Date(now + LOCK));

    now = START + LOCK + DAY;
    expect(await unlocked()).toEqual([1, 2].map((number) => expect.stringContaining(segment(number)) as string));
    expect(await extend()).toMatchObject({ gone: [] });
  });

  test('over a hundred daily runs nothing that is needed is ever unlocked, and few objects are asked', async () => {
    await repository.open({ create: true });
    await archive(1, 1);
    await backup(FIRST, '0/1000028');
    let asked = 0;
    for (let day = 1; day <= 100; day++) {
      now = START + day * DAY;
      await archive(day + 1, day + 1);
      asked += (await extend()).looked;
      if (day % 10 === 0) expect(await unlocked(), `day ${day}`).toEqual([]);
    }
    // Each of the segments and of the records of the runs about every 15 days; all of them on every day would be some 10,000.
    expect(asked).toBeGreaterThan(200);
    expect(asked).toBeLessThan(2000);
  });

  test('objects from before the lock was configured are locked by the first run', async () => {
    const bare = repositoryOf(memory, undefined);
    await bare.open({ create: true });
    await bare.wal(SYSTEM).push(segment(2), { bytes: Buffer.from('old') });
    await backup(FIRST, '0/2000028');
    now += DAY;
    expect(await extend()).toMatchObject({ extended: 2 });
    expect(await unlocked()).toEqual([]);
  });

  test('a backup that is kept only now is asked, whatever is on record of others', async () => {
    await repository.open({ create: true });
    await archive(1, 4);
    await backup(FIRST, '0/1000028');
    const later = '20261105T000000Z-0002';
    await backup(later, '0/3000028');
    const ranges = await neededRanges({ repository, systemId: SYSTEM, kept: new Set([later]) });
    await extend({ ranges });
    expect(memory.asked.some((key) => key.includes(FIRST) || key.includes(segment(1)))).toBe(false);
    await extend();
    expect(memory.asked.filter((key) => key.includes(FIRST))).toHaveLength(4);
    expect(memory.asked.filter((key) => key.includes('/wal/'))).toHaveLength(2);
  });

  test('WAL that came late between what is on record is asked', async () => {
    await repository.open({ create: true });
    await archive(2, 3);
    await archive(6, 8);
    await backup(FIRST, '0/2000028');
    await extend();
    now += DAY;
    await archive(4, 5);
    await extend();
    expect(memory.asked.filter((key) => key.includes('/wal/'))).toHaveLength(2);
  });

  test('a run that fails has put on record what it did, and the next one goes on there', async () => {
    await repository.open({ create: true });
    await archive(1, 1200);
    await backup(FIRST, '0/1000028');
    now += 20 * DAY;
    memory.fails = (key) => key.includes(segment(1000));
    await expect(extend()).rejects.toMatchObject({ code: 'STORAGE_DENIED' });
    const done = memory.asked.length;
    expect(done).toBeGreaterThan(900);
    memory.fails = () => false;
    const result = await extend();
    expect(result.looked).toBeLessThan(1210 - done + 30);
    now = START + LOCK + DAY;
    expect(await unlocked()).toEqual([]);
  });

  test('a record that promises more than a lock can last is not believed for longer', async () => {
    await repository.open({ create: true });
    await archive(1, 3);
    await backup(FIRST, '0/1000028');
    const far = new Date(START + 1000 * DAY).toISOString();
    // What is no stretch is passed over.
    const stretches = [null, 7, { first: 'a' }, { first: 'main/', last: 'main/~', newest: far, until: far }];
    await repository.facts(SYSTEM).add('locks', { kind: 'extended', time: START, data: { stretches } });
    expect((await extend()).looked).toBeLessThan(3);
    now += 16 * DAY;
    expect((await extend()).extended).toBeGreaterThan(7);
    const future = now + 2 * DAY;
    await repository.facts(SYSTEM).add('locks', { kind: 'extended', time: future, data: { stretches } });
    now += 16 * DAY;
    now -= 15 * DAY;
    await archive(4, 4);
    await extend();
    expect(memory.asked.some((key) => key.includes(segment(4)))).toBe(true);
  });

  test('a repository without locks says so', async () => {
    const bare = repositoryOf(memory, undefined);
    const call = { repository: bare, systemId: SYSTEM, ranges: [] };
    await expect(extendLocks(call)).rejects.toMatchObject({ code: 'STORAGE_UNSUPPORTED' });
  });
});

describe('what is needed', () => {
  test('WAL of every timeline from the oldest kept backup on, all histories, and nothing of incomplete backups', async () => {
    await repository.open({ create: true });
    await archive(1, 5);
    const second = (number: number): string => segment(number).replace(/^00000001/, '00000002');
    await archive(3, 6, second);
    await repository.wal(SYSTEM).push('00000002.history', { bytes: Buffer.from('1\t0/3000000\tno reason\n') });
    await repository.backups(SYSTEM).putObject('20261031T000000Z-0000', 'base/0000.tar', bodyOf(Buffer.from('x')));
    await backup(FIRST, '0/4000028');
    const keys: string[] = [];
    for (const { prefix, startAfter } of await neededRanges({ repository, systemId: SYSTEM })) {
      const from = startAfter === undefined ? {} : { startAfter };
      for await (const { key } of memory.list(prefix, from)) keys.push(key);
    }
    // A history may come with the segments of its timeline too.
    const wal = keys.flatMap((key) => /\/(0000000\d(?:[0-9A-F]{16}|\.history))-/.exec(key)?.[1] ?? []);
    expect([...new Set(wal)]).toEqual([segment(4), segment(5), '00000002.history', second(4), second(5), second(6)]);
    expect(keys.filter((key) => key.includes(FIRST))).toHaveLength(4);
    expect(keys).toContain('main/pgark.json');
    expect(keys.some((key) => key.includes('20261031T000000Z-0000'))).toBe(false);
  });

  test('with a backup whose record cannot be read, all WAL; without any, the marker alone', async () => {
    await repository.open({ create: true });
    await archive(1, 5);
    expect(await neededRanges({ repository, systemId: SYSTEM })).toEqual([{ prefix: 'main/pgark.json' }]);
    await backup(FIRST, '0/4000028');
    const broken = `main/${SYSTEM}/backups/20261102T000000Z-0000/backup.json`;
    await memory.put(broken, bodyOf(Buffer.from('no record')), { ifAbsent: true });
    const ranges = await neededRanges({ repository, systemId: SYSTEM });
    expect(ranges).toContainEqual({ prefix: `main/${SYSTEM}/wal/` });
    expect(ranges).toContainEqual({ prefix: broken.replace('backup.json', '') });
  });
});
