import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ArchiveError } from '../../src/contracts/errors.ts';
import type { Storage } from '../../src/contracts/storage.ts';
import { KnownFiles } from '../../src/agent/known-files.ts';
import type { PushRequest } from '../../src/agent/protocol.ts';
import { PushService } from '../../src/agent/push-service.ts';
import { parseWalFileName, type WalFile } from '../../src/postgres/wal-file.ts';
import { DroppedSegments } from '../../src/wal-command/dropped-segments.ts';
import { collect } from '../../src/repository/objects.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { keysOf, memoryRepository, memoryStorage, pluginContext } from '../repository/repository.ts';
import { SYSTEM_ID, walSegment, type SegmentOptions } from '../wal-command/segments.ts';

let folder = '';
const end = new AbortController();
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pgark-agent-push-'));
  mkdirSync(join(folder, 'pg_wal', 'archive_status'), { recursive: true });
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A segment in `pg_wal` that waits for the archiver, written some time ago. */
function ready(number: bigint, options: SegmentOptions = {}): string {
  const { name, bytes } = walSegment(number, options);
  const path = join(folder, 'pg_wal', name);
  writeFileSync(path, bytes);
  utimesSync(path, 1e9, 1e9 + (options.fill ?? 0));
  writeFileSync(join(folder, 'pg_wal', 'archive_status', `${name}.ready`), '');
  return name;
}

async function repositoryOn(wrap: (storage: Storage) => Storage = (one) => one, name = 'primary'): Promise<Repository> {
  const repository = await memoryRepository({ storage: wrap(await memoryStorage()), name });
  await repository.open({ create: true });
  return repository;
}

function service(...repositories: [Repository, ...Repository[]]): PushService {
  const policy = { onFullDisk: 'keep', minFree: 0 } as const;
  return new PushService({
    repositories,
    concurrency: 2,
    policy,
    dropped: new DroppedSegments(join(folder, 'spool'), 'main', policy),
    logger: pluginContext.logger,
    signal: end.signal,
  });
}

function push(to: PushService, name: string, change: Partial<PushRequest> = {}): ReturnType<PushService['push']> {
  const request = { protocol: 2, command: 'wal-push', config: '', cluster: '', json: false, identity: '' } as const;
  const signal = new AbortController().signal;
  const path = `pg_wal/${name}`;
  return to.push({ ...request, cwd: folder, path, name, timeout: 5000, ...change }, { signal });
}

async function segmentsIn(repository: Repository): Promise<readonly string[]> {
  const keys = await keysOf(repository.storage);
  return keys.flatMap((key) => /[0-9A-F]{24}/.exec(key)?.[0] ?? []);
}

test('what is ready behind a segment is archived while PostgreSQL has not asked for it, and found there when it asks', async () => {
  const repository = await repositoryOn();
  const names = [5n, 6n, 7n, 8n].map((number) => ready(number));
  const agent = service(repository);
  expect(await push(agent, names[0] ?? '')).toMatchObject({ outcome: 'stored' });
  await expect.poll(() => segmentsIn(repository)).toEqual(names);
  expect(await push(agent, names[1] ?? '')).toMatchObject({ outcome: 'present' });
  // Nothing is marked as done: that is PostgreSQL's.
  expect(readdirSync(join(folder, 'pg_wal', 'archive_status'))).toEqual(names.map((name) => `${name}.ready`));
});

test('what is archived ahead, some at once and after failures, is what its file holds', async () => {
  const numbers = Array.from({ length: 12 }, (_, at) => BigInt(at + 5));
  const names = numbers.map((number) => ready(number, { fill: Number(number) }));
  let failures = 3;
  const repository = await repositoryOn((storage) => ({
    ...gated('', Promise.resolve())(storage),
    put: async (key, body, options) => {
      if (!key.includes('/wal/') || failures-- <= 0) return storage.put(key, body, options);
      // It has begun to read.
      for await (const chunk of body) throw new ArchiveError('STORAGE_UNAVAILABLE', `away after ${chunk.byteLength}`);
    },
  }));
  const agent = service(repository);
  while ((await segmentsIn(repository)).length < names.length)
    for (const name of names) await push(agent, name).catch(() => undefined);
  expect(failures).toBeLessThanOrEqual(0);
  const wal = repository.wal(SYSTEM_ID);
  for (const [at, name] of names.entries()) {
    const object = await wal.find(name);
    const content = object === undefined ? undefined : await collect(wal.read(object), name);
    expect(
      content === undefined ? name : Buffer.compare(content, walSegment(numbers[at] ?? 0n, { fill: at + 5 }).bytes),
    ).toBe(0);
  }
});

