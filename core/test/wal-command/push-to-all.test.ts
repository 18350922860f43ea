import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { failingStorage } from '../../../test/support/failing-storage.ts';
import { bound } from '../../../test/support/gate.ts';
import { isArchiveError, type ArchiveError } from '../../src/contracts/errors.ts';
import type { Storage } from '../../src/contracts/storage.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { walPush, type WalPushResult } from '../../src/wal-command/push.ts';
import { keysOf, memoryRepository, memoryStorage } from '../repository/repository.ts';
import { SYSTEM_ID, walSegment } from './segments.ts';

let wal = '';
beforeEach(() => {
  wal = mkdtempSync(join(tmpdir(), 'pgark-push-to-all-'));
  mkdirSync(join(wal, 'archive_status'));
});
afterEach(() => rmSync(wal, { recursive: true }));

/** A file of `pg_wal` that is ready to be archived. */
function ready(name: string, bytes: Uint8Array | string): string {
  const path = join(wal, name);
  writeFileSync(path, bytes);
  writeFileSync(join(wal, 'archive_status', `${name}.ready`), '');
  return path;
}

/** Ready segments with these numbers; gives their names. */
function segments(...numbers: readonly bigint[]): readonly string[] {
  return numbers.map((number) => {
    const { name, bytes } = walSegment(number);
    ready(name, bytes);
    return name;
  });
}

async function opened(name: string, options: { storage?: Storage; compressed?: boolean } = {}): Promise<Repository> {
  const repository = await memoryRepository({ name, ...options });
  await repository.open({ create: true });
  return repository;
}

const down = (name: string): Promise<Repository> =>
  memoryRepository({ name, storage: failingStorage('STORAGE_UNAVAILABLE') });

/** A repository that answers nothing until it is let. */
async function silent(name: string): Promise<{ repository: Repository; let: () => void }> {
  const storage = await memoryStorage();
  await opened(name, { storage });
  let open = (): void => undefined;
  const answer = new Promise<void>((resolve) => (open = resolve));
  const held: Storage = {
    ...bound(storage),
    get: async function* (...call) {
      await answer;
      yield* storage.get(...call);
    },
  };
  return { repository: await memoryRepository({ name, storage: held }), let: open };
}

/** The WAL files in a repository, in the order of its keys. */
async function held(repository: Repository): Promise<readonly string[]> {
  const keys = await keysOf(repository.storage);
  return keys.flatMap((key) => /([0-9A-F]{8}[^/]*)-[0-9a-f]{32}(?:\.zst)?$/.exec(key)?.[1] ?? []);
}

async function push(
  name: string,
  repositories: readonly Repository[],
  options: { timeout?: number; signal?: AbortSignal } = {},
): Promise<WalPushResult> {
  const [first, ...more] = repositories;
  if (first === undefined) throw new Error('no repository');
  return walPush({ name, path: join(wal, name), repositories: [first, ...more], ...options });
}

async function failure(pushed: Promise<unknown>): Promise<ArchiveError> {
  const error: unknown = await pushed.then(
    () => new Error('it did not fail'),
    (reason: unknown) => reason,
  );
  if (!isArchiveError(error)) throw error;
  return error;
}

test('a file goes to all repositories, each with its own codecs, and nothing else does', async () => {
  const [a, b] = [await opened('a'), await opened('b', { compressed: false })];
  const [name = ''] = segments(5n, 6n);
  expect(await push(name, [a, b])).toEqual({
    name,
    systemId: SYSTEM_ID,
    outcome: 'stored',
    repositories: [
      { name: 'a', outcome: 'stored' },
      { name: 'b', outcome: 'stored' },
    ],
  });
  expect((await keysOf(a.storage))[0]).toMatch(/\.zst$/);
  expect((await keysOf(b.storage))[0]).toMatch(/[0-9a-f]{32}$/);
  expect([await held(a), await held(b)]).toEqual([[name], [name]]);
  expect(await push(name, [a, b])).toMatchObject({ outcome: 'present' });
  const c = await opened('c');
  expect(await push(name, [a, c])).toMatchObject({
    outcome: 'stored',
    repositories: [{ outcome: 'present' }, { outcome: 'stored' }],
  });
});

