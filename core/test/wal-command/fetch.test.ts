import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ArchiveError } from '../../src/contracts/errors.ts';
import type { Storage } from '../../src/contracts/storage.ts';
import { formatLsn } from '../../src/postgres/lsn.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { recoveryMode } from '../../src/wal-command/recovery-mode.ts';
import { fetchExitCode } from '../../src/wal-command/exit-code.ts';
import { walFetch, type WalFetchOptions } from '../../src/wal-command/fetch.ts';
import { keysOf, memoryRepository, memoryStorage, pluginContext } from '../repository/repository.ts';
import { SEGMENT_SIZE, SYSTEM_ID, walSegment } from './segments.ts';

let folder = '';
let path = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pgark-fetch-'));
  mkdirSync(join(folder, 'pg_wal'));
  path = join(folder, 'pg_wal', 'RECOVERYXLOG');
});
afterEach(() => rmSync(folder, { recursive: true }));

const { logger } = pluginContext;

function fetch(
  repository: Repository | readonly [Repository, ...Repository[]],
  name: string,
  options: Partial<WalFetchOptions> = {},
): ReturnType<typeof walFetch> {
  return walFetch({
    name,
    path,
    repositories: 'wal' in repository ? [repository] : repository,
    systemId: SYSTEM_ID,
    dataDirectories: [folder],
    mode: 'recovery',
    retry: 0,
    logger,
    ...options,
  });
}

/** An archive with whole segments of timeline 1. */
async function archiveWith(numbers: readonly bigint[], storage?: Storage): Promise<Repository> {
  const repository = await memoryRepository(storage === undefined ? {} : { storage });
  await repository.open({ create: true });
  for (const number of numbers) {
    const { name, bytes } = walSegment(number);
    await repository.wal(SYSTEM_ID).push(name, { bytes });
  }
  return repository;
}

/** Bytes of the only object whose key contains `part`. */
async function damage(storage: Storage, part: string): Promise<void> {
  const key = (await keysOf(storage)).find((candidate) => candidate.includes(part)) ?? '';
  const chunks: Uint8Array[] = [];
  for await (const chunk of storage.get(key)) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  const at = bytes.byteLength - 20;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  await storage.put(
    key,
    (async function* () {
      yield bytes;
    })(),
    { ifAbsent: false },
  );
}

test('a whole segment is put in place and nothing else is left beside it', async () => {
  const repository = await archiveWith([5n]);
  const { name, bytes } = walSegment(5n);
  expect(await fetch(repository, name)).toEqual({ outcome: 'fetched', source: 'archive' });
  expect(readFileSync(path).equals(bytes)).toBe(true);
  expect(readdirSync(join(folder, 'pg_wal'))).toEqual(['RECOVERYXLOG']);
});

test('H-26 a file that no place has is a miss, for every kind of name', async () => {
  const repository = await archiveWith([5n]);
  const names = [
    '00000002.history',
    walSegment(6n).name,
    walSegment(5n, { timeline: 2 }).name,
    '000000010000000000000005.00000028.backup',
  ];
  for (const name of names)
    expect(await fetch(repository, name, { spool: join(folder, 'spool') })).toEqual({ outcome: 'missing' });
  expect(existsSync(path)).toBe(false);
});

test('H-20 a missing segment before later ones is no end of the archive in a recovery', async () => {
  const repository = await archiveWith([5n, 7n]);
  await expect(fetch(repository, walSegment(6n).name)).rejects.toMatchObject({ code: 'WAL_GAP' });
  expect(await fetch(repository, walSegment(6n).name, { mode: 'standby' })).toEqual({ outcome: 'missing' });
});

test('H-20 a hole before slices or a partial segment is no end of the archive either', async () => {
  for (const what of ['slices', 'partial'] as const) {
    const repository = await archiveWith([5n]);
    const archive = repository.wal(SYSTEM_ID);
    const { name, bytes } = walSegment(7n, { written: 3000 });
    if (what === 'slices') await archive.pushTail(name, 0, 3000, bytes.subarray(0, 3000));
    else await archive.push(`${name}.partial`, { bytes });
    expect(await archive.find(walSegment(6n).name)).toBeUndefined();
    await expect(fetch(repository, walSegment(6n).name), what).rejects.toMatchObject({ code: 'WAL_GAP' });
    expect(await fetch(repository, walSegment(8n).name), what).toEqual({ outcome: 'missing' });
  }
});

