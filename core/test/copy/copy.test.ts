import { expect, test } from 'vitest';
import { ArchiveError, isArchiveError } from '../../src/contracts/errors.ts';
import type { Storage } from '../../src/contracts/storage.ts';
import { planCopy } from '../../src/copy/plan.ts';
import { withRetry } from '../../src/storage/retry.ts';
import { keysOf, memoryStorage } from '../repository/repository.ts';
import {
  archive,
  contentsOf,
  copy,
  damage,
  makeBackup,
  pushWal,
  SYSTEM,
  walName,
  walOf,
  watchedPuts,
  type CodecName,
} from './archives.ts';

const FIRST = '20261121T060000Z-0001';
const SECOND = '20261121T070000Z-0002';
const THIRD = '20261121T080000Z-0003';
const code = (wanted: string): unknown => expect.toSatisfy((error) => isArchiveError(error) && error.code === wanted);
const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, at) => from + at);

test.each<readonly [readonly CodecName[], readonly CodecName[]]>([
  [['zst'], ['gz']],
  [['zst'], []],
  [[], ['zst']],
  [['gz'], ['zst', 'gz']],
])('a backup is decoded with %j, verified, and stored with %j', async (from, to) => {
  const source = await archive('a', { codecs: from });
  const target = await archive('b', { codecs: to });
  const record = await makeBackup(source, FIRST, { from: 2, to: 4 });
  const wal = await pushWal(source, 1, range(1, 6));
  const { result } = await copy(source, target);
  expect(result.failures).toEqual([]);
  expect(result.backups).toMatchObject([{ id: FIRST, state: 'copied', copied: 5, kept: 0 }]);
  const suffix = to.map((name) => `.${name}`).join('');
  const there = await target.backups(SYSTEM).read(FIRST);
  expect(there.parts.map(({ name }) => name)).toEqual(
    ['16385/0000.tar', 'base/0000.tar', 'base/0001.tar'].map((name) => name + suffix),
  );
  expect(there.codecs.map((codec) => codec.suffix)).toEqual(to);
  // All but how it is stored is as it was.
  const plain = ({ parts, manifest, fileList, ...rest }: typeof record): object => ({
    ...rest,
    codecs: [],
    sizes: [...parts, manifest, fileList].map(({ plainSize }) => plainSize),
    numbers: parts.map(({ archive: place, number, entries }) => [place, number, entries]),
    digests: [manifest, fileList].map(({ plainSha256 }) => plainSha256),
  });
  expect(plain(there)).toEqual(plain(record));
  expect(await contentsOf(target, FIRST)).toEqual(await contentsOf(source, FIRST));
  // No object of the target is without the target's codecs, so that nothing plain gets into a repository that encrypts.
  for (const key of await keysOf(target.storage)) if (!key.endsWith('.json')) expect(key.endsWith(suffix)).toBe(true);
  for (const [name, bytes] of [...wal].slice(1)) {
    const object = await target.wal(SYSTEM).find(name);
    if (object === undefined) throw new Error(`no ${name}`);
    expect(object.size).not.toBe(0);
    const chunks: Uint8Array[] = [];
    for await (const chunk of target.wal(SYSTEM).read(object)) chunks.push(chunk);
    expect(Buffer.compare(Buffer.concat(chunks), bytes)).toBe(0);
  }
});

test('the record comes last, after all WAL of the backup; until then the target lists no backup', async () => {
  const source = await archive('a');
  await makeBackup(source, FIRST, { from: 2, to: 4 });
  await pushWal(source, 1, range(2, 4));
  const inner = await memoryStorage();
  const puts: string[] = [];
  const states: string[] = [];
  const plainTarget = await archive('b', { storage: inner });
  const target = await archive('b', {
    storage: watchedPuts(inner, async (key) => {
      puts.push(key.replace(/-[0-9a-f]{32}/, ''));
      states.push(...(await plainTarget.backups(SYSTEM).list()).map(({ state }) => state));
    }),
  });
  await copy(source, target, { wal: 'needed', concurrency: 2 });
  const prefix = `main/${SYSTEM}`;
  expect(puts[0]).toBe('main/pgark.json');
  expect(puts.slice(1, 4).sort()).toEqual(
    range(2, 4).map((n) => `${prefix}/wal/00000001/00000000/${walName(1, n)}.zst`),
  );
  expect(puts.at(-1)).toBe(`${prefix}/backups/${FIRST}/backup.json`);
  expect(puts).toHaveLength(10);
  expect(states.length).toBeGreaterThan(0);
  expect(new Set(states)).toEqual(new Set(['incomplete']));
  expect((await target.backups(SYSTEM).list()).map(({ state }) => state)).toEqual(['complete']);
});

