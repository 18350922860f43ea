/** What `wal-push` does when the archive is away and the disk is about to fill. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { bound } from '../../../test/support/gate.ts';
import { ArchiveError, type ErrorCode } from '../../src/contracts/errors.ts';
import type { ArchiveEvents } from '../../src/contracts/hook.ts';
import type { Storage } from '../../src/contracts/storage.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { gapsAmong, openGaps } from '../../src/repository/wal-gaps.ts';
import { DroppedSegments } from '../../src/wal-command/dropped-segments.ts';
import { pushOrLetGo, type LetGoResult } from '../../src/wal-command/let-go.ts';
import type { WalPushResult } from '../../src/wal-command/push.ts';
import { keysOf, memoryRepository, memoryStorage } from '../repository/repository.ts';
import { SEGMENT_SIZE, SYSTEM_ID, walSegment } from './segments.ts';

/** More than any disk has free. */
const ALL = Number.MAX_SAFE_INTEGER;

let folder = '';
let wal = '';
let dropped: DroppedSegments;
let gaps: ArchiveEvents['wal.gap'][] = [];
let errors: string[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pgark-let-go-'));
  wal = join(folder, 'pg_wal');
  mkdirSync(wal);
  dropped = new DroppedSegments(join(folder, 'spool'), 'main', { onFullDisk: 'drop' });
  gaps = [];
  errors = [];
});
afterEach(() => rmSync(folder, { recursive: true }));

interface Switchable {
  readonly repository: Repository;
  /** Fails all calls, or only the puts of WAL. */
  fail: (code: ErrorCode | undefined, what?: 'all' | 'wal') => void;
}

async function switchable(name = 'primary'): Promise<Switchable> {
  const storage = await memoryStorage();
  let fault: { readonly code: ErrorCode; readonly what: 'all' | 'wal' } | undefined;
  const check = (what: 'all' | 'wal'): void => {
    if (fault !== undefined && (fault.what === 'all' || what === 'wal'))
      throw new ArchiveError(fault.code, `the storage fails with ${fault.code}`);
  };
  const failing: Storage = {
    ...bound(storage),
    put: async (key, ...call) => {
      check(key.includes('/wal/0') ? 'wal' : 'all');
      return storage.put(key, ...call);
    },
    get: async function* (...call) {
      check('all');
      yield* storage.get(...call);
    },
    list: async function* (...call) {
      check('all');
      yield* storage.list(...call);
    },
  };
  const repository = await memoryRepository({ name, storage: failing });
  await repository.open({ create: true });
  return {
    repository,
    fail: (code, what = 'all') => {
      fault = code && { code, what };
    },
  };
}

function segment(number: bigint): string {
  const { name, bytes } = walSegment(number);
  writeFileSync(join(wal, name), bytes);
  return name;
}

async function push(
  name: string,
  repositories: readonly Switchable[],
  options: {
    readonly onFullDisk?: 'keep' | 'drop';
    readonly minFree?: number;
    readonly onGap?: () => Promise<void>;
    readonly dropped?: DroppedSegments;
    readonly timeout?: number;
  } = {},
): Promise<WalPushResult | LetGoResult> {
  const { onFullDisk = 'drop', minFree = ALL } = options;
  const [first, ...more] = repositories.map(({ repository }) => repository);
  if (first === undefined) throw new Error('no repository');
  const say = (): void => undefined;
  return pushOrLetGo({
    name,
    path: join(wal, name),
    repositories: [first, ...more],
    timeout: options.timeout ?? 20_000,
    dropped: options.dropped ?? dropped,
    policy: { onFullDisk, minFree },
    logger: { debug: say, info: say, warn: say, error: (_, message) => void errors.push(message) },
    onGap: options.onGap ?? (async (gap) => void gaps.push(gap)),
  });
}

const lsn = (number: bigint): bigint => number * BigInt(SEGMENT_SIZE);

async function recorded({ repository }: Switchable): Promise<readonly (readonly [bigint, bigint])[]> {
  const found = gapsAmong(await repository.facts(SYSTEM_ID).list('wal'));
  return found.map(({ from, to }) => [from, to]);
}

async function open({ repository }: Switchable): Promise<readonly (readonly [bigint, bigint])[]> {
  const found = await openGaps(repository, SYSTEM_ID, { segmentSize: SEGMENT_SIZE });
  return found.map(({ from, to }) => [from, to]);
}

