/** `restore_command` with several repositories: what may be said when some of them fail. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ArchiveError } from '../../src/contracts/errors.ts';
import type { Logger } from '../../src/contracts/plugin.ts';
import type { Storage } from '../../src/contracts/storage.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { walFetch, type WalFetchOptions } from '../../src/wal-command/fetch.ts';
import { keysOf, memoryRepository, memoryStorage } from '../repository/repository.ts';
import { SYSTEM_ID, walSegment } from './segments.ts';

let folder = '';
let path = '';
let warnings: string[] = [];
beforeEach(() => {
  warnings = [];
  folder = mkdtempSync(join(tmpdir(), 'pgark-fetch-'));
  mkdirSync(join(folder, 'pg_wal'));
  path = join(folder, 'pg_wal', 'RECOVERYXLOG');
});
afterEach(() => rmSync(folder, { recursive: true }));

const say = (): void => undefined;
const logger: Logger = { debug: say, info: say, error: say, warn: (_, text) => void warnings.push(text) };

/** A repository that can be taken away and brought back. */
interface Place {
  readonly repository: Repository;
  readonly storage: Storage;
  away: boolean;
  refused: number;
}

async function place(name: string, numbers: readonly bigint[]): Promise<Place> {
  const storage = await memoryStorage();
  const state = { away: false, refused: 0 };
  const check = (): void => {
    if (!state.away) return;
    state.refused++;
    throw new ArchiveError('STORAGE_UNAVAILABLE', 'no route to the storage');
  };
  const guarded: Storage = {
    capabilities: storage.capabilities,
    put: (...call) => storage.put(...call),
    stat: (...call) => storage.stat(...call),
    remove: (...call) => storage.remove(...call),
    close: () => storage.close(),
    get: async function* (...call) {
      check();
      yield* storage.get(...call);
    },
    list: async function* (...call) {
      check();
      yield* storage.list(...call);
    },
  };
  const repository = await memoryRepository({ name, storage: guarded });
  await repository.open({ create: true });
  for (const number of numbers) {
    const { name: file, bytes } = walSegment(number);
    await repository.wal(SYSTEM_ID).push(file, { bytes });
  }
  return Object.assign(state, { repository, storage });
}

function fetch(places: readonly [Place, Place], name: string, options: Partial<WalFetchOptions> = {}) {
  return walFetch({
    name,
    path,
    repositories: [places[0].repository, places[1].repository],
    systemId: SYSTEM_ID,
    dataDirectories: [folder],
    mode: 'recovery',
    retry: 0,
    logger,
    ...options,
  });
}

test('a file that one repository has is fetched while the other is away, with a warning', async () => {
  const both = [await place('a', [5n]), await place('b', [5n, 6n])] as const;
  both[0].away = true;
  const { name, bytes } = walSegment(6n);
  expect(await fetch(both, name)).toEqual({ outcome: 'fetched', source: 'archive' });
  expect(readFileSync(path).equals(bytes)).toBe(true);
  expect(readdirSync(join(folder, 'pg_wal'))).toEqual(['RECOVERYXLOG']);
  expect(both[0].refused).toBeGreaterThan(0);
  expect(warnings).toEqual(['repository a: no route to the storage; another repository is used']);
});

test('H-20 a file that no reachable repository has is an error while one is away, in every mode, and a miss when all answer', async () => {
  const both = [await place('a', [5n]), await place('b', [5n])] as const;
  const names = [walSegment(6n).name, '00000002.history', walSegment(5n, { timeline: 2 }).name];
  for (const away of both) {
    away.away = true;
    for (const name of names)
      for (const mode of ['recovery', 'standby', 'none'] as const)
        await expect(fetch(both, name, { mode })).rejects.toMatchObject({
          code: 'STORAGE_UNAVAILABLE',
          message: `repository ${away.repository.name}: no route to the storage`,
        });
    expect(away.refused).toBeGreaterThanOrEqual(9);
    away.away = false;
  }
  for (const name of names) expect(await fetch(both, name)).toEqual({ outcome: 'missing' });
  expect(existsSync(path)).toBe(false);
});