test('H-30 it can be interrupted at every object, and goes on there with what was left', async () => {
  const source = await archive('a');
  await makeBackup(source, FIRST, { from: 2, to: 4 });
  await pushWal(source, 1, range(2, 6));
  await source.facts(SYSTEM).add(FIRST, { kind: 'pin', time: 1000, data: { reason: 'audit' } });
  const reference = await archive('b');
  await copy(source, reference, { concurrency: 1 });
  const wanted = await keysOf(reference.storage);
  // Marker, WAL of the backup, objects, fact, record, WAL that follows.
  expect(wanted).toHaveLength(1 + 3 + 5 + 1 + 1 + 2);
  for (let puts = 0; puts < wanted.length; puts++) {
    const inner = await memoryStorage();
    let left = puts;
    let struck = 0;
    const dying = watchedPuts(inner, () => {
      if (left-- > 0) return;
      struck++;
      throw new ArchiveError('STORAGE_UNAVAILABLE', 'the power is gone');
    });
    const first = await copy(source, await archive('b', { storage: dying }), { concurrency: 1 });
    expect(struck).toBeGreaterThan(0);
    expect(first.result.stopped).toEqual(code('STORAGE_UNAVAILABLE'));
    const before = await keysOf(inner);
    expect(before).toHaveLength(puts);
    const complete = before.some((key) => key.endsWith('backup.json'));
    expect(first.result.backups[0]?.state).toBe(complete ? 'copied' : 'unfinished');
    const target = await archive('b', { storage: inner });
    expect((await target.backups(SYSTEM).list()).filter(({ state }) => state === 'complete')).toHaveLength(
      complete ? 1 : 0,
    );

    const again = await copy(source, target, { concurrency: 1 });
    expect(again.result.failures).toEqual([]);
    expect(again.result.stopped).toBeUndefined();
    const kept = before.filter((key) => /\/backups\/.*\.zst$/.test(key)).length;
    expect(again.result.backups[0]).toMatchObject(
      complete ? { state: 'present' } : { state: 'copied', kept, copied: 5 - kept },
    );
    expect(again.plan.backups[0]?.held).toBe(complete ? 0 : kept);
    expect(await keysOf(inner)).toEqual(wanted);
    expect(await contentsOf(target, FIRST)).toEqual(await contentsOf(source, FIRST));
    expect(await target.facts(SYSTEM).list(FIRST)).toHaveLength(1);
  }
});

test('an abort ends it, leaves nothing visible, and says what was not done', async () => {
  const source = await archive('a');
  for (const [at, id] of [FIRST, SECOND].entries()) await makeBackup(source, id, { from: at + 2, to: at + 3 });
  await pushWal(source, 1, range(2, 4));
  const abort = new AbortController();
  const inner = await memoryStorage();
  const storage = watchedPuts(inner, (key) => {
    if (key.includes('base/0001')) abort.abort();
  });
  const { result } = await copy(source, await archive('b', { storage }), { signal: abort.signal });
  expect(result.stopped).toEqual(code('ABORTED'));
  expect(result.backups.map(({ state }) => state)).toEqual(['unfinished', 'unfinished']);
  expect((await keysOf(inner)).filter((key) => key.endsWith('backup.json'))).toEqual([]);
  expect((await copy(source, await archive('b', { storage: inner }))).result.backups[0]?.state).toBe('copied');
});

