import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ArchiveError } from '../../src/contracts/errors.ts';
import type { Storage } from '../../src/contracts/storage.ts';
import { FetchService } from '../../src/agent/fetch-service.ts';
import type { FetchRequest } from '../../src/agent/protocol.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { memoryRepository, memoryStorage, pluginContext } from '../repository/repository.ts';
import { SEGMENT_SIZE, SYSTEM_ID, walSegment } from '../wal-command/segments.ts';

let folder = '';
/** Segments whose bytes were asked of the storage, in this order. */
let read: string[] = [];
/** What the storage does before it gives an object. */
let disturb: (key: string) => void = () => undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pgark-agent-fetch-'));
  mkdirSync(join(folder, 'work'));
  mkdirSync(join(folder, 'data', 'pg_wal'), { recursive: true });
  read = [];
  disturb = () => undefined;
});
afterEach(() => rmSync(folder, { recursive: true }));

async function watched(): Promise<Storage> {
  const storage = await memoryStorage();
  return {
    capabilities: storage.capabilities,
    put: (...args) => storage.put(...args),
    stat: (...args) => storage.stat(...args),
    list: (...args) => storage.list(...args),
    remove: (...args) => storage.remove(...args),
    close: () => storage.close(),
    get: (key, ...args) => {
      const name = /[0-9A-F]{24}/.exec(key)?.[0];
      if (name !== undefined) read.push(name);
      disturb(key);
      return storage.get(key, ...args);
    },
  };
}

async function archiveOf(numbers: readonly bigint[], timeline = 1): Promise<Repository> {
  const repository = await memoryRepository({ storage: await watched() });
  await repository.open({ create: true });
  await add(repository, numbers, timeline);
  return repository;
}

async function add(repository: Repository, numbers: readonly bigint[], timeline = 1): Promise<void> {
  for (const number of numbers) {
    const { name, bytes } = walSegment(number, { timeline });
    await repository.wal(SYSTEM_ID).push(name, { bytes });
  }
}

function service(repository: Repository, segments = 3): FetchService {
  const config = {
    receive: { spool: join(folder, 'spool') },
    restore: { walRetry: 0 },
    agent: { concurrency: 2, prefetch: segments * SEGMENT_SIZE },
  } as unknown as ConstructorParameters<typeof FetchService>[0]['config'];
  return new FetchService({
    repositories: [repository],
    config,
    folder: join(folder, 'work'),
    logger: pluginContext.logger,
  });
}

const name = (number: bigint, timeline = 1): string => walSegment(number, { timeline }).name;

function request(asked: string, change: Partial<FetchRequest> = {}): FetchRequest {
  return {
    protocol: 2,
    command: 'wal-fetch',
    config: '',
    cluster: '',
    json: false,
    identity: '',
    repositories: [],
    cwd: join(folder, 'data'),
    path: 'pg_wal/RECOVERYXLOG',
    name: asked,
    mode: 'recovery',
    systemId: SYSTEM_ID,
    ...change,
  };
}

const { logger } = pluginContext;

/** Asks for a segment, and takes it away as the client does; `undefined` for a miss. */
async function fetch(
  from: FetchService,
  asked: string,
  change: Partial<FetchRequest> = {},
): Promise<Buffer | undefined> {
  const { signal } = new AbortController();
  const { result, file } = await from.fetch(request(asked, change), { signal, logger });
  if (result.outcome === 'missing' || file === undefined) return undefined;
  const bytes = readFileSync(file);
  rmSync(file);
  return bytes;
}

/** What lies in the folder of files that were fetched ahead. */
function held(): readonly string[] {
  return readdirSync(join(folder, 'work'), { recursive: true, encoding: 'utf8' })
    .flatMap((path) => /[0-9A-F]{24}(?=\.\d+$)/.exec(path)?.[0] ?? [])
    .sort();
}

test('a recovery that goes forward finds the next segments fetched, within the bytes that are allowed', async () => {
  const numbers = [5n, 6n, 7n, 8n, 9n, 10n, 11n, 12n];
  const agent = service(await archiveOf(numbers));
  for (const number of numbers.slice(0, 2))
    expect((await fetch(agent, name(number)))?.equals(walSegment(number).bytes)).toBe(true);
  await expect.poll(held).toEqual([7n, 8n, 9n].map((number) => name(number)));
  const before = read.length;
  expect((await fetch(agent, name(7n)))?.equals(walSegment(7n).bytes)).toBe(true);
  expect(read.slice(0, before)).toContain(name(7n));
  await expect.poll(held).toEqual([8n, 9n, 10n].map((number) => name(number)));
  for (const number of numbers.slice(3)) expect(await fetch(agent, name(number))).toBeDefined();
  expect(read.toSorted()).toEqual(numbers.map((number) => name(number)).toSorted());
  expect(readdirSync(join(folder, 'data', 'pg_wal'))).toEqual([]);
});

