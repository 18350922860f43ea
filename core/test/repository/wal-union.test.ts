import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, expect, test } from 'vitest';
import { ArchiveError, isArchiveError } from '../../src/contracts/errors.ts';
import type { CallOptions, Storage } from '../../src/contracts/storage.ts';
import { bodyOf, collect } from '../../src/repository/objects.ts';
import { failureText, type RepositoryFailure } from '../../src/repository/repository-failure.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { walReader, type WalUnionOptions } from '../../src/repository/wal-union.ts';
import type { WalReader } from '../../src/repository/wal.ts';
import { keysOf, memoryRepository, memoryStorage } from './repository.ts';

const SYSTEM = '7710493345181022616';
const SEGMENT_SIZE = 16 << 20;
const nameOf = (number: number): string => `0000000100000000${number.toString(16).toUpperCase().padStart(8, '0')}`;
const folder = mkdtempSync(join(tmpdir(), 'pgark-union-'));
afterEach(() => {
  for (const name of readdirSync(folder)) rmSync(join(folder, name));
});
afterAll(() => rmSync(folder, { recursive: true }));

type Mood = 'well' | 'away' | 'silent';

/** A storage that can go away, or say nothing at all. */
class Moody {
  mood: Mood = 'well';
  /** Calls while it was not well. */
  refused = 0;
  readonly storage: Storage;

  constructor(inner: Storage) {
    const guard = async (options: CallOptions | undefined): Promise<void> => {
      if (this.mood === 'well') return;
      this.refused++;
      if (this.mood === 'away') throw new ArchiveError('STORAGE_UNAVAILABLE', 'the storage is away');
      await new Promise((_, reject) => {
        const stop = (): void => reject(new ArchiveError('ABORTED', 'cancelled'));
        if (options?.signal?.aborted === true) stop();
        options?.signal?.addEventListener('abort', stop);
      });
    };
    this.storage = {
      capabilities: inner.capabilities,
      put: (...call) => inner.put(...call),
      stat: (...call) => inner.stat(...call),
      remove: (...call) => inner.remove(...call),
      close: () => inner.close(),
      get: async function* (key, options) {
        await guard(options);
        yield* inner.get(key, options);
      },
      list: async function* (prefix, options) {
        await guard(options);
        yield* inner.list(prefix, options);
      },
    };
  }
}

interface Place {
  readonly repository: Repository;
  readonly moody: Moody;
}

async function makePlace(name: string, options: { readonly compressed?: boolean } = {}): Promise<Place> {
  const moody = new Moody(await memoryStorage());
  return { moody, repository: await memoryRepository({ name, storage: moody.storage, ...options }) };
}

/** Repositories a and b, which differ in their codecs, and the union of them. */
async function two(options: WalUnionOptions = {}): Promise<{
  readonly a: Place;
  readonly b: Place;
  readonly union: WalReader;
  readonly failures: RepositoryFailure[];
}> {
  const [a, b] = [await makePlace('a', { compressed: false }), await makePlace('b')];
  const failures: RepositoryFailure[] = [];
  const onFailure = (failure: RepositoryFailure): void => void failures.push(failure);
  const told = { patience: 60_000, onFailure, ...options };
  return { a, b, failures, union: walReader([a.repository, b.repository], SYSTEM, told) };
}

const push = (to: Place, name: string, bytes: Uint8Array): Promise<unknown> =>
  to.repository.wal(SYSTEM).push(name, { bytes });

/** Changes the last but nth byte of the only object whose key contains `part`. */
async function damage({ moody: { storage } }: Place, part: string): Promise<void> {
  const key = (await keysOf(storage)).find((candidate) => candidate.includes(part)) ?? '';
  const bytes = Buffer.from(await collect(storage.get(key), key));
  const at = bytes.byteLength - 20;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  await storage.put(key, bodyOf(bytes), { ifAbsent: false });
}

async function read(union: WalReader, name: string): Promise<Uint8Array> {
  const object = await union.find(name);
  if (object === undefined) throw new Error(`${name} is not found`);
  return collect(union.read(object), name);
}

async function fetched(union: WalReader, name: string): Promise<Uint8Array> {
  const object = await union.find(name);
  if (object === undefined) throw new Error(`${name} is not found`);
  await union.fetch(object, join(folder, 'file'));
  expect(readdirSync(folder)).toEqual(['file']);
  return readFileSync(join(folder, 'file'));
}