test('a damaged object costs its backup, is named, and the others are copied', async () => {
  for (const codecs of [['zst'], []] as const) {
    const source = await archive('a', { codecs });
    for (const [at, id] of [FIRST, SECOND, THIRD].entries()) await makeBackup(source, id, { from: at + 2, to: at + 3 });
    await pushWal(source, 1, range(2, 6));
    const record = await source.backups(SYSTEM).read(SECOND);
    const key = `main/${SYSTEM}/backups/${SECOND}/${record.parts[1]?.name}`;
    const { size } = await source.storage.stat(key);
    await damage(source, key);
    const target = await archive('b');
    const { result } = await copy(source, target);
    expect(size).toBeGreaterThan(0);
    expect(result.backups.map(({ id, state }) => [id, state])).toEqual([
      [FIRST, 'copied'],
      [SECOND, 'failed'],
      [THIRD, 'copied'],
    ]);
    expect(result.failures).toMatchObject([
      {
        subject: SECOND,
        error: { code: codecs.length === 0 ? 'STORAGE_CORRUPT' : expect.stringMatching(/_CORRUPT$/) },
      },
    ]);
    expect(result.failures[0]?.error.message).toContain('repository a: ');
    expect(result.failures[0]?.error.message).toContain(key);
    const complete = (await target.backups(SYSTEM).list()).filter(({ state }) => state === 'complete');
    expect(complete.map(({ id }) => id)).toEqual([FIRST, THIRD]);
    // Nothing of the damaged object got into the target, and the WAL behind it did.
    expect((await keysOf(target.storage)).filter((there) => there.includes(`${SECOND}/base/0000`))).toEqual([]);
    expect(await walOf(target)).toEqual(range(2, 6).map((number) => walName(1, number)));
  }
});

test('what the target has under a name with other content is named, and nothing is written over', async () => {
  const source = await archive('a');
  await makeBackup(source, FIRST, { from: 2, to: 3 });
  await pushWal(source, 1, range(2, 3));
  const target = await archive('b');
  await target.backups(SYSTEM).putObject(FIRST, 'base/0000.tar', one(Buffer.from('something else')));
  const key = `main/${SYSTEM}/backups/${FIRST}/base/0000.tar.zst`;
  const before = await target.storage.stat(key);
  const { plan, result } = await copy(source, target);
  expect(plan.backups).toMatchObject([{ state: 'resume', held: 1 }]);
  expect(result.failures).toMatchObject([{ subject: FIRST, error: { code: 'STORAGE_EXISTS' } }]);
  expect(result.failures[0]?.error.message).toContain(
    `repository b has other content under ${FIRST}/base/0000.tar.zst`,
  );
  expect((await target.storage.stat(key)).size).toBe(before.size);
  expect((await target.backups(SYSTEM).list()).map(({ state }) => state)).toEqual(['incomplete']);
});

test('of two that differ the damaged one is blamed, also when it is the source', async () => {
  const source = await archive('a', { codecs: [] });
  await makeBackup(source, FIRST, { from: 2, to: 3 });
  await pushWal(source, 1, range(2, 3));
  const inner = await memoryStorage();
  const failing = watchedPuts(inner, (key) => {
    if (key.endsWith('backup.json')) throw new ArchiveError('STORAGE_UNAVAILABLE', 'away');
  });
  await copy(source, await archive('b', { storage: failing }));
  const target = await archive('b', { storage: inner });
  await damage(source, `main/${SYSTEM}/backups/${FIRST}/base/0000.tar`);
  const blamed = await copy(source, target);
  expect(blamed.result.failures[0]?.error).toEqual(code('STORAGE_CORRUPT'));
  expect(blamed.result.failures[0]?.error.message).toMatch(/^repository a: .*base\/0000\.tar should have SHA-256/);

  const good = await archive('c', { codecs: [] });
  await makeBackup(good, SECOND, { from: 2, to: 3 });
  await pushWal(good, 1, range(2, 3));
  const half = await memoryStorage();
  const dying = watchedPuts(half, (key) => {
    if (key.endsWith('backup.json')) throw new ArchiveError('STORAGE_UNAVAILABLE', 'away');
  });
  await copy(good, await archive('d', { storage: dying }));
  const damaged = await archive('d', { storage: half });
  await damage(damaged, `main/${SYSTEM}/backups/${SECOND}/base/0000.tar.zst`);
  const other = await copy(good, damaged);
  expect(other.result.failures[0]?.error.message).toMatch(/^repository d: .*base\/0000\.tar\.zst/);
});