test('one is down: the others hold the file and what is ready behind it, and the command fails', async () => {
  const [a, b, c] = [await opened('a'), await down('b'), await opened('c')];
  const names = segments(5n, 6n, 7n);
  const history = '00000002.history';
  ready(history, '1\t0/500000\tfirst\n');
  // What is being written, and what is archived, is not ready.
  writeFileSync(join(wal, walSegment(8n).name), walSegment(8n).bytes);
  writeFileSync(join(wal, 'archive_status', `${walSegment(4n).name}.done`), '');
  const before = readdirSync(join(wal, 'archive_status'));

  const error = await failure(push(names[0] ?? '', [a, b, c]));
  expect(error).toMatchObject({ code: 'REPOSITORY_BEHIND', exitCode: 2, retriable: true });
  expect(error.message).toBe(
    `${names[0]} is not in every repository: repository b: the storage fails with STORAGE_UNAVAILABLE; ` +
      'repository a got 3 more; repository c got 3 more',
  );
  expect(error.details).toEqual({
    name: names[0],
    repositories: [
      { name: 'a', outcome: 'stored' },
      { name: 'b', code: 'STORAGE_UNAVAILABLE', message: 'the storage fails with STORAGE_UNAVAILABLE' },
      { name: 'c', outcome: 'stored' },
    ],
    ahead: [
      { name: 'a', stored: 3 },
      { name: 'c', stored: 3 },
    ],
  });
  for (const repository of [a, c]) expect((await held(repository)).toSorted()).toEqual([...names, history].toSorted());
  expect(readdirSync(join(wal, 'archive_status'))).toEqual(before);
});

test('what an earlier command archived ahead is neither read nor sent again, and each file has its turn', async () => {
  const [a, b] = [await opened('a'), await down('b')];
  const names = segments(5n, 6n, 7n);
  await failure(push(names[0] ?? '', [a, b]));
  // Would be noticed if it were read.
  writeFileSync(join(wal, names[1] ?? ''), new Uint8Array(1024 * 1024));
  segments(8n);
  const again = await failure(push(names[0] ?? '', [a, b]));
  expect(again.details['ahead']).toEqual([{ name: 'a', stored: 1 }]);
  writeFileSync(join(wal, names[1] ?? ''), walSegment(6n).bytes);

  const back = await opened('b');
  for (const name of names) {
    expect(await push(name, [a, back])).toMatchObject({
      outcome: 'stored',
      repositories: [{ outcome: 'present' }, { outcome: 'stored' }],
    });
  }
  expect(await held(back)).toEqual(names);
});

test('history files come first, then names in order', async () => {
  const order: string[] = [];
  const storage = await memoryStorage();
  const a = await opened('a', {
    storage: {
      ...bound(storage),
      put: async (key, ...call) => {
        order.push(/([0-9A-F]{8}[^/]*)-[0-9a-f]{32}/.exec(key)?.[1] ?? '');
        await storage.put(key, ...call);
      },
    },
  });
  const [first = '', ...more] = segments(5n, 7n, 6n);
  const label = `${walSegment(6n).name}.00000028.backup`;
  ready(label, `START WAL LOCATION: 0/600028 (file ${walSegment(6n).name})\n`);
  ready('00000002.history', '1\t0/500000\tfirst\n');
  await failure(push(first, [a, await down('b')]));
  expect(order.slice(1)).toEqual([first, '00000002.history', more[1], label, more[0]]);
});

test('one that keeps silent does not hold up the others, which get what becomes ready meanwhile', async () => {
  const [a, b] = [await opened('a'), await silent('b')];
  const names = [...segments(5n, 6n)];
  const running = push(names[0] ?? '', [a, b.repository], { timeout: 20_000 });
  await expect.poll(() => held(a), { timeout: 10_000 }).toEqual(names);
  names.push(...segments(7n));
  await expect.poll(() => held(a), { timeout: 10_000 }).toEqual(names);
  // It answers at last: the command succeeds, and leaves the rest to its turn.
  b.let();
  expect(await running).toMatchObject({ outcome: 'stored', repositories: [{ name: 'a' }, { name: 'b' }] });
  expect(await held(b.repository)).toEqual([names[0]]);
});