test('H-20 a hole before the fork of a later timeline is no end of the archive', async () => {
  const repository = await archiveWith([5n]);
  const archive = repository.wal(SYSTEM_ID);
  const fork = 7n * BigInt(SEGMENT_SIZE) + 4096n;
  const text = `1\t${formatLsn(fork)}\tno recovery target specified\n`;
  await archive.push('00000002.history', { bytes: Buffer.from(text) });
  const second = walSegment(7n, { timeline: 2 });
  await archive.push(second.name, { bytes: second.bytes });
  await expect(fetch(repository, walSegment(6n).name)).rejects.toMatchObject({ code: 'WAL_GAP' });
  // In the segment of the fork and behind it nothing of the old timeline is needed.
  expect(await fetch(repository, walSegment(7n).name)).toEqual({ outcome: 'missing' });
  expect(await fetch(repository, walSegment(8n).name)).toEqual({ outcome: 'missing' });
});

test('H-20 a history that is missing although there is its timeline, or a later one, is no end of the timelines', async () => {
  const history = (timeline: number): string => `0000000${timeline}.history`;
  const repository = await archiveWith([5n]);
  const archive = repository.wal(SYSTEM_ID);
  expect(await fetch(repository, history(2))).toEqual({ outcome: 'missing' });
  const second = walSegment(6n, { timeline: 2 });
  await archive.push(second.name, { bytes: second.bytes });
  const overlooked = { code: 'WAL_GAP', message: expect.stringContaining('it has timeline 2') as string };
  await expect(fetch(repository, history(2))).rejects.toMatchObject(overlooked);
  expect(await fetch(repository, history(3))).toEqual({ outcome: 'missing' });
  // A standby asks again, and pg_rewind and people are told what there is.
  for (const mode of ['standby', 'none'] as const)
    expect(await fetch(repository, history(2), { mode })).toEqual({ outcome: 'missing' });
  // PostgreSQL reads its own copy.
  writeFileSync(join(folder, 'pg_wal', history(2)), '');
  expect(await fetch(repository, history(2))).toEqual({ outcome: 'missing' });
  rmSync(join(folder, 'pg_wal', history(2)));

  await archive.push(history(4), { bytes: Buffer.from('1\t0/5000000\tno reason\n') });
  for (const timeline of [2, 3])
    await expect(fetch(repository, history(timeline))).rejects.toMatchObject({
      code: 'WAL_GAP',
      message: expect.stringContaining('it has timeline 4') as string,
    });
  expect(await fetch(repository, history(5))).toEqual({ outcome: 'missing' });
});

test('H-20 a timeline of which only the spool has WAL is not overlooked either', async () => {
  const repository = await archiveWith([5n]);
  const own = join(folder, 'spool', 'main', SYSTEM_ID);
  mkdirSync(own, { recursive: true });
  const spool = join(folder, 'spool');
  expect(await fetch(repository, '00000002.history', { spool })).toEqual({ outcome: 'missing' });
  writeFileSync(join(own, `${walSegment(6n, { timeline: 2 }).name}.partial`), '');
  await expect(fetch(repository, '00000002.history', { spool })).rejects.toMatchObject({ code: 'WAL_GAP' });
});

test('an archive that was begun on a later timeline is restored from without its history', async () => {
  const repository = await archiveWith([]);
  const { name, bytes } = walSegment(6n, { timeline: 3 });
  await repository.wal(SYSTEM_ID).push(name, { bytes });
  expect(await fetch(repository, '00000003.history')).toEqual({ outcome: 'missing' });
});