const same = (one: Uint8Array, other: Uint8Array): boolean => Buffer.compare(one, other) === 0;

test('with one repository there is no union', async () => {
  const { repository } = await makePlace('a');
  expect(walReader([repository], SYSTEM).constructor).toBe(repository.wal(SYSTEM).constructor);
});

test('a file comes from whichever repository has it, and the second is not asked when the first has', async () => {
  const { a, b, union, failures } = await two();
  const [one, other] = [randomBytes(100_000), randomBytes(100_000)];
  await push(a, nameOf(1), one);
  await push(b, nameOf(2), other);
  expect(same(await fetched(union, nameOf(2)), other)).toBe(true);
  expect(same(await read(union, nameOf(2)), other)).toBe(true);
  expect(await union.find(nameOf(3))).toBeUndefined();
  b.moody.mood = 'away';
  expect(same(await fetched(union, nameOf(1)), one)).toBe(true);
  expect(b.moody.refused).toBe(0);
  expect(failures).toEqual([]);
});

test('a damaged copy is told by name, and the good one of another repository is read', async () => {
  const { a, b, union, failures } = await two();
  const bytes = randomBytes(2_500_000);
  for (const to of [a, b]) await push(to, nameOf(1), bytes);
  await damage(a, nameOf(1));
  expect(same(await fetched(union, nameOf(1)), bytes)).toBe(true);
  expect(same(await read(union, nameOf(1)), bytes)).toBe(true);
  expect(failures.map(({ repository, error: { code } }) => ({ repository, code }))).toEqual(
    Array.from({ length: 2 }, () => ({ repository: 'a', code: 'STORAGE_CORRUPT' })),
  );
  expect(failures.map(failureText)[0]).toMatch(/^repository a: main\/.*should hold content/);

  // Without a good copy the error names both, and nothing is left in the folder.
  rmSync(join(folder, 'file'));
  await damage(b, nameOf(1));
  await expect(fetched(union, nameOf(1))).rejects.toMatchObject({
    code: 'STORAGE_CORRUPT',
    message: expect.stringMatching(/^repository a: .*; repository b: /) as string,
  });
  expect(readdirSync(folder)).toEqual([]);
});

test('of a damaged file nothing is given before it is known to be good', async () => {
  const { a, b, union } = await two();
  for (const to of [a, b]) await push(to, nameOf(1), Buffer.alloc(3_000_000, 7));
  for (const to of [a, b]) await damage(to, nameOf(1));
  const object = await union.find(nameOf(1));
  if (object === undefined) throw new Error('not found');
  let given = 0;
  const reading = (async () => {
    for await (const chunk of union.read(object)) given += chunk.byteLength;
  })();
  await expect(reading).rejects.toMatchObject({ details: { repository: 'a' } });
  expect(given).toBe(0);
});

test('H-20 in every state of three repositories: the file if one has it whole, missing if all say so, else an error', async () => {
  const states = ['whole', 'damaged', 'none', 'away'] as const;
  const bytes = randomBytes(1000);
  let seen = 0;
  for (let at = 0; at < states.length ** 3; at++) {
    const own = [0, 1, 2].map((place) => states[Math.floor(at / states.length ** place) % states.length] ?? 'none');
    const places = await Promise.all(own.map((_, place) => makePlace(`r${place}`, { compressed: place === 1 })));
    for (const [place, to] of places.entries()) {
      if (own[place] !== 'none') await push(to, nameOf(1), bytes);
      if (own[place] === 'damaged') await damage(to, nameOf(1));
      if (own[place] === 'away') to.moody.mood = 'away';
    }
    const [first, ...more] = places.map(({ repository }) => repository);
    if (first === undefined) throw new Error('no repository');
    const union = walReader([first, ...more], SYSTEM, { patience: 60_000 });
    const outcome = await fetchOutcome(union, bytes);
    const bad = own.includes('damaged') || own.includes('away');
    expect(outcome, own.join()).toBe(own.includes('whole') ? 'fetched' : bad ? 'error' : 'missing');
    seen++;
  }
  expect(seen).toBe(64);
});