async function held({ repository }: Switchable): Promise<readonly string[]> {
  return (await keysOf(repository.storage)).flatMap((key) => /\/([0-9A-F]{24})-/.exec(key)?.[1] ?? []);
}

test('without the option, with room on the disk, or where the fault is not the storage’s, a segment is kept', async () => {
  const one = await switchable();
  const name = segment(5n);
  one.fail('STORAGE_UNAVAILABLE');
  await expect(push(name, [one], { onFullDisk: 'keep' })).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
  await expect(push(name, [one], { minFree: 1 })).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
  one.fail(undefined);
  await push(name, [one]);
  writeFileSync(join(wal, name), walSegment(5n, { fill: 9 }).bytes);
  await expect(push(name, [one])).rejects.toMatchObject({ code: 'WAL_CONFLICT' });
  one.fail('STORAGE_CORRUPT');
  await expect(push(segment(6n), [one])).rejects.toMatchObject({ code: 'STORAGE_CORRUPT' });
  expect(dropped.list()).toEqual([]);
  expect([gaps, errors]).toEqual([[], []]);
});

test('histories and ends of timelines are never let go; the label of a backup is, and leaves no gap', async () => {
  const one = await switchable();
  segment(5n);
  one.fail('STORAGE_UNAVAILABLE');
  const history = '00000002.history';
  writeFileSync(join(wal, history), '1\t0/500000\tno recovery target specified\n');
  await expect(push(history, [one])).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
  const { name, bytes } = walSegment(6n);
  const partial = `${name}.partial`;
  writeFileSync(join(wal, partial), bytes);
  await expect(push(partial, [one])).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
  const label = `${name}.00000028.backup`;
  writeFileSync(join(wal, label), `START WAL LOCATION: 0/600028 (file ${name})\n`);
  const result = await push(label, [one]);
  expect(result).toMatchObject({ outcome: 'dropped' });
  expect(result).not.toHaveProperty('gap');
  expect(errors).toHaveLength(1);
  expect(dropped.list()).toEqual([]);
});

test('a segment is let go when the gap is on record beside the spool, and the archive gets the record before anything else', async () => {
  const one = await switchable();
  one.fail('STORAGE_UNAVAILABLE');
  for (const number of [5n, 6n]) {
    const name = segment(number);
    expect(await push(name, [one])).toMatchObject({ name, outcome: 'dropped', systemId: SYSTEM_ID });
    rmSync(join(wal, name)); // as the server does at its next checkpoint
  }
  expect(gaps).toMatchObject([
    { timeline: 1, from: '0/500000', to: '0/600000' },
    { timeline: 1, from: '0/600000', to: '0/700000' },
  ]);
  expect(errors).toHaveLength(2);
  expect(errors[0]).toMatch(/WAL is lost: .* was let go: the disk of .* is about to fill/);
  expect(dropped.list()).toMatchObject([{ recorded: false }, { recorded: false }]);

  // Whatever keeps the record from being taken keeps the next file from being archived.
  const { repository } = one;
  one.fail(undefined);
  const facts = repository.storage.put.bind(repository.storage);
  const seven = segment(7n);
  Object.assign(repository.storage, {
    put: async (key: string, ...call: [never, never]) => {
      if (key.includes('/facts/')) throw new ArchiveError('STORAGE_DENIED', 'no facts');
      return facts(key, ...call);
    },
  });
  await expect(push(seven, [one], { minFree: 1 })).rejects.toMatchObject({ code: 'STORAGE_DENIED' });
  expect(await held(one)).toEqual([]);
  Object.assign(repository.storage, { put: facts });

  expect(await push(seven, [one])).toMatchObject({ outcome: 'stored' });
  // One loss, one record.
  expect(await recorded(one)).toEqual([[lsn(5n), lsn(7n)]]);
  expect(await open(one)).toEqual([[lsn(5n), lsn(7n)]]);
  expect(dropped.list()).toEqual([]);
  expect(await held(one)).toEqual([seven]);
});