test('H-20 a command that its PostgreSQL has left alone does not write into the file of the next one', async () => {
  const storage = await memoryStorage();
  const repository = await memoryRepository({ storage, compressed: false });
  await repository.open({ create: true });
  const [five, six] = [walSegment(5n, { fill: 5 }), walSegment(6n, { fill: 6 })];
  for (const { name, bytes } of [five, six]) await repository.wal(SYSTEM_ID).push(name, { bytes });
  let begun = (): void => undefined;
  let goOn = (): void => undefined;
  const [reached, opened] = [
    new Promise<void>((resolve) => (begun = resolve)),
    new Promise<void>((resolve) => (goOn = resolve)),
  ];
  let stopped = 0;
  const slow: Storage = {
    capabilities: storage.capabilities,
    put: (...call) => storage.put(...call),
    stat: (...call) => storage.stat(...call),
    list: (...call) => storage.list(...call),
    remove: (...call) => storage.remove(...call),
    close: () => storage.close(),
    // In the middle of the object.
    get: async function* (key, options) {
      for await (const chunk of storage.get(key, options)) {
        yield chunk.subarray(0, chunk.byteLength >> 1);
        if (key.includes(five.name)) {
          stopped += 1;
          begun();
          await opened;
        }
        yield chunk.subarray(chunk.byteLength >> 1);
      }
    },
  };
  const left = fetch(await memoryRepository({ storage: slow }), five.name);
  left.catch(() => undefined); // looked at below
  await reached;
  expect(await fetch(repository, six.name)).toMatchObject({ outcome: 'fetched' });
  // PostgreSQL takes it under its own name, and reads it while the other command goes on.
  const taken = join(folder, 'pg_wal', six.name);
  renameSync(path, taken);
  goOn();
  await expect(left).rejects.toMatchObject({ code: 'ABORTED' });
  expect(stopped).toBe(1);
  expect(readFileSync(taken).equals(six.bytes)).toBe(true);
  expect(readdirSync(join(folder, 'pg_wal'))).toEqual([six.name]);
});

test('H-20 an archive that is not there is no miss: no marker, or nothing of this cluster', async () => {
  const empty = await memoryRepository();
  await expect(fetch(empty, walSegment(6n).name)).rejects.toMatchObject({ code: 'REPOSITORY_NOT_FOUND' });
  const other = await archiveWith([5n]);
  await expect(fetch(other, walSegment(6n).name, { systemId: '42' })).rejects.toMatchObject({
    code: 'REPOSITORY_NOT_FOUND',
    hint: expect.stringContaining(SYSTEM_ID) as string,
  });
});

test('H-20 a failing storage is tried again for the given time, then it is an error and never a miss', async () => {
  const storage = await memoryStorage();
  await archiveWith([5n], storage);
  let failures = 0;
  let failing = 3;
  const flaky: Storage = {
    capabilities: storage.capabilities,
    put: (...call) => storage.put(...call),
    get: (...call) => storage.get(...call),
    stat: (...call) => storage.stat(...call),
    remove: (...call) => storage.remove(...call),
    close: () => storage.close(),
    list: (...call) => {
      if (failing <= 0) return storage.list(...call);
      failing--;
      failures++;
      throw new ArchiveError('STORAGE_DENIED', 'denied for the test');
    },
  };
  const repository = await memoryRepository({ storage: flaky });
  const { name } = walSegment(5n);
  await expect(fetch(repository, name)).rejects.toMatchObject({ code: 'STORAGE_DENIED' });
  await expect(fetch(repository, name, { mode: 'standby', retry: 60_000 })).rejects.toMatchObject({
    code: 'STORAGE_DENIED',
  });
  expect(failures).toBe(2);
  expect(await fetch(repository, name, { retry: 60_000 })).toMatchObject({ outcome: 'fetched' });
  expect(failures).toBe(3);
});

test('H-25 a damaged object never gets the name that PostgreSQL reads, and an older file there stays', async () => {
  const storage = await memoryStorage();
  const repository = await archiveWith([5n], storage);
  const { name } = walSegment(5n);
  await damage(storage, name);
  writeFileSync(path, 'older');
  await expect(fetch(repository, name)).rejects.toMatchObject({ exitCode: 4 });
  expect(readFileSync(path, 'utf8')).toBe('older');
  expect(readdirSync(join(folder, 'pg_wal'))).toEqual(['RECOVERYXLOG']);
});

test('H-24 a file that came after a miss is found, in any order, and pg_wal holds nothing of ours', async () => {
  const repository = await archiveWith([5n]);
  const next = walSegment(6n);
  expect(await fetch(repository, next.name)).toEqual({ outcome: 'missing' });
  await repository.wal(SYSTEM_ID).push(next.name, { bytes: next.bytes });
  for (const number of [6n, 5n])
    expect(await fetch(repository, walSegment(number).name)).toMatchObject({ outcome: 'fetched' });
  expect(readdirSync(join(folder, 'pg_wal'))).toEqual(['RECOVERYXLOG']);
});