test('one that never answers ends the command at its timeout', async () => {
  const [a, b] = [await opened('a'), await silent('b')];
  const [name = ''] = segments(5n);
  const error = await failure(push(name, [b.repository, a], { timeout: 300 }));
  expect(error.code).toBe('REPOSITORY_BEHIND');
  expect(error.message).toContain('repository b: archiving');
  expect(error.message).toContain('did not finish within 0.3 s');
  expect(await held(a)).toEqual([name]);
});

test('an abort ends it as cancelled, whoever has the file', async () => {
  const [a, b] = [await opened('a'), await silent('b')];
  const [name = ''] = segments(5n);
  const controller = new AbortController();
  const running = failure(push(name, [a, b.repository], { signal: controller.signal }));
  await expect.poll(() => held(a), { timeout: 10_000 }).toEqual([name]);
  controller.abort();
  expect((await running).code).toBe('ABORTED');
});

test('H-22 a conflict in one repository is the error, whatever else fails, and the others go on', async () => {
  const [a, b, c] = [await opened('a'), await down('b'), await opened('c')];
  const names = segments(5n, 6n);
  await c.wal(SYSTEM_ID).push(names[0] ?? '', { bytes: walSegment(5n, { fill: 8 }).bytes });
  const error = await failure(push(names[0] ?? '', [a, b, c]));
  expect(error).toMatchObject({ code: 'WAL_CONFLICT', exitCode: 4, details: { repository: 'c', file: names[0] } });
  expect(error.message).toMatch(/^repository c: .* digest [0-9a-f]{32}, not [0-9a-f]{32}$/);
  expect(await held(a)).toEqual(names);
});

test('when all fail, the error is that of the first repository; one that was never created is not created', async () => {
  const [name = ''] = segments(5n, 6n);
  const fresh = await memoryRepository({ name: 'fresh' });
  expect(await failure(push(name, [await down('a'), fresh]))).toMatchObject({
    code: 'STORAGE_UNAVAILABLE',
    message: 'repository a: the storage fails with STORAGE_UNAVAILABLE',
    details: { repository: 'a' },
  });
  expect((await failure(push(name, [fresh, await down('a')]))).code).toBe('REPOSITORY_NOT_FOUND');
  const a = await opened('a');
  expect((await failure(push(name, [a, fresh]))).code).toBe('REPOSITORY_BEHIND');
  expect(await keysOf(fresh.storage)).toEqual([]);
});

test('a file that is not what its name says is refused, and nothing is archived ahead of it', async () => {
  const [a, b] = [await opened('a'), await down('b')];
  const [name = '', other = ''] = segments(5n, 6n);
  writeFileSync(join(wal, name), walSegment(7n).bytes);
  expect((await failure(push(name, [a, b]))).code).toBe('WAL_INVALID');
  expect(await held(a)).toEqual([]);
  // The other way round it ends the look ahead, which says so; its own turn will fail.
  expect(await failure(push(other, [a, b]))).toMatchObject({
    code: 'REPOSITORY_BEHIND',
    details: { ahead: [{ name: 'a', stored: 0, code: 'WAL_INVALID' }] },
  });
});

test('WAL of another cluster that is ready beside the file is left alone', async () => {
  const [a, b] = [await opened('a'), await down('b')];
  const [name = ''] = segments(5n);
  const foreign = walSegment(6n, { systemId: '42' });
  ready(foreign.name, foreign.bytes);
  const error = await failure(push(name, [a, b]));
  expect(error.details['ahead']).toEqual([expect.objectContaining({ name: 'a', stored: 0, code: 'SYSTEM_MISMATCH' })]);
  expect(await held(a)).toEqual([name]);
});