test('another backup under the same id is not taken for this one', async () => {
  const [source, target] = [await archive('a'), await archive('b')];
  await makeBackup(source, FIRST, { from: 2, to: 3 });
  await makeBackup(target, FIRST, { from: 2, to: 4 });
  await pushWal(source, 1, range(2, 4));
  const before = await keysOf(target.storage);
  const plan = await planCopy({ source, target, wal: 'needed' });
  expect(plan.backups).toMatchObject([{ state: 'failed', error: { code: 'STORAGE_EXISTS' } }]);
  expect((await copy(source, target, { wal: 'needed' })).result.failures).toHaveLength(1);
  expect(await keysOf(target.storage)).toEqual(before);
});

test('copies that race make one backup, the same for all', async () => {
  const source = await archive('a');
  await makeBackup(source, FIRST, { from: 2, to: 4, partSize: 300_000 });
  await pushWal(source, 1, range(2, 6));
  const inner = await memoryStorage();
  // All of them have found the target empty before the first of them writes this object.
  let waiting = 0;
  let go = (): void => undefined;
  const gate = new Promise<void>((resolve) => (go = resolve));
  const storage = watchedPuts(inner, async (key) => {
    if (!key.includes('base/0001')) return;
    if (++waiting === 4) go();
    await gate;
  });
  const results = await Promise.all(range(1, 4).map(async () => copy(source, await archive('b', { storage }))));
  expect(waiting).toBe(4);
  for (const { result } of results) {
    expect(result.failures).toEqual([]);
    expect(result.stopped).toBeUndefined();
    expect(result.backups).toMatchObject([{ state: 'copied' }]);
  }
  const sum = (of: 'copied' | 'kept'): number =>
    results.flatMap(({ result }) => result.backups).reduce((total, backup) => total + backup[of], 0);
  // Each object was written by one of them, and compared by the others.
  expect([sum('copied'), sum('kept')]).toEqual([5, 15]);
  const target = await archive('b', { storage: inner });
  expect(await contentsOf(target, FIRST)).toEqual(await contentsOf(source, FIRST));
});

test('a put that is tried again reads the source anew', async () => {
  const source = await archive('a');
  await makeBackup(source, FIRST, { from: 2, to: 3, partSize: 200_000 });
  await pushWal(source, 1, range(2, 3));
  const inner = await memoryStorage();
  const broken = new Set<string>();
  const flaky: Storage = {
    ...watchedPuts(inner, () => undefined),
    put: (key, body, options) => {
      if (broken.has(key)) return inner.put(key, body, options);
      broken.add(key);
      const cut = async function* (): AsyncGenerator<Uint8Array> {
        for await (const chunk of body) {
          yield chunk;
          throw new ArchiveError('STORAGE_UNAVAILABLE', `the connection of ${key} was cut`);
        }
      };
      return inner.put(key, cut(), options);
    },
  };
  const target = await archive('b', { storage: withRetry(flaky, { sleep: () => Promise.resolve() }) });
  let furthest = 0;
  const { plan, result } = await copy(source, target, { onProgress: ({ bytes }) => (furthest = bytes) });
  expect(broken.size).toBeGreaterThan(7);
  expect(result.failures).toEqual([]);
  expect(await contentsOf(target, FIRST)).toEqual(await contentsOf(source, FIRST));
  // What was read twice is counted once.
  expect(furthest).toBe(5 * 200_000 + plan.walCount.plainBytes);
});