test('a segment of another cluster under this one is refused', async () => {
  const repository = await archiveWith([]);
  const { name, bytes } = walSegment(5n, { systemId: '42' });
  await repository.wal(SYSTEM_ID).push(name, { bytes });
  await expect(fetch(repository, name)).rejects.toMatchObject({ code: 'SYSTEM_MISMATCH' });
  expect(existsSync(path)).toBe(false);
});

test('the only cluster of an archive is taken when nothing names one, and several are an error', async () => {
  const storage = await memoryStorage();
  const repository = await archiveWith([5n], storage);
  const { name, bytes } = walSegment(5n);
  const unnamed = (): ReturnType<typeof walFetch> =>
    walFetch({ name, path, repositories: [repository], dataDirectories: [folder], mode: 'none', retry: 0, logger });
  expect(await unnamed()).toMatchObject({ outcome: 'fetched' });
  await repository.wal('42').push(name, { bytes });
  await expect(unnamed()).rejects.toMatchObject({ code: 'USAGE', message: expect.stringContaining('42') as string });
});

test('what is received but not shipped comes from the spool', async () => {
  const repository = await archiveWith([5n]);
  const spool = join(folder, 'spool');
  const own = join(spool, 'main', SYSTEM_ID);
  mkdirSync(own, { recursive: true });
  const six = walSegment(6n);
  const seven = walSegment(7n, { written: 5000 });
  writeFileSync(join(own, six.name), six.bytes);
  writeFileSync(join(own, `${seven.name}.partial`), seven.bytes);
  expect(await fetch(repository, six.name, { spool })).toEqual({ outcome: 'fetched', source: 'spool' });
  expect(readFileSync(path).equals(six.bytes)).toBe(true);
  expect(await fetch(repository, seven.name, { spool })).toEqual({ outcome: 'fetched', source: 'spool' });
  expect(readFileSync(path).equals(seven.bytes)).toBe(true);
  expect(await fetch(repository, walSegment(8n).name, { spool })).toEqual({ outcome: 'missing' });
});

test('of the last segment the longest version is served: slices, spool, then the partial of a promotion', async () => {
  const repository = await archiveWith([5n]);
  const archive = repository.wal(SYSTEM_ID);
  const spool = join(folder, 'spool');
  const own = join(spool, 'main', SYSTEM_ID);
  mkdirSync(own, { recursive: true });
  const { name, bytes } = walSegment(6n, { written: 9000 });
  await archive.pushTail(name, 0, 3000, bytes.subarray(0, 3000));
  await archive.pushTail(name, 3000, 5000, bytes.subarray(3000, 5000));
  expect(await fetch(repository, name)).toEqual({ outcome: 'fetched', source: 'tail' });
  expect(readFileSync(path).equals(walSegment(6n, { written: 5000 }).bytes)).toBe(true);

  writeFileSync(join(own, `${name}.partial`), walSegment(6n, { written: 4000 }).bytes);
  expect(await fetch(repository, name, { spool })).toEqual({ outcome: 'fetched', source: 'tail' });
  writeFileSync(join(own, `${name}.partial`), walSegment(6n, { written: 7000 }).bytes);
  expect(await fetch(repository, name, { spool })).toEqual({ outcome: 'fetched', source: 'spool' });

  await archive.push(`${name}.partial`, { bytes });
  expect(await fetch(repository, name, { spool })).toEqual({ outcome: 'fetched', source: 'partial' });
  expect(readFileSync(path).equals(bytes)).toBe(true);
  // The former primary went on after the fork: what it had acknowledged counts.
  writeFileSync(join(own, `${name}.partial`), walSegment(6n, { written: 12_000 }).bytes);
  expect(await fetch(repository, name, { spool })).toEqual({ outcome: 'fetched', source: 'spool' });

  const later = walSegment(7n);
  await archive.push(later.name, { bytes: later.bytes });
  await expect(fetch(repository, name, { spool })).rejects.toMatchObject({ code: 'WAL_GAP' });
});

