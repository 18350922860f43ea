/** One backup into several repositories, and what becomes of it when some of them fail. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ArchiveError, type ErrorCode, type Storage } from '@pgark/sdk';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { takeBackup, type BackupOptions, type BackupResult } from '../../core/src/backup/backup.ts';
import { runCopy } from '../../core/src/copy/copy.ts';
import { planCopy } from '../../core/src/copy/plan.ts';
import { resolveTarget } from '../../core/src/postgres/target.ts';
import type { BackupRecord } from '../../core/src/repository/backup-record.ts';
import type { Repository } from '../../core/src/repository/repository.ts';
import { cleanup, expectNothingCommitted, open, type Opened, withCode } from '../support/backing-up.ts';
import { runCli } from '../support/cli.ts';
import { fsRepository } from '../support/fs-repository.ts';
import { bound } from '../support/gate.ts';
import { PostgresServer, removeFolder } from '../support/postgres.ts';
import { KEEP_WAL, Shipper, systemIdOf } from '../support/ship-wal.ts';
import { silentLogger } from '../support/silent-logger.ts';
import { unpackBackup } from '../support/unpack-backup.ts';

const PART = 1 << 20;
const SOON = { timeout: 60_000, interval: 20 };

let server: PostgresServer;
let systemId = '';
beforeAll(async () => {
  const settings = { ...KEEP_WAL, autovacuum: 'off' };
  server = await PostgresServer.start({ major: 17, segmentMegabytes: 1, settings });
  // Little WAL, which each test archives anew; the catalogs alone are more than fits between the server and a storage that takes nothing.
  await server.query('CREATE TABLE numbers AS SELECT n FROM generate_series(1, 1000) n');
  await server.query('CHECKPOINT');
  systemId = await systemIdOf(server);
});
afterAll(() => server.destroy());

async function backup(
  repositories: readonly [Opened, ...Opened[]],
  options: Partial<BackupOptions> = {},
): Promise<BackupResult> {
  const target = await resolveTarget({ url: server.url() }, { env: {}, home: '/' });
  const [first, ...more] = repositories.map(({ repository }) => repository);
  if (first === undefined) throw new Error('no repository');
  const common = { target, checkpoint: 'fast', logger: silentLogger, partSize: PART, walTimeout: 60_000 } as const;
  return takeBackup({ ...common, repositories: [first, ...more], ...options });
}

/** Gives a repository its WAL, until it is stopped. */
function ship({ repository }: Opened): Shipper {
  const shipper = new Shipper(server, repository);
  cleanup.push(() => shipper.stop());
  return shipper;
}

async function shipped(name: string, options: { compressed?: boolean } = {}): Promise<Opened> {
  const opened = await open({ name, ...options });
  ship(opened);
  return opened;
}

/** The backups that a repository lists, and in which state. */
async function states({ repository }: Opened): Promise<readonly string[]> {
  return (await repository.backups(systemId).list()).map(({ state }) => state);
}

/** The error of one repository in a result. */
function errorOf(result: BackupResult, name: string): ArchiveError {
  const outcome = result.repositories.find((one) => one.name === name);
  if (outcome === undefined || !('error' in outcome)) throw new Error(`${name} has no error`);
  return outcome.error;
}

function recordOf(result: BackupResult, name: string): BackupRecord {
  const outcome = result.repositories.find((one) => one.name === name);
  if (outcome === undefined || !('record' in outcome)) throw new Error(`${name} has no backup`);
  return outcome.record;
}

/** A storage of which `put` fails where `fails` says so. */
function broken(fails: (key: string) => boolean, code: ErrorCode, faults: { count: number }) {
  return (storage: Storage): Storage => ({
    ...bound(storage),
    put: async (key, body, options) => {
      if (!fails(key)) return storage.put(key, body, options);
      // As a disk that fills up: some of it is taken.
      for await (const chunk of body) if (chunk.byteLength > 0) break;
      faults.count++;
      throw new ArchiveError(code, `the storage fails with ${code}`);
    },
  });
}

/** Starts a server from what one repository holds, and asks it for the table. */
async function expectRestores(repository: Repository, record: BackupRecord): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'pgark-unpacked-'));
  cleanup.push(() => {
    removeFolder(folder);
  });
  const data = await unpackBackup(repository, record, folder);
  const archive = repository.wal(record.systemId);
  for await (const object of archive.segments(1, { segmentSize: record.segmentSize }))
    await archive.fetch(object, join(data, 'pg_wal', object.file.name));
  spawnSync('chown', ['-R', String(statSync(server.data).uid), folder]);
  const clone = await PostgresServer.open(17, data);
  cleanup.push(() => clone.destroy());
  await clone.start();
  expect(clone.log).toContain('consistent recovery state reached');
  expect(await clone.value('SELECT count(*) FROM numbers')).toBe('1000');
  await clone.destroy();
}