test('H-23 a segment that the repository has lost since it was archived ahead is stored again', async () => {
  const repository = await repositoryOn();
  const names = [5n, 6n].map((number) => ready(number));
  const agent = service(repository);
  await push(agent, names[0] ?? '');
  await expect.poll(() => segmentsIn(repository)).toEqual(names);
  const lost = (await keysOf(repository.storage)).filter((key) => key.includes(names[1] ?? ''));
  await repository.storage.remove(lost);
  expect(await push(agent, names[1] ?? '')).toMatchObject({ outcome: 'stored' });
  expect(await segmentsIn(repository)).toEqual(names);
});

test('H-22 a file that changed since it was archived ahead is refused, and so is another one in its place', async () => {
  const repository = await repositoryOn();
  const names = [5n, 6n, 7n].map((number) => ready(number));
  const agent = service(repository);
  await push(agent, names[0] ?? '');
  await expect.poll(() => segmentsIn(repository)).toEqual(names);
  ready(6n, { fill: 8 });
  await expect(push(agent, names[1] ?? '')).rejects.toMatchObject({ code: 'WAL_CONFLICT' });
  // The same size and time, another inode.
  const other = join(folder, 'other');
  writeFileSync(other, walSegment(7n, { fill: 9 }).bytes);
  utimesSync(other, 1e9, 1e9);
  renameSync(other, join(folder, 'pg_wal', names[2] ?? ''));
  await expect(push(agent, names[2] ?? '')).rejects.toMatchObject({ code: 'WAL_CONFLICT' });
});

test('H-22 a file that is known is refused under another name, and for another cluster', async () => {
  const repository = await repositoryOn();
  const name = ready(5n);
  const agent = service(repository);
  await push(agent, name);
  const path = `pg_wal/${name}`;
  await expect(push(agent, walSegment(6n).name, { path })).rejects.toMatchObject({ code: 'WAL_INVALID' });
  await expect(push(agent, name, { systemId: '42' })).rejects.toMatchObject({ code: 'SYSTEM_MISMATCH' });
  expect(await push(agent, name)).toMatchObject({ outcome: 'present' });
  expect(await segmentsIn(repository)).toEqual([name]);
});

test('a file that was written a moment ago is read anew each time', async () => {
  const repository = await repositoryOn();
  const { name, bytes } = walSegment(5n);
  const path = join(folder, 'pg_wal', name);
  writeFileSync(path, bytes);
  const files = new KnownFiles();
  const file = parseWalFileName(name) as WalFile;
  const digest = async (): Promise<unknown> => {
    const checked = await files.get(file, path, { systemId: undefined });
    return checked.source(end.signal);
  };
  const first = await digest();
  writeFileSync(path, walSegment(5n, { fill: 8 }).bytes);
  expect(await digest()).not.toMatchObject({ digest: (first as { digest: string }).digest });
  await repository.close();
});

/** Whose puts of one segment wait until they are let go, or fail. */
function gated(name: string, gate: Promise<void>): (storage: Storage) => Storage {
  return (storage) => ({
    capabilities: storage.capabilities,
    get: (...args) => storage.get(...args),
    stat: (...args) => storage.stat(...args),
    list: (...args) => storage.list(...args),
    remove: (...args) => storage.remove(...args),
    close: () => storage.close(),
    put: async (key, ...args) => {
      if (key.includes(name)) await gate;
      return storage.put(key, ...args);
    },
  });
}