/** What comes of looking for the file and fetching it. */
async function fetchOutcome(union: WalReader, bytes: Uint8Array): Promise<'fetched' | 'missing' | 'error'> {
  rmSync(join(folder, 'file'), { force: true });
  try {
    const object = await union.find(nameOf(1));
    if (object === undefined) return 'missing';
    await union.fetch(object, join(folder, 'file'));
  } catch (error) {
    expect(readdirSync(folder)).toEqual([]);
    expect(isArchiveError(error)).toBe(true);
    return 'error';
  }
  expect(readdirSync(folder)).toEqual(['file']);
  expect(same(readFileSync(join(folder, 'file')), bytes)).toBe(true);
  return 'fetched';
}

test('H-20 what cannot be asked is no answer: missing is said only when all have answered', async () => {
  const { a, b, union } = await two();
  await push(b, nameOf(1), randomBytes(1000));
  await push(b, '00000002.history', Buffer.from('1\t1/0\tno reason\n'));
  a.moody.mood = 'away';
  expect((await union.find(nameOf(1)))?.file.name).toBe(nameOf(1));
  expect(Buffer.from((await union.history(2))?.content ?? []).toString()).toContain('no reason');
  const unknown = { code: 'STORAGE_UNAVAILABLE', message: 'repository a: the storage is away', retriable: true };
  await expect(union.find(nameOf(2))).rejects.toMatchObject(unknown);
  await expect(union.history(3)).rejects.toMatchObject(unknown);
  await expect(union.timelines()).rejects.toMatchObject(unknown);
  await expect(union.last(1)).rejects.toMatchObject(unknown);
  await expect(union.behind(nameOf(0))).rejects.toMatchObject(unknown);
  await expect(union.tail(nameOf(2))).rejects.toMatchObject(unknown);
  await expect(union.segments(1, { segmentSize: SEGMENT_SIZE }).next()).rejects.toMatchObject(unknown);
  expect(a.moody.refused).toBeGreaterThan(7);
  a.moody.mood = 'well';
  expect(await union.find(nameOf(2))).toBeUndefined();
  b.moody.mood = 'away';
  await expect(union.find(nameOf(2))).rejects.toMatchObject({ message: expect.stringContaining('repository b') });
});

test('one that says nothing delays the others for a moment only, once, and is told', async () => {
  const { a, b, union, failures } = await two({ patience: 50 });
  const bytes = randomBytes(100_000);
  for (const to of [a, b]) await push(to, nameOf(1), bytes);
  const object = await union.find(nameOf(1));
  if (object === undefined) throw new Error('not found');
  a.moody.mood = 'silent';
  // Known to be in a, and a is silent while it is read.
  await union.fetch(object, join(folder, 'file'));
  expect(same(readFileSync(join(folder, 'file')), bytes)).toBe(true);
  expect(readdirSync(folder)).toEqual(['file']);
  expect(a.moody.refused).toBe(1);
  expect(failures.map(failureText)).toEqual(['repository a gave no sign for 0.05 s']);
  // From now on b is asked first.
  expect((await union.find(nameOf(1)))?.key).toContain('.zst');
  expect(a.moody.refused).toBe(1);
});

test('one that is slow is waited for when nobody else has the file', async () => {
  const { a, union } = await two({ patience: 20 });
  const bytes = randomBytes(1000);
  await push(a, nameOf(1), bytes);
  const inner = a.moody.storage.list.bind(a.moody.storage);
  let slow = 0;
  (a.moody.storage as { list: Storage['list'] }).list = async function* (...call) {
    slow++;
    await new Promise((resolve) => setTimeout(resolve, 100));
    yield* inner(...call);
  };
  expect(same(await read(union, nameOf(1)), bytes)).toBe(true);
  expect(slow).toBe(1);
});

test('an abort ends the reading with ABORTED, also of one that says nothing', async () => {
  const { a, b, union } = await two();
  a.moody.mood = b.moody.mood = 'silent';
  const abort = new AbortController();
  const finding = union.find(nameOf(1), { signal: abort.signal });
  setTimeout(() => abort.abort(), 20);
  await expect(finding).rejects.toMatchObject({ code: 'ABORTED' });
  await expect(union.find(nameOf(1), { signal: abort.signal })).rejects.toMatchObject({ code: 'ABORTED' });
});