test('a segment that becomes whole, or is shipped, between two looks is not missed', async () => {
  const { name, bytes } = walSegment(6n);
  const own = join(folder, 'spool', 'main', SYSTEM_ID);
  mkdirSync(own, { recursive: true });
  const storage = await memoryStorage();
  let changes = 0;
  let change = async (): Promise<void> => undefined;
  const watched: Storage = {
    capabilities: storage.capabilities,
    put: (...call) => storage.put(...call),
    get: (...call) => storage.get(...call),
    stat: (...call) => storage.stat(...call),
    remove: (...call) => storage.remove(...call),
    close: () => storage.close(),
    list: async function* (prefix, options) {
      // The slices are looked for last: by then the receiver has gone on.
      if (prefix.endsWith('.tail/')) {
        changes++;
        await change();
      }
      yield* storage.list(prefix, options);
    },
  };
  const repository = await archiveWith([5n], watched);

  change = async () => writeFileSync(join(own, name), bytes);
  expect(await fetch(repository, name, { spool: join(folder, 'spool') })).toEqual({
    outcome: 'fetched',
    source: 'spool',
  });
  rmSync(join(own, name));
  change = async () => {
    await repository.wal(SYSTEM_ID).push(name, { bytes });
  };
  expect(await fetch(repository, name, { spool: join(folder, 'spool') })).toEqual({
    outcome: 'fetched',
    source: 'archive',
  });
  expect(changes).toBe(2);
});

test('a spool that contradicts the archive is an error', async () => {
  const repository = await archiveWith([5n]);
  const { name, bytes } = walSegment(6n, { written: 3000 });
  await repository.wal(SYSTEM_ID).pushTail(name, 0, 3000, bytes.subarray(0, 3000));
  const own = join(folder, 'spool', 'main', SYSTEM_ID);
  mkdirSync(own, { recursive: true });
  writeFileSync(join(own, `${name}.partial`), walSegment(6n, { written: 5000, fill: 9 }).bytes);
  await expect(fetch(repository, name, { spool: join(folder, 'spool') })).rejects.toMatchObject({
    code: 'WAL_CONFLICT',
  });
});

test.each(['', '/main', `/main/${SYSTEM_ID}`])(
  'H-20 a spool that cannot be looked at, here at "%s", is an error: it may hold the last WAL',
  async (place) => {
    const repository = await archiveWith([5n]);
    const spool = join(folder, 'spool');
    mkdirSync(join(spool, place, '..'), { recursive: true });
    // A link to itself cannot be entered by anyone, root included.
    symlinkSync(join(spool, place), join(spool, place));
    await expect(fetch(repository, walSegment(6n).name, { spool })).rejects.toMatchObject({ code: 'SPOOL_INVALID' });
    expect(existsSync(path)).toBe(false);
    expect(await fetch(repository, walSegment(5n).name, { spool })).toEqual({ outcome: 'fetched', source: 'archive' });
  },
);

test('a partial file of the spool that holds nothing yet is nothing', async () => {
  const repository = await archiveWith([5n]);
  const own = join(folder, 'spool', 'main', SYSTEM_ID);
  mkdirSync(own, { recursive: true });
  writeFileSync(join(own, `${walSegment(6n).name}.partial`), new Uint8Array(SEGMENT_SIZE));
  expect(await fetch(repository, walSegment(6n).name, { spool: join(folder, 'spool') })).toEqual({
    outcome: 'missing',
  });
});

test('H-20 the exit code of a failure stops a recovery and spares a standby', () => {
  const error = new ArchiveError('STORAGE_UNAVAILABLE', 'gone');
  expect(recoveryMode([folder])).toBe('none');
  expect(fetchExitCode(error, recoveryMode([folder]), false)).toBe(2);
  writeFileSync(join(folder, 'recovery.signal'), '');
  expect(fetchExitCode(error, recoveryMode([folder]), false)).toBe(255);
  expect(fetchExitCode(new ArchiveError('ABORTED', 'stopped'), 'recovery', true)).toBe(143);
  writeFileSync(join(folder, 'standby.signal'), '');
  expect(fetchExitCode(error, recoveryMode([folder]), false)).toBe(2);
});

test('a place that cannot be written is an error that names it', async () => {
  const repository = await archiveWith([5n]);
  chmodSync(join(folder, 'pg_wal'), 0o700);
  await expect(
    fetch(repository, walSegment(5n).name, { path: join(folder, 'nowhere', 'RECOVERYXLOG') }),
  ).rejects.toMatchObject({
    code: 'RESTORE_FAILED',
  });
});