test('a request for a segment that is on its way waits for it, and is answered only when it is stored', async () => {
  const names = [5n, 6n].map((number) => ready(number));
  let release = (): void => undefined;
  const gate = new Promise<void>((resolve) => (release = resolve));
  const repository = await repositoryOn(gated(names[1] ?? '', gate));
  const agent = service(repository);
  await push(agent, names[0] ?? '');
  let answered = false;
  const second = push(agent, names[1] ?? '').then((result) => {
    answered = true;
    return result;
  });
  await new Promise((resolve) => void setTimeout(resolve, 100));
  expect(answered).toBe(false);
  release();
  expect(await second).toMatchObject({ outcome: 'present' });
  expect(await segmentsIn(repository)).toEqual(names);
});

test('a segment that could not be archived ahead has its own turn, which says why, and the next ones wait for theirs', async () => {
  const names = [5n, 6n, 7n, 8n, 9n].map((number) => ready(number));
  let failing = true;
  const repository = await repositoryOn((storage) => ({
    ...gated('', Promise.resolve())(storage),
    put: async (key, ...args) => {
      if (failing && key.includes(names[1] ?? '')) throw new ArchiveError('STORAGE_UNAVAILABLE', 'it is away');
      return storage.put(key, ...args);
    },
  }));
  const agent = service(repository);
  expect(await push(agent, names[0] ?? '')).toMatchObject({ outcome: 'stored' });
  await expect(push(agent, names[1] ?? '')).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
  failing = false;
  expect(await push(agent, names[1] ?? '')).toMatchObject({ outcome: 'stored' });
  await expect.poll(() => segmentsIn(repository)).toEqual(names);
});

test('with several repositories each gets what is ready, and success needs all of them', async () => {
  const names = [5n, 6n, 7n].map((number) => ready(number));
  const whole = await repositoryOn(undefined, 'whole');
  let away = false;
  const other = await repositoryOn(
    (storage) => ({
      ...gated('', Promise.resolve())(storage),
      put: async (key, ...args) => {
        if (away) throw new ArchiveError('STORAGE_UNAVAILABLE', 'it is away');
        return storage.put(key, ...args);
      },
    }),
    'other',
  );
  away = true;
  const agent = service(whole, other);
  await expect(push(agent, names[0] ?? '')).rejects.toMatchObject({ code: 'REPOSITORY_BEHIND' });
  await expect.poll(() => segmentsIn(whole)).toEqual(names);
  // Archived ahead in one of them is not archived.
  await expect(push(agent, names[1] ?? '')).rejects.toMatchObject({ code: 'REPOSITORY_BEHIND' });
  away = false;
  for (const name of names) expect(await push(agent, name)).toMatchObject({ name });
  expect(await segmentsIn(other)).toEqual(names);
});

test('nothing is archived ahead into an archive that is not there, nor of another cluster', async () => {
  const [first, second] = [ready(5n), ready(6n, { systemId: '42' }), ready(7n)];
  const absent = await memoryRepository();
  await expect(push(service(absent), first)).rejects.toMatchObject({ code: 'REPOSITORY_NOT_FOUND' });
  expect(await keysOf(absent.storage)).toEqual([]);
  const repository = await repositoryOn();
  await push(service(repository), first);
  await new Promise((resolve) => void setTimeout(resolve, 100));
  expect(await segmentsIn(repository)).not.toContain(second);
});

test('H-08 H-22 a segment of a new timeline is not archived before its history, which another server may have archived otherwise', async () => {
  const repository = await repositoryOn();
  // Another server was promoted to a timeline of the same number.
  const archive = repository.wal(SYSTEM_ID);
  await archive.push('00000002.history', { bytes: Buffer.from('1\t0/300028\tno recovery target specified\n') });
  const names = [ready(5n), ready(6n)];
  const next = ready(6n, { timeline: 2 });
  writeFileSync(join(folder, 'pg_wal', '00000002.history'), '1\t0/600028\tno recovery target specified\n');
  writeFileSync(join(folder, 'pg_wal', 'archive_status', '00000002.history.ready'), '');
  const agent = service(repository);
  await push(agent, names[0] ?? '');
  await expect.poll(() => segmentsIn(repository)).toEqual(names);
  await expect(push(agent, '00000002.history')).rejects.toMatchObject({ code: 'WAL_CONFLICT' });
  expect(await segmentsIn(repository)).not.toContain(next);
});
