import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { isArchiveError } from '../../src/contracts/errors.ts';
import type { Storage } from '../../src/contracts/storage.ts';
import { bodyOf, collect } from '../../src/repository/objects.ts';
import { keysOf, memoryRepository, memoryStorage } from './repository.ts';

const SEGMENT = '000000010000000A000000FE';
const SYSTEM = '7710493345181022616';
const folder = mkdtempSync(join(tmpdir(), 'pgark-wal-'));
afterEach(() => {
  for (const name of readdirSync(folder)) rmSync(join(folder, name));
});

const digestOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex').slice(0, 32);
const code = (wanted: string): unknown => expect.toSatisfy((error) => isArchiveError(error) && error.code === wanted);

test('a file comes back as it was pushed, under the key of the format', async () => {
  const storage = await memoryStorage();
  const wal = (await memoryRepository({ storage })).wal(SYSTEM);
  const bytes = randomBytes(3_000_000);
  expect(await wal.push(SEGMENT, { bytes })).toBe('stored');
  expect(await keysOf(storage)).toEqual([`main/${SYSTEM}/wal/00000001/0000000A/${SEGMENT}-${digestOf(bytes)}.zst`]);
  const found = await wal.find(SEGMENT);
  if (found === undefined) throw new Error('not found');
  expect(Buffer.compare(await collect(wal.read(found), 'x'), bytes)).toBe(0);
  await wal.fetch(found, join(folder, 'RECOVERYXLOG'));
  expect(Buffer.compare(readFileSync(join(folder, 'RECOVERYXLOG')), bytes)).toBe(0);
  expect(readdirSync(folder)).toEqual(['RECOVERYXLOG']);
});

test.each([SEGMENT, `${SEGMENT}.partial`, `${SEGMENT}.00000028.backup`, '00000002.history'])(
  'H-22 %s with the same content again is a success, with other content refused with both digests, and the old one stays',
  async (name) => {
    const storage = await memoryStorage();
    const wal = (await memoryRepository({ storage })).wal(SYSTEM);
    const [first, second] = [randomBytes(1000), randomBytes(1000)];
    writeFileSync(join(folder, 'source'), first);
    expect(await wal.push(name, { path: join(folder, 'source') })).toBe('stored');
    expect(await wal.push(name, { bytes: first })).toBe('present');
    const before = await keysOf(storage);
    await expect(wal.push(name, { bytes: second })).rejects.toSatisfy(
      (error) =>
        isArchiveError(error, 'WAL_CONFLICT') &&
        error.message.includes(digestOf(first)) &&
        error.message.includes(digestOf(second)),
    );
    expect(await keysOf(storage)).toEqual(before);
  },
);

test('H-22 two servers that push other content of one name at the same moment are both refused', async () => {
  const inner = await memoryStorage();
  const [first, second] = [randomBytes(1000), randomBytes(1000)];
  const other = (await memoryRepository({ storage: inner })).wal(SYSTEM);
  let raced = false;
  const storage: Storage = {
    ...delegate(inner),
    put: async (key, body, options) => {
      // The other server's push lies between our look and our put.
      if (!raced) {
        raced = true;
        await other.push(SEGMENT, { bytes: second });
      }
      return inner.put(key, body, options);
    },
  };
  await expect((await memoryRepository({ storage })).wal(SYSTEM).push(SEGMENT, { bytes: first })).rejects.toEqual(
    code('WAL_CONFLICT'),
  );
  expect(raced).toBe(true);
  await expect(other.find(SEGMENT)).rejects.toEqual(code('WAL_CONFLICT'));
});

test('H-50 a storage that can not look is not a missing file', async () => {
  const inner = await memoryStorage();
  const failure = new Error('the wire is cut');
  const storage: Storage = {
    ...delegate(inner),
    list: () => ({
      [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(failure) }),
    }),
  };
  const wal = (await memoryRepository({ storage })).wal(SYSTEM);
  await expect(wal.find(SEGMENT)).rejects.toBe(failure);
  expect(await (await memoryRepository({ storage: inner })).wal(SYSTEM).find(SEGMENT)).toBeUndefined();
});