test('one reading of the server, two repositories with their own codecs: a server starts from each', async () => {
  const [a, b] = [await shipped('a', { compressed: false }), await shipped('b')];
  const events: string[] = [];
  let streams = 0;
  const result = await backup([a, b], {
    onEvent: (name) => events.push(name),
    onProgress: ({ stage }) => {
      if (stage === 'copying' && streams === 0)
        void server
          .value(`SELECT count(*) FROM pg_stat_replication WHERE state = 'backup'`)
          .then((count) => (streams = Number(count)));
    },
  });
  expect(streams).toBe(1);
  expect(events).toEqual(['backup.started', 'backup.finished']);
  const [plain, packed] = [recordOf(result, 'a'), recordOf(result, 'b')];
  expect(result.record).toBe(plain);
  for (const { repository } of [a, b])
    expect(await repository.backups(systemId).list()).toEqual([
      { id: plain.id, state: 'complete', record: recordOf(result, repository.name) },
    ]);

  // What is plain is equal, what is stored is each one's own.
  expect([plain.codecs, packed.codecs.map(({ id }) => id)]).toEqual([[], ['zstd']]);
  const facts = ({ parts, manifest, fileList, ...rest }: BackupRecord): object => ({
    ...rest,
    codecs: [],
    parts: parts.map(({ archive, number, entries, plainSize }) => ({ archive, number, entries, plainSize })),
    sizes: [manifest.plainSize, fileList.plainSize],
    digests: [manifest.plainSha256, fileList.plainSha256],
  });
  expect(facts(plain)).toEqual(facts(packed));
  const stored = ({ parts }: BackupRecord): number => parts.reduce((sum, { storedSize }) => sum + storedSize, 0);
  expect(stored(packed)).toBeLessThan(stored(plain) / 2);
  expect(await a.repository.facts(systemId).list(plain.id)).toEqual([]);

  await expectRestores(a.repository, plain);
  await expectRestores(b.repository, packed);
});

test('what one kept of a backup that it could not finish is used when it is copied there', async () => {
  const faults = { count: 0 };
  const a = await shipped('a');
  const b = await open({ name: 'b', wrap: broken((key) => key.includes('/base/0008'), 'STORAGE_FULL', faults) });
  const { record } = await backup([a, b]);
  expect(faults.count).toBe(1);
  const mended = await fsRepository(b.folder, { name: 'b' });
  const choice = { source: a.repository, target: mended, backups: [record.id], wal: 'needed' } as const;
  const copied = await runCopy(await planCopy(choice), choice);
  expect(copied.failures).toEqual([]);
  expect(copied.backups).toMatchObject([{ id: record.id, state: 'copied' }]);
  expect(copied.backups[0]?.kept).toBeGreaterThan(0);
  expect((await mended.backups(systemId).list()).map(({ state }) => state)).toEqual(['complete']);
});