test('H-24 requests that go back, as those of pg_rewind, fetch nothing ahead and drop what is held', async () => {
  const agent = service(await archiveOf([5n, 6n, 7n, 8n, 9n]));
  for (const number of [8n, 7n, 6n, 5n]) expect(await fetch(agent, name(number))).toBeDefined();
  expect(read).toEqual([8n, 7n, 6n, 5n].map((number) => name(number)));
  expect(await fetch(agent, name(6n))).toBeDefined();
  await expect.poll(held).toEqual([7n, 8n, 9n].map((number) => name(number)));
  expect(await fetch(agent, name(5n))).toBeDefined();
  expect(held()).toEqual([]);
});

test('H-24 that a segment is not there is not remembered', async () => {
  const repository = await archiveOf([5n, 6n]);
  const agent = service(repository);
  for (const number of [5n, 6n]) await fetch(agent, name(number));
  expect(await fetch(agent, name(7n))).toBeUndefined();
  expect(await fetch(agent, name(7n), { mode: 'standby' })).toBeUndefined();
  await add(repository, [7n, 8n]);
  for (const number of [7n, 8n]) expect(await fetch(agent, name(number))).toBeDefined();
});

test('another timeline, data directory or cluster drops or never sees what was fetched ahead', async () => {
  const repository = await archiveOf([5n, 6n, 7n, 8n]);
  await add(repository, [7n, 8n], 2);
  const agent = service(repository);
  for (const number of [5n, 6n]) await fetch(agent, name(number));
  await expect.poll(held).toEqual([7n, 8n].map((number) => name(number)));
  const second = await fetch(agent, name(7n, 2));
  expect(second?.equals(walSegment(7n, { timeline: 2 }).bytes)).toBe(true);
  expect(held()).toEqual([]);

  for (const number of [5n, 6n]) await fetch(agent, name(number));
  await expect.poll(held).toEqual([7n, 8n].map((number) => name(number)));
  const before = read.length;
  await fetch(agent, name(7n), { cwd: folder });
  expect(read.slice(before)).toEqual([name(7n)]);
  await expect(fetch(agent, name(7n), { systemId: '42' })).rejects.toMatchObject({ code: 'REPOSITORY_NOT_FOUND' });
});

test('nothing is fetched ahead behind the last segment that may be given', async () => {
  const agent = service(await archiveOf([5n, 6n, 7n, 8n]));
  const until = name(7n);
  for (const number of [5n, 6n, 7n]) expect(await fetch(agent, name(number), { until })).toBeDefined();
  expect(await fetch(agent, name(8n), { until })).toBeUndefined();
  expect(read).not.toContain(name(8n));
});

test('H-25 a segment that arrives damaged is never held: its request reads it again, and says so', async () => {
  const agent = service(await archiveOf([5n, 6n, 7n, 8n]));
  disturb = (key) => {
    if (key.includes(name(7n))) throw new ArchiveError('CODEC_CORRUPT', 'it is damaged');
  };
  for (const number of [5n, 6n]) await fetch(agent, name(number));
  await expect.poll(() => read.includes(name(8n))).toBe(true);
  await expect(fetch(agent, name(7n))).rejects.toMatchObject({ code: 'CODEC_CORRUPT' });
  disturb = () => undefined;
  expect((await fetch(agent, name(7n)))?.equals(walSegment(7n).bytes)).toBe(true);
});

test('H-20 a hole in the archive is the same with segments behind it that could be fetched ahead', async () => {
  const agent = service(await archiveOf([5n, 6n, 8n, 9n]));
  for (const number of [5n, 6n]) await fetch(agent, name(number));
  await expect(fetch(agent, name(7n))).rejects.toMatchObject({ code: 'WAL_GAP' });
});

test('what is unfinished is not fetched ahead, and histories are asked for each time', async () => {
  const repository = await archiveOf([5n, 6n]);
  const { name: partial, bytes } = walSegment(7n, { written: 5000 });
  await repository.wal(SYSTEM_ID).push(`${partial}.partial`, { bytes });
  const agent = service(repository);
  for (const number of [5n, 6n]) await fetch(agent, name(number));
  expect(held()).toEqual([]);
  expect((await fetch(agent, partial))?.equals(Buffer.from(bytes))).toBe(true);
  await add(
    repository,
    [7n].map(() => 8n),
  );
  expect(await fetch(agent, '00000002.history')).toBeUndefined();
});

test('a request that nobody waits for any more ends, and the end of the service leaves nothing', async () => {
  const agent = service(await archiveOf([5n, 6n, 7n, 8n]));
  for (const number of [5n, 6n]) await fetch(agent, name(number));
  await expect.poll(held).toHaveLength(2);
  const gone = AbortSignal.abort();
  await expect(agent.fetch(request(name(9n)), { signal: gone, logger })).rejects.toMatchObject({ code: 'ABORTED' });
  agent.close();
  expect(readdirSync(join(folder, 'work'))).toEqual([]);
});

test('without bytes for it nothing is fetched ahead', async () => {
  const agent = service(await archiveOf([5n, 6n, 7n]), 0);
  for (const number of [5n, 6n]) await fetch(agent, name(number));
  expect(read).toEqual([name(5n), name(6n)]);
  expect(existsSync(join(folder, 'work'))).toBe(true);
});