test('a storage that is away ends the copy with its error, not with one failure for each backup', async () => {
  const source = await archive('a');
  for (const [at, id] of [FIRST, SECOND].entries()) await makeBackup(source, id, { from: at + 2, to: at + 3 });
  await pushWal(source, 1, range(2, 4));
  const inner = await memoryStorage();
  const storage = watchedPuts(inner, (key) => {
    if (key.includes(SECOND)) throw new ArchiveError('STORAGE_FULL', 'the disk is full');
  });
  const { result } = await copy(source, await archive('b', { storage }));
  expect(result.stopped).toEqual(code('STORAGE_FULL'));
  expect(result.stopped).toMatchObject({ message: 'repository b: the disk is full', retriable: true });
  expect(result.failures).toEqual([]);
  expect(result.backups.map(({ state }) => state)).toEqual(['copied', 'unfinished']);
});

test('which backups: all, some, the latest; what is not there is an error before anything is written', async () => {
  const source = await archive('a');
  const target = await archive('b');
  await expect(planCopy({ source, target })).rejects.toEqual(code('REPOSITORY_NOT_FOUND'));
  await source.open({ create: true });
  await expect(planCopy({ source, target })).rejects.toEqual(code('BACKUP_NOT_FOUND'));
  for (const [at, id] of [THIRD, FIRST, SECOND].entries()) await makeBackup(source, id, { from: at + 2, to: at + 3 });
  await pushWal(source, 1, range(2, 5));
  await source.backups(SYSTEM).putObject('20261121T090000Z-0004', 'base/0000.tar', one(Buffer.from('x')));
  const ids = async (backups: 'all' | readonly string[]): Promise<readonly string[]> =>
    (await planCopy({ source, target, backups })).backups.map(({ record }) => record.id);
  expect(await ids('all')).toEqual([FIRST, SECOND, THIRD]);
  expect(await ids([THIRD, FIRST])).toEqual([FIRST, THIRD]);
  expect(await ids(['latest', THIRD])).toEqual([THIRD]);
  for (const missing of ['20261121T090000Z-0004', '20261121T090000Z-9999'])
    await expect(ids([FIRST, missing])).rejects.toEqual(code('BACKUP_NOT_FOUND'));
  await expect(planCopy({ source, target: source })).rejects.toEqual(code('USAGE'));
  expect(await keysOf(target.storage)).toEqual([]);
});

test('a record that cannot be read is a failure beside which the others are copied', async () => {
  const source = await archive('a');
  for (const [at, id] of [FIRST, SECOND].entries()) await makeBackup(source, id, { from: at + 2, to: at + 3 });
  await pushWal(source, 1, range(2, 4));
  await damage(source, `main/${SYSTEM}/backups/${FIRST}/backup.json`, Buffer.from('{"format": 2}'));
  const { result } = await copy(source, await archive('b'));
  expect(result.failures).toMatchObject([{ subject: FIRST, error: { code: 'REPOSITORY_FORMAT' } }]);
  expect(result.failures[0]?.error.message).toMatch(/^repository a: .*backup\.json/);
  expect(result.backups).toMatchObject([{ id: SECOND, state: 'copied' }]);
});

test('facts are carried, also to a backup that is there already, and never twice', async () => {
  const [source, target] = [await archive('a'), await archive('b')];
  await makeBackup(source, FIRST, { from: 2, to: 3 });
  await pushWal(source, 1, range(2, 3));
  const facts = source.facts(SYSTEM);
  await facts.add(FIRST, { kind: 'pin', time: 1000, data: { reason: 'audit' } });
  await facts.add('wal', { kind: 'gap', time: 2000, data: { timeline: 1, from: '0/1', to: '0/2' } });
  // True of the source alone.
  await facts.add('wal', { kind: 'behind', time: 3000, data: { repository: 'b' } });
  await facts.add('wal', { kind: 'verify', time: 3000, data: { level: 'full' } });
  await copy(source, target);
  await facts.add(FIRST, { kind: 'unpin', time: 4000, data: { reason: 'done' } });
  const carried = await facts.list(FIRST);
  await facts.add(FIRST, { kind: 'drill', time: 5000, data: { outcome: 'proven' } });
  const { result } = await copy(source, target);
  expect(result.backups).toMatchObject([{ state: 'present' }]);
  expect(await target.facts(SYSTEM).list(FIRST)).toEqual(carried);
  expect((await target.facts(SYSTEM).list('wal')).map(({ kind }) => kind)).toEqual(['gap']);
});

async function* one(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