describe('one repository fails, the other has the backup', () => {
  const faults = { count: 0 };
  const down = broken(() => true, 'STORAGE_UNAVAILABLE', faults);
  const cases: readonly {
    readonly when: string;
    readonly code: ErrorCode;
    readonly wrap: (storage: Storage) => Storage;
    readonly listed: readonly string[];
  }[] = [
    { when: 'before anything is read', code: 'STORAGE_UNAVAILABLE', wrap: down, listed: [] },
    {
      when: 'in the middle',
      code: 'STORAGE_FULL',
      wrap: broken((key) => key.includes('/base/0008'), 'STORAGE_FULL', faults),
      listed: ['incomplete'],
    },
    {
      when: 'at the commit',
      code: 'STORAGE_UNAVAILABLE',
      wrap: broken((key) => key.endsWith('/backup.json'), 'STORAGE_UNAVAILABLE', faults),
      listed: ['incomplete'],
    },
  ];
  test.each(cases)('$when', async ({ code, wrap, listed }) => {
    faults.count = 0;
    const warnings: string[] = [];
    const a = await shipped('a');
    const b = await open({ name: 'b', wrap });
    const shipper = listed.length > 0 ? ship(b) : undefined;
    // The one that fails comes first in the config: the others must not depend on it.
    const result = await backup([b, a], {
      logger: { ...silentLogger, warn: (_fields, message) => warnings.push(message) },
    });
    expect(faults.count).toBeGreaterThan(0);
    expect(errorOf(result, 'b')).toEqual(withCode(code));
    expect(result.record).toBe(recordOf(result, 'a'));
    expect(warnings).toContain(`repository b does not get this backup: the storage fails with ${code}`);
    expect(await states(a)).toEqual(['complete']);
    expect(await states(b)).toEqual(listed);
    await shipper?.stop(); // whose temporary files are not the backup's
    await expectNothingCommitted(server, b);
    expect(await a.repository.facts(systemId).list(result.record.id)).toEqual([
      {
        kind: 'behind',
        time: expect.any(Number) as number,
        data: { repository: 'b', code, message: `the storage fails with ${code}` },
      },
    ]);
  });

  test('its WAL does not arrive in time', async () => {
    const [a, b] = [await shipped('a'), await open({ name: 'b' })];
    const awaited = new Set<string | undefined>();
    const result = await backup([a, b], {
      walTimeout: 4000,
      onProgress: ({ wal }) => {
        if (wal?.awaited !== undefined && wal.repository === 'b') awaited.add(wal.awaited);
      },
    });
    expect(errorOf(result, 'b')).toEqual(withCode('BACKUP_WAL_TIMEOUT'));
    expect([...awaited]).toEqual([expect.stringMatching(/^0{7}1[0-9A-F]{16}$/)]);
    expect(await states(a)).toEqual(['complete']);
    await expectNothingCommitted(server, b);
  });

  test('it takes nothing at first, and then fails: the other was held back, and goes on', async () => {
    let fail = (): void => undefined;
    const failing = new Promise<void>((resolve) => (fail = resolve));
    const b = await open({
      name: 'b',
      wrap: (storage) => ({
        ...bound(storage),
        put: async (key, body, options) => {
          if (!key.includes('/base/')) return storage.put(key, body, options);
          await failing;
          throw new ArchiveError('STORAGE_UNAVAILABLE', 'the storage is gone');
        },
      }),
    });
    const a = await shipped('a');
    const still = stillness();
    const running = backup([a, b], { onProgress: still.watch });
    await expect.poll(still.isStill, SOON).toBe(true);
    expect(still.bytes()).toBeLessThan(still.total() / 2);
    fail();
    const result = await running;
    expect(errorOf(result, 'b')).toEqual(withCode('STORAGE_UNAVAILABLE'));
    expect(await states(a)).toEqual(['complete']);
    await expectNothingCommitted(server, b);
  });
});

/** Tells when a backup that was copying does not get on any more. */
function stillness(): {
  readonly watch: NonNullable<BackupOptions['onProgress']>;
  readonly isStill: () => boolean;
  readonly bytes: () => number;
  readonly total: () => number;
} {
  let [bytes, total, same] = [0, 0, 0];
  return {
    watch: (progress) => {
      if (progress.stage !== 'copying') return;
      same = progress.bytes === bytes ? same + 1 : 0;
      bytes = progress.bytes;
      total = progress.totalBytes ?? 0;
    },
    isStill: () => bytes > 0 && same >= 5,
    bytes: () => bytes,
    total: () => total,
  };
}

test('a slow repository holds back the reading, so that memory stays bounded, and both are right in the end', async () => {
  let go = (): void => undefined;
  const going = new Promise<void>((resolve) => (go = resolve));
  const b = await open({
    name: 'b',
    wrap: (storage) => ({
      ...bound(storage),
      put: async (key, body, options) => {
        async function* held(): AsyncGenerator<Uint8Array> {
          for await (const chunk of body) {
            await going;
            yield chunk;
          }
        }
        await storage.put(key, key.includes('/base/') ? held() : body, options);
      },
    }),
  });
  ship(b);
  const a = await shipped('a');
  const still = stillness();
  const running = backup([a, b], { onProgress: still.watch, partSize: 2 * PART });
  await expect.poll(still.isStill, SOON).toBe(true);
  expect(still.bytes()).toBeLessThan(still.total() / 2);
  go();
  const result = await running;
  for (const { repository, folder } of [a, b])
    await unpackBackup(repository, recordOf(result, repository.name), join(folder, '..', 'unpacked'));
  expect([await states(a), await states(b)]).toEqual([['complete'], ['complete']]);
});