test('H-25 a damaged object never gets the name that PostgreSQL reads', async () => {
  const storage = await memoryStorage();
  const wal = (await memoryRepository({ storage, compressed: false })).wal(SYSTEM);
  const bytes = randomBytes(2_500_000);
  await wal.push(SEGMENT, { bytes });
  const found = await wal.find(SEGMENT);
  if (found === undefined) throw new Error('not found');
  const damaged = Buffer.from(bytes);
  damaged[2_400_000] = (damaged[2_400_000] ?? 0) ^ 1;
  await storage.remove([found.key]);
  await storage.put(found.key, bodyOf(damaged), { ifAbsent: true });
  await expect(wal.fetch(found, join(folder, 'RECOVERYXLOG'))).rejects.toEqual(code('STORAGE_CORRUPT'));
  expect(readdirSync(folder)).toEqual([]);
});

test('a source that changes while it is read leaves no object', async () => {
  const inner = await memoryStorage();
  const path = join(folder, 'source');
  writeFileSync(path, randomBytes(1000));
  let looked = 0;
  const storage: Storage = {
    ...delegate(inner),
    list: (prefix, options) => {
      looked++;
      writeFileSync(path, randomBytes(1000));
      return inner.list(prefix, options);
    },
  };
  await expect((await memoryRepository({ storage })).wal(SYSTEM).push(SEGMENT, { path })).rejects.toEqual(
    code('STORAGE_CORRUPT'),
  );
  expect(looked).toBeGreaterThan(0);
  expect(await keysOf(inner)).toEqual([]);
});

test('slices of a segment are joined as far as they touch', async () => {
  const wal = (await memoryRepository()).wal(SYSTEM);
  const bytes = randomBytes(1000);
  const push = (from: number, to: number): Promise<void> => wal.pushTail(SEGMENT, from, to, bytes.subarray(from, to));
  expect(await wal.tail(SEGMENT)).toBeUndefined();
  await push(300, 400);
  expect(await wal.tail(SEGMENT)).toBeUndefined();
  await push(0, 100);
  await push(0, 100);
  await push(50, 150);
  expect(Buffer.compare((await wal.tail(SEGMENT)) ?? Buffer.alloc(0), bytes.subarray(0, 150))).toBe(0);
  await push(150, 300);
  expect(Buffer.compare((await wal.tail(SEGMENT)) ?? Buffer.alloc(0), bytes.subarray(0, 400))).toBe(0);
  expect(await wal.find(SEGMENT)).toBeUndefined();
});

test('listings: timelines, segments in order from a number on, the last one, histories', async () => {
  const wal = (await memoryRepository()).wal(SYSTEM);
  const names = [
    '000000010000000000000003',
    '0000000100000000000000FF',
    '000000010000000100000000',
    '000000020000000100000000',
  ];
  for (const name of names.toReversed()) await wal.push(name, { bytes: Buffer.from(name) });
  await wal.push('000000010000000100000001.partial', { bytes: Buffer.from('partial') });
  await wal.pushTail('000000010000000200000000', 0, 4, Buffer.from('tail'));
  await wal.push('00000002.history', { bytes: Buffer.from('1\t1/0\tno reason\n') });
  expect(await wal.timelines()).toEqual([1, 2]);
  const list = async (from?: bigint): Promise<string[]> => {
    const found: string[] = [];
    for await (const { file } of wal.segments(1, { segmentSize: 16 << 20, ...(from === undefined ? {} : { from }) }))
      found.push(file.name);
    return found;
  };
  expect(await list()).toEqual(names.slice(0, 3));
  expect(await list(0xffn)).toEqual(names.slice(1, 3));
  expect(await list(0x100n)).toEqual(names.slice(2, 3));
  expect((await wal.last(1))?.file.name).toBe(names[2]);
  expect(await wal.last(3)).toBeUndefined();
  expect(Buffer.from((await wal.history(2))?.content ?? []).toString()).toBe('1\t1/0\tno reason\n');
  expect(await wal.history(3)).toBeUndefined();
});

/** A storage that hands every call on, for tests that replace one. */
function delegate(inner: Storage): Storage {
  return {
    capabilities: inner.capabilities,
    put: (key, body, options) => inner.put(key, body, options),
    get: (key, options) => inner.get(key, options),
    stat: (key, options) => inner.stat(key, options),
    list: (prefix, options) => inner.list(prefix, options),
    remove: (keys, options) => inner.remove(keys, options),
    close: () => inner.close(),
  };
}
