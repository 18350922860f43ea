import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Storage } from '../../src/contracts/storage.ts';
import { walPush } from '../../src/wal-command/push.ts';
import { keysOf, memoryRepository, memoryStorage } from '../repository/repository.ts';
import { SYSTEM_ID, walSegment } from './segments.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pgark-push-'));
  mkdirSync(join(folder, 'pg_wal'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function put(name: string, bytes: Uint8Array | string): string {
  const path = join(folder, 'pg_wal', name);
  writeFileSync(path, bytes);
  return path;
}

test('a segment is stored under the system identifier of its header, once', async () => {
  const repository = await memoryRepository();
  await repository.open({ create: true });
  const { name, bytes } = walSegment(5n);
  const path = put(name, bytes);
  expect(await walPush({ name, path, repositories: [repository] })).toEqual({
    name,
    systemId: SYSTEM_ID,
    outcome: 'stored',
    repositories: [{ name: 'primary', outcome: 'stored' }],
  });
  expect(await walPush({ name, path, repositories: [repository] })).toMatchObject({ outcome: 'present' });
  const keys = await keysOf(repository.storage);
  expect(keys).toHaveLength(2);
  expect(keys[0]).toMatch(new RegExp(`^main/${SYSTEM_ID}/wal/00000001/00000000/${name}-[0-9a-f]{32}\\.zst$`));
});

test('an archive that is not there is not made: the folder may be that of a disk that is not mounted', async () => {
  const repository = await memoryRepository();
  const { name, bytes } = walSegment(5n);
  await expect(walPush({ name, path: put(name, bytes), repositories: [repository] })).rejects.toMatchObject({
    code: 'REPOSITORY_NOT_FOUND',
  });
  expect(await keysOf(repository.storage)).toEqual([]);
});

test('H-22 the same name with other content is refused for segments, histories, labels and partial segments', async () => {
  const repository = await memoryRepository();
  await repository.open({ create: true });
  const neighbour = walSegment(9n);
  put(neighbour.name, neighbour.bytes);
  const label = (text: string): string =>
    `START WAL LOCATION: 0/500028 (file 000000010000000000000005)\nLABEL: ${text}\n`;
  const cases: readonly (readonly [string, Uint8Array | string, Uint8Array | string])[] = [
    [walSegment(5n).name, walSegment(5n).bytes, walSegment(5n, { fill: 8 }).bytes],
    [`${walSegment(6n).name}.partial`, walSegment(6n).bytes, walSegment(6n, { fill: 8 }).bytes],
    ['00000002.history', '1\t0/500000\tfirst\n', '1\t0/600000\tsecond\n'],
    ['000000010000000000000005.00000028.backup', label('one'), label('two')],
  ];
  for (const [name, one, other] of cases) {
    expect(await walPush({ name, path: put(name, one), repositories: [repository] })).toMatchObject({
      systemId: SYSTEM_ID,
      outcome: 'stored',
    });
    expect(await walPush({ name, path: put(name, one), repositories: [repository] })).toMatchObject({
      outcome: 'present',
    });
    const before = await keysOf(repository.storage);
    await expect(walPush({ name, path: put(name, other), repositories: [repository] })).rejects.toMatchObject({
      code: 'WAL_CONFLICT',
      message: expect.stringMatching(/digest [0-9a-f]{32}, not [0-9a-f]{32}/) as string,
    });
    expect(await keysOf(repository.storage)).toEqual(before);
  }
});

test('a file that is not what its name says is refused and nothing is stored', async () => {
  const repository = await memoryRepository();
  await repository.open({ create: true });
  const { name, bytes } = walSegment(5n);
  const wrong: readonly (readonly [string, Uint8Array | string])[] = [
    [name, bytes.subarray(0, bytes.byteLength - 1)],
    [name, Buffer.concat([bytes, Buffer.alloc(1)])],
    [name, new Uint8Array(bytes.byteLength)],
    [name, new Uint8Array(0)],
    [name, walSegment(6n).bytes],
    [name, walSegment(5n, { headerTimeline: 2 }).bytes],
    [walSegment(7n).name, bytes],
    ['00000002.history', '2\t0/500000\tnot an ancestor\n'],
    ['00000002.history', ''],
    ['000000010000000000000005.00000028.backup', 'START WAL LOCATION: 0/1 (file 000000010000000000000006)\n'],
  ];
  for (const [given, content] of wrong) {
    const path = put(given, content);
    await expect(walPush({ name: given, path, repositories: [repository], systemId: SYSTEM_ID })).rejects.toMatchObject(
      {
        code: 'WAL_INVALID',
      },
    );
  }
  await expect(
    walPush({ name: '../../etc/passwd', path: '/etc/passwd', repositories: [repository] }),
  ).rejects.toMatchObject({
    code: 'WAL_INVALID',
  });
  await expect(walPush({ name, path: join(folder, 'nothing'), repositories: [repository] })).rejects.toMatchObject({
    code: 'WAL_INVALID',
    message: expect.stringContaining('ENOENT') as string,
  });
  expect(await keysOf(repository.storage)).toEqual(['main/pgark.json']);
});

test('the first segment of a timeline begins with the WAL of its ancestor', async () => {
  const repository = await memoryRepository();
  await repository.open({ create: true });
  const { name, bytes } = walSegment(5n, { timeline: 3, headerTimeline: 2 });
  expect(await walPush({ name, path: put(name, bytes), repositories: [repository] })).toMatchObject({
    outcome: 'stored',
  });
});

test('a history whose cluster cannot be told is refused, and accepted when it is named', async () => {
  const repository = await memoryRepository();
  await repository.open({ create: true });
  const name = '00000002.history';
  const path = put(name, '1\t0/500000\tfirst\n');
  await expect(walPush({ name, path, repositories: [repository] })).rejects.toMatchObject({
    code: 'WAL_INVALID',
    hint: expect.stringContaining('--system-id') as string,
  });
  expect(await walPush({ name, path, repositories: [repository], systemId: '42' })).toMatchObject({ systemId: '42' });
});

test('WAL of another cluster than the named one is refused', async () => {
  const repository = await memoryRepository();
  await repository.open({ create: true });
  const { name, bytes } = walSegment(5n);
  await expect(
    walPush({ name, path: put(name, bytes), repositories: [repository], systemId: '42' }),
  ).rejects.toMatchObject({
    code: 'SYSTEM_MISMATCH',
  });
});

test('a storage that never answers ends in a failure that can be tried again', async () => {
  const storage = await memoryStorage();
  let asked = 0;
  const silent: Storage = {
    ...storage,
    capabilities: storage.capabilities,
    get: () => ({
      [Symbol.asyncIterator]: () => ({
        next: async () => {
          asked++;
          return new Promise<IteratorResult<Uint8Array>>(() => undefined);
        },
      }),
    }),
  };
  const repository = await memoryRepository({ storage: silent });
  const { name, bytes } = walSegment(5n);
  await expect(
    walPush({ name, path: put(name, bytes), repositories: [repository], timeout: 50 }),
  ).rejects.toMatchObject({
    code: 'STORAGE_UNAVAILABLE',
    retriable: true,
  });
  expect(asked).toBe(1);
});