test('what was let go and is still in pg_wal is shipped when the archive is back: its gap is none', async () => {
  const one = await switchable();
  one.fail('STORAGE_UNAVAILABLE');
  const names = [5n, 6n, 7n].map(segment);
  for (const name of names) await push(name, [one]);
  rmSync(join(wal, names[0] ?? ''));
  // Another segment has got the file of this one.
  writeFileSync(join(wal, names[1] ?? ''), walSegment(90n).bytes);
  one.fail(undefined);
  const eight = segment(8n);
  expect(await push(eight, [one])).toMatchObject({ outcome: 'stored' });
  expect(await held(one)).toEqual([names[2], eight]);
  expect(await open(one)).toEqual([[lsn(5n), lsn(7n)]]);
  expect(dropped.list()).toEqual([]);
});

test('a segment that was about to be let go and is archived after all leaves nothing on record', async () => {
  const one = await switchable();
  one.fail('STORAGE_UNAVAILABLE');
  const name = segment(5n);
  // The process ends between the record and its answer.
  await expect(push(name, [one], { onGap: () => Promise.reject(new Error('killed')) })).rejects.toThrow('killed');
  expect(dropped.list()).toHaveLength(1);
  one.fail(undefined);
  expect(await push(name, [one])).toMatchObject({ outcome: 'stored' });
  expect(dropped.list()).toEqual([]);
  expect(await recorded(one)).toEqual([]);
});

test('a storage that takes no WAL but a record has it at once', async () => {
  const one = await switchable();
  one.fail('STORAGE_FULL', 'wal');
  const name = segment(5n);
  expect(await push(name, [one])).toMatchObject({ outcome: 'dropped' });
  expect(await open(one)).toEqual([[lsn(5n), lsn(6n)]]);
  expect(dropped.list()).toMatchObject([{ name, recorded: true }]);
  one.fail(undefined);
  await push(segment(6n), [one]);
  expect(await held(one)).toContain(name);
  expect(await open(one)).toEqual([]);
});

test('of several repositories those that have the segment have no gap, and the others get the record when they are back', async () => {
  const [a, b] = [await switchable('a'), await switchable('b')];
  b.fail('STORAGE_UNAVAILABLE');
  const name = segment(5n);
  expect(await push(name, [a, b])).toMatchObject({ outcome: 'dropped', repositories: [{ name: 'b' }] });
  expect(await held(a)).toEqual([name]);
  rmSync(join(wal, name));
  expect(await recorded(a)).toEqual([]);
  b.fail(undefined);
  await push(segment(6n), [a, b]);
  expect(await open(b)).toEqual([[lsn(5n), lsn(6n)]]);
  expect(await recorded(a)).toEqual([]);
  // A conflict in one of them is never a reason to lose WAL in the other.
  const seven = segment(7n);
  await push(seven, [a]);
  writeFileSync(join(wal, seven), walSegment(7n, { fill: 9 }).bytes);
  b.fail('STORAGE_UNAVAILABLE');
  await expect(push(seven, [a, b])).rejects.toMatchObject({ code: 'WAL_CONFLICT' });
});

test('a storage that says nothing takes the whole time of the first command only', async () => {
  const one = await switchable();
  one.fail('STORAGE_UNAVAILABLE');
  await push(segment(5n), [one]);
  // From now on it hangs.
  const { storage } = one.repository;
  Object.assign(storage, {
    get: () => ({ [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined) }) }),
  });
  // A test that waits for that time does not end in its own.
  expect(await push(segment(6n), [one], { timeout: 600_000 })).toMatchObject({ outcome: 'dropped' });
}, 60_000);

test('where the loss cannot be recorded the segment is kept', async () => {
  const one = await switchable();
  one.fail('STORAGE_UNAVAILABLE');
  writeFileSync(join(folder, 'file'), '');
  const impossible = new DroppedSegments(join(folder, 'file'), 'main', { onFullDisk: 'drop' });
  await expect(push(segment(5n), [one], { dropped: impossible })).rejects.toMatchObject({
    code: 'STORAGE_UNAVAILABLE',
  });
  expect(errors[0]).toContain('its loss cannot be recorded');
  expect(gaps).toEqual([]);
});

test('a record that cannot be read is an error, and not nothing', async () => {
  const one = await switchable();
  one.fail('STORAGE_UNAVAILABLE');
  await push(segment(5n), [one]);
  const [record = ''] = readdirSync(dropped.folder);
  writeFileSync(join(dropped.folder, record), '{"name": ');
  one.fail(undefined);
  await expect(push(segment(6n), [one])).rejects.toMatchObject({ code: 'SPOOL_INVALID' });
  expect(await held(one)).toEqual([]);
});