test('H-20 a repository that comes back within the time is waited for', async () => {
  const both = [await place('a', [5n, 6n]), await place('b', [5n])] as const;
  both[0].away = true;
  const retried: Logger = {
    ...logger,
    warn: (_, text) => {
      warnings.push(text);
      both[0].away = false;
    },
  };
  expect(await fetch(both, walSegment(6n).name, { retry: 60_000, logger: retried })).toMatchObject({
    outcome: 'fetched',
  });
  expect(warnings).toEqual([expect.stringContaining('trying again')]);
});

test('H-20 later WAL in any repository makes a missing segment a hole', async () => {
  const both = [await place('a', [5n]), await place('b', [5n, 7n])] as const;
  await expect(fetch(both, walSegment(6n).name)).rejects.toMatchObject({ code: 'WAL_GAP' });
  const { name, bytes } = walSegment(6n);
  await both[0].repository.wal(SYSTEM_ID).push(name, { bytes });
  expect(await fetch(both, name)).toMatchObject({ outcome: 'fetched' });
});

test('H-20 every repository must really be there for a miss: one that holds nothing of the cluster is named', async () => {
  const both = [await place('a', [5n]), await place('b', [])] as const;
  await expect(fetch(both, walSegment(6n).name)).rejects.toMatchObject({
    code: 'REPOSITORY_NOT_FOUND',
    message: expect.stringContaining('repository b') as string,
  });
  expect(await fetch(both, walSegment(5n).name)).toMatchObject({ outcome: 'fetched' });
});

test('H-25 a damaged copy is passed over; when all are damaged the older file stays', async () => {
  const both = [await place('a', [5n]), await place('b', [5n])] as const;
  const { name, bytes } = walSegment(5n);
  const damage = async ({ storage }: Place): Promise<void> => {
    const key = (await keysOf(storage)).find((candidate) => candidate.includes(name)) ?? '';
    await storage.remove([key]);
    await storage.put(key, (async function* () { yield Buffer.from('no zstd at all'); })(), { ifAbsent: true }); // prettier-ignore
  };
  await damage(both[0]);
  expect(await fetch(both, name)).toMatchObject({ outcome: 'fetched' });
  expect(readFileSync(path).equals(bytes)).toBe(true);
  expect(warnings).toEqual([expect.stringMatching(/^repository a: .*another repository is used$/)]);
  await damage(both[1]);
  await expect(fetch(both, name)).rejects.toMatchObject({ code: 'CODEC_CORRUPT' });
  expect(readFileSync(path).equals(bytes)).toBe(true);
  expect(readdirSync(join(folder, 'pg_wal'))).toEqual(['RECOVERYXLOG']);
});

test('the unfinished last segment is what the slices of all repositories hold', async () => {
  const both = [await place('a', [5n]), await place('b', [5n])] as const;
  const { name, bytes } = walSegment(6n, { written: 5000 });
  await both[0].repository.wal(SYSTEM_ID).pushTail(name, 0, 3000, bytes.subarray(0, 3000));
  await both[1].repository.wal(SYSTEM_ID).pushTail(name, 3000, 5000, bytes.subarray(3000, 5000));
  expect(await fetch(both, name)).toEqual({ outcome: 'fetched', source: 'tail' });
  expect(readFileSync(path).equals(bytes)).toBe(true);
  // The longest end may lie where nobody can look.
  both[1].away = true;
  await expect(fetch(both, name)).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
});

test('without a data directory the cluster is the only one of all repositories', async () => {
  const both = [await place('a', [5n]), await place('b', [5n])] as const;
  const [a, b] = both;
  const repositories = [a.repository, b.repository] as const;
  const unnamed = (): ReturnType<typeof walFetch> =>
    walFetch({
      name: walSegment(5n).name,
      path,
      repositories,
      dataDirectories: [folder],
      mode: 'none',
      retry: 0,
      logger,
    });
  expect(await unnamed()).toMatchObject({ outcome: 'fetched' });
  const other = walSegment(5n, { systemId: '42' });
  await b.repository.wal('42').push(other.name, { bytes: other.bytes });
  await expect(unnamed()).rejects.toMatchObject({ code: 'USAGE', message: expect.stringContaining('42') as string });
});