test('H-22 other content of one name in another repository is a conflict', async () => {
  const { a, b, union } = await two();
  await push(a, nameOf(1), randomBytes(1000));
  await push(b, nameOf(1), randomBytes(1000));
  const conflict = {
    code: 'WAL_CONFLICT',
    message: expect.stringMatching(`repository a holds ${nameOf(1)} with digest .*, repository b with `) as string,
  };
  // What else is listed is as good as ever: the conflict stands in what it is about.
  const listed = await union.segments(1, { segmentSize: SEGMENT_SIZE }).next();
  expect(listed.value).toMatchObject({ file: { name: nameOf(1) }, conflict });
  await expect(union.last(1)).rejects.toMatchObject(conflict);
  // A damaged copy is not replaced by something else of the same name.
  await damage(a, nameOf(1));
  await expect(read(union, nameOf(1))).rejects.toMatchObject(conflict);
});

test('listings are those of both, sorted, each name once', async () => {
  const { a, b, union } = await two();
  const numbers = { a: [1, 2, 5, 6, 9], b: [2, 3, 6, 7] };
  const content = (number: number): Uint8Array => Buffer.from(`segment ${number}`);
  for (const number of numbers.a) await push(a, nameOf(number), content(number));
  for (const number of numbers.b) await push(b, nameOf(number), content(number));
  await push(b, '000000020000000000000009', Buffer.from('x'));
  const list = async (from: bigint): Promise<string[]> => {
    const found: string[] = [];
    for await (const object of union.segments(1, { from, segmentSize: SEGMENT_SIZE })) {
      found.push(object.file.name);
      expect(Buffer.from(await collect(union.read(object), 'x')).toString()).toBe(
        `segment ${Number.parseInt(object.file.name.slice(16), 16)}`,
      );
    }
    return found;
  };
  expect(await list(0n)).toEqual([1, 2, 3, 5, 6, 7, 9].map(nameOf));
  expect(await list(6n)).toEqual([6, 7, 9].map(nameOf));
  expect(await union.timelines()).toEqual([1, 2]);
  expect((await union.last(1))?.file.name).toBe(nameOf(9));
  expect((await union.last(2))?.file.name).toBe('000000020000000000000009');
  expect(await union.behind(nameOf(3))).toBe(nameOf(5));
  expect(await union.behind(nameOf(7))).toBe(nameOf(9));
  expect(await union.behind(nameOf(9))).toBeUndefined();
});

test('slices of both repositories are joined; a damaged one counts only where another reaches as far', async () => {
  const { a, b, union, failures } = await two();
  const bytes = randomBytes(1000);
  const slice = (to: Place, from: number, end: number): Promise<void> =>
    to.repository.wal(SYSTEM).pushTail(nameOf(1), from, end, bytes.subarray(from, end));
  await slice(a, 0, 100);
  await slice(b, 100, 300);
  expect(same((await union.tail(nameOf(1))) ?? Buffer.alloc(0), bytes.subarray(0, 300))).toBe(true);
  await slice(a, 300, 500);
  await damage(a, '0000012C-000001F4');
  await expect(union.tail(nameOf(1))).rejects.toMatchObject({ details: { repository: 'a' } });
  await slice(b, 200, 400);
  await expect(union.tail(nameOf(1))).rejects.toMatchObject({ details: { repository: 'a' } });
  await slice(b, 300, 500);
  failures.length = 0;
  expect(same((await union.tail(nameOf(1))) ?? Buffer.alloc(0), bytes.subarray(0, 500))).toBe(true);
  expect(failures.map(({ repository }) => repository)).toEqual(['a']);
  await b.repository.wal(SYSTEM).pushTail(nameOf(1), 0, 100, randomBytes(100));
  await expect(union.tail(nameOf(1))).rejects.toMatchObject({ code: 'WAL_CONFLICT' });
});

test('a disk that takes nothing is not taken for a fault of a repository', async () => {
  const { a, b, union, failures } = await two();
  for (const to of [a, b]) await push(to, nameOf(1), randomBytes(1000));
  const object = await union.find(nameOf(1));
  if (object === undefined) throw new Error('not found');
  await expect(union.fetch(object, join(folder, 'nowhere', 'file'))).rejects.toMatchObject({ code: 'ENOENT' });
  expect(failures).toEqual([]);
});