test('both fail: the backup fails with the error of the first, and nothing is listed as complete', async () => {
  const faults = { count: 0 };
  const wrap = (part: string, code: ErrorCode): ((storage: Storage) => Storage) =>
    broken((key) => key.includes(part), code, faults);
  const a = await open({ name: 'a', wrap: wrap('/base/0004', 'STORAGE_FULL') });
  const b = await open({ name: 'b', wrap: wrap('/base/0001', 'STORAGE_DENIED') });
  const events: string[] = [];
  await expect(backup([a, b], { onEvent: (name) => events.push(name) })).rejects.toEqual(withCode('STORAGE_FULL'));
  expect(faults.count).toBe(2);
  expect(events).toEqual(['backup.started', 'backup.failed']);
  for (const opened of [a, b]) await expectNothingCommitted(server, opened);
  // The connection was not left behind.
  await expect.poll(() => server.value('SELECT count(*) FROM pg_stat_replication'), SOON).toBe('0');
});

test('an abort while copying leaves nothing in any of them', async () => {
  const [a, b] = [await open({ name: 'a' }), await open({ name: 'b' })];
  const controller = new AbortController();
  const running = backup([a, b], {
    signal: controller.signal,
    maxRate: 20_000,
    onProgress: ({ stage, bytes }) => {
      if (stage === 'copying' && bytes > 4 * PART) controller.abort();
    },
  });
  await expect(running).rejects.toEqual(withCode('ABORTED'));
  expect(controller.signal.aborted).toBe(true);
  for (const opened of [a, b]) await expectNothingCommitted(server, opened);
});

test('an abort while one waits for WAL: the one that has the backup keeps it, and the result says so', async () => {
  let committed = false;
  const a = await open({
    name: 'a',
    wrap: (storage) => ({
      ...bound(storage),
      put: async (key, ...call) => {
        await storage.put(key, ...call);
        committed ||= key.endsWith('/backup.json');
      },
    }),
  });
  ship(a);
  const b = await open({ name: 'b' });
  const controller = new AbortController();
  const running = backup([a, b], { signal: controller.signal });
  await expect.poll(() => committed, SOON).toBe(true);
  controller.abort();
  const result = await running;
  expect(errorOf(result, 'b')).toEqual(withCode('ABORTED'));
  expect(result.record).toBe(recordOf(result, 'a'));
  expect(await states(a)).toEqual(['complete']);
  await expectNothingCommitted(server, b);
});

test('the command says which repository has the backup, leaves word of the other, and ends with 2', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'pgark-repositories-'));
  cleanup.push(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'a'));
  writeFileSync(join(folder, 'b'), 'not a folder');
  const config = join(folder, 'pgark.json');
  const repositories = ['a', 'b'].map((name) => ({ name, storage: { use: 'fs', path: name } }));
  writeFileSync(config, JSON.stringify({ cluster: 'main', postgres: { url: server.url() }, repositories }));
  const repository = await fsRepository(join(folder, 'a'), { name: 'a', compressed: false });
  ship({ repository, folder });

  const shown = await runCli(['--config', config, 'backup', '--checkpoint', 'fast']);
  expect(shown.code).toBe(2);
  expect(shown.stdout).toMatch(/^backup \S+ is complete in 1 of 2 repositories\n/);
  expect(shown.stdout).toMatch(/^REPOSITORY +STATE +STORED +PARTS +RATIO\na +complete .*\nb +failed +- +- +-\n$/m);
  const [, id] = /^backup (\S+) /.exec(shown.stdout) ?? [];
  expect(shown.stderr).toMatch(
    /pgark: error: backup \S+ is not in every repository: b does not have it: .*not a folder/,
  );
  const hinted = `copy --from a --to b --backup ${id}`;
  expect(shown.stderr).toContain(`pgark ${hinted}`);
  const [fact] = await repository.facts(systemId).list(id ?? '');
  expect(fact).toMatchObject({ kind: 'behind', data: { repository: 'b', code: 'STORAGE_MISCONFIGURED' } });

  // What it says helps.
  rmSync(join(folder, 'b'));
  mkdirSync(join(folder, 'b'));
  const copied = await runCli(['--config', config, ...hinted.split(' ')]);
  expect(copied, copied.stderr).toMatchObject({ code: 0 });
  const there = await fsRepository(join(folder, 'b'), { name: 'b', compressed: false });
  expect((await there.backups(systemId).read(id ?? '')).id).toBe(id);
});
