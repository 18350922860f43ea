import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { takeBackup, type BackupOptions, type BackupProgress } from '../../core/src/backup/backup.ts';
import { requiredWalOf } from '../../core/src/backup/required-wal.ts';
import { parseLsn } from '../../core/src/postgres/lsn.ts';
import { resolveTarget } from '../../core/src/postgres/target.ts';
import type { BackupRecord } from '../../core/src/repository/backup-record.ts';
import type { Repository } from '../../core/src/repository/repository.ts';
import { Gate } from '../support/gate.ts';
import { fsRepository, type FsRepositoryOptions } from '../support/fs-repository.ts';
import { giveToServer, MAJORS, PostgresServer, removeFolder, temporaryFolder } from '../support/postgres.ts';
import { KEEP_WAL, Shipper, systemIdOf } from '../support/ship-wal.ts';
import { silentLogger } from '../support/silent-logger.ts';
import { caughtUp, destroyStandby, promote, startStandby } from '../support/standby.ts';
import { MISSING, runTool, tool } from '../support/tools.ts';
import { digestTree, readFiles, readManifestText, readParts, tar, unpackBackup } from '../support/unpack-backup.ts';

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const undo of cleanup.splice(0).toReversed()) await undo();
});

async function start(options: Parameters<typeof PostgresServer.start>[0]): Promise<PostgresServer> {
  const server = await PostgresServer.start({ ...options, settings: KEEP_WAL });
  cleanup.push(() => server.destroy());
  return server;
}

async function archiveOf(server: PostgresServer, options: FsRepositoryOptions = {}): Promise<Repository> {
  const folder = temporaryFolder('backup');
  cleanup.push(() => {
    removeFolder(folder);
  });
  const repository = await fsRepository(join(folder, 'repository'), options);
  const shipper = new Shipper(server, repository);
  cleanup.push(() => shipper.stop());
  return repository;
}

async function backup(
  server: PostgresServer,
  repository: Repository,
  options: Partial<BackupOptions> = {},
): Promise<BackupRecord> {
  const target = await resolveTarget({ url: server.url() }, { env: {}, home: '/' });
  const common = { target, checkpoint: 'fast', logger: silentLogger, walTimeout: 30_000 } as const;
  return (await takeBackup({ ...common, repositories: [repository], ...options })).record;
}

/** A folder for a tablespace that the server may use. */
function place(server: PostgresServer, name: string): string {
  const folder = join(server.folder, name);
  mkdirSync(folder);
  giveToServer(folder);
  return folder;
}

function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), 'pgark-unpacked-'));
  cleanup.push(() => {
    removeFolder(folder);
  });
  return folder;
}

interface ManifestLine {
  readonly Path: string;
  readonly Size: number;
  readonly Checksum: string;
}

describe.each(MAJORS)('PostgreSQL %i', (major) => {
  test('H-39 a backup is whole: parts of whole files that tar unpacks, equal to the manifest, and a server starts from it', async () => {
    const server = await start({ major, segmentMegabytes: 1 });
    await server.query(`CREATE TABLESPACE first LOCATION '${place(server, 'first')}'`);
    await server.query(`CREATE TABLESPACE second LOCATION '${place(server, 'second')}'`);
    await server.query('CREATE TABLE inside AS SELECT n, md5(n::text) AS m FROM generate_series(1, 60000) n');
    await server.query('CREATE TABLE beside TABLESPACE first AS SELECT n FROM generate_series(1, 2000) n');
    await server.query('CREATE UNLOGGED TABLE passing AS SELECT 1 AS a');
    mkdirSync(join(server.data, 'empty'), { mode: 0o700 });
    writeFileSync(join(server.data, 'one-byte'), 'x', { mode: 0o640 });
    for (let number = 0; number < 300; number++) writeFileSync(join(server.data, 'empty', `f${number}`), `${number}`);
    mkdirSync(join(server.data, 'empty', 'inner'), { mode: 0o750 });
    giveToServer(join(server.data, 'one-byte'));
    giveToServer(join(server.data, 'empty'));
    giveToServer(join(server.data, 'empty', 'inner'));

    const repository = await archiveOf(server, { compressed: major !== 16 });
    const stages: BackupProgress['stage'][] = [];
    const events: string[] = [];
    const before = Date.now();
    const record = await backup(server, repository, {
      label: `it's "whole"`,
      partSize: 1024 * 1024,
      onProgress: ({ stage }) => {
        if (stages.at(-1) !== stage) stages.push(stage);
      },
      onEvent: (name) => events.push(name),
    });

    expect(stages).toEqual(['connecting', 'checkpoint', 'copying', 'finishing', 'waiting']);
    expect(events).toEqual(['backup.started', 'backup.finished']);
    expect(record).toMatchObject({
      format: 1,
      kind: 'full',
      cluster: 'main',
      systemId: await systemIdOf(server),
      serverVersion: Number(await server.value('SHOW server_version_num')),
      segmentSize: 1 << 20,
      timeline: 1,
      stopTimeline: 1,
      label: `it's "whole"`,
      dataChecksums: true,
      fromStandby: false,
      host: `127.0.0.1:${server.port}`,
    });
    expect(record.suspect).toBeUndefined();
    expect(record.tablespaces.map(({ location }) => location)).toEqual([
      join(server.folder, 'first'),
      join(server.folder, 'second'),
    ]);
    expect(parseLsn(record.stopLsn)).toBeGreaterThan(parseLsn(record.startLsn));
    // One machine, one clock; a round trip and the millisecond that is cut off are all that may differ.
    expect(Date.parse(record.startTime)).toBeGreaterThan(before - 1000);
    expect(Date.parse(record.stopTime)).toBeGreaterThanOrEqual(Date.parse(record.startTime));
    expect(Date.parse(record.stopTime)).toBeLessThan(Date.now() + 1000);

    const catalog = repository.backups(record.systemId);
    expect(await catalog.list()).toEqual([{ id: record.id, state: 'complete', record }]);

    // Several parts, none above its size unless it holds a single file; the control file in the last one of the base.
    const files = await readFiles(repository, record);
    expect(files.find(({ path }) => path === 'global/pg_control')?.part).toMatch(/^base\//);
    const baseParts = record.parts.filter(({ archive }) => archive === 'base');
    expect(baseParts.length).toBeGreaterThan(5);
    expect(baseParts.map(({ number }) => number)).toEqual(baseParts.map((_, at) => at));
    expect(files.find(({ path }) => path === 'global/pg_control')?.part).toBe(
      `base/${String(baseParts.length - 1).padStart(4, '0')}.tar`,
    );
    for (const part of record.parts) expect(part.plainSize <= 1024 * 1024 || part.entries === 1).toBe(true);
    expect(record.parts.some(({ plainSize }) => plainSize > 1024 * 1024)).toBe(true);
    expect(record.files).toBe(files.length);
    expect(record.dataSize).toBe(files.reduce((sum, { size }) => sum + size, 0));

    // The list says where each file is.
    const parts = await readParts(repository, record);
    for (const { path, part, offset, size, sha256 } of files) {
      const bytes = parts.get(part)?.subarray(offset, offset + size);
      expect(
        createHash('sha256')
          .update(bytes ?? '')
          .digest('hex'),
        path,
      ).toBe(sha256);
    }

    // tar's view of it equals the manifest, which is read here without any code of pgark.
    const data = await unpackBackup(repository, record, scratch());
    const text = await readManifestText(repository, record);
    const manifest = (JSON.parse(text) as { Files: ManifestLine[] }).Files;
    const unpacked = digestTree(data);
    unpacked.delete('backup_manifest');
    expect(unpacked).toEqual(new Map(manifest.map((line) => [line.Path, { size: line.Size, sha256: line.Checksum }])));
    expect(manifest.some(({ Path }) => Path.startsWith('pg_tblspc/'))).toBe(true);

    // Empty directories and modes.
    expect(statSync(join(data, 'empty', 'inner')).isDirectory()).toBe(true);
    expect(readdirSync(join(data, 'empty', 'inner'))).toEqual([]);
    expect(statSync(join(data, 'empty', 'inner')).mode & 0o777).toBe(0o750);
    expect(statSync(join(data, 'one-byte')).mode & 0o777).toBe(0o640);
    expect(statSync(join(data, 'pg_wal', 'archive_status')).isDirectory()).toBe(true);
    if (major <= 16 && tool('pg_verifybackup') !== undefined) {
      spawnSync('chown', ['-R', String(statSync(server.data).uid), join(data, '..')]);
      runTool('pg_verifybackup', ['-n', '-q', data]);
    }

    // With the WAL that it waited for, a server becomes consistent.
    const archive = repository.wal(record.systemId);
    for await (const object of archive.segments(1, { segmentSize: record.segmentSize }))
      await archive.fetch(object, join(data, 'pg_wal', object.file.name));
    spawnSync('chown', ['-R', String(statSync(server.data).uid), join(data, '..')]);
    const clone = await PostgresServer.open(major, data);
    cleanup.push(() => clone.destroy());
    await clone.start();
    expect(clone.log).toContain('consistent recovery state reached');
    expect(await clone.value('SELECT count(*) FROM inside')).toBe('60000');
    expect(await clone.value('SELECT count(*) FROM beside')).toBe('2000');
  });
});

test.skipIf(tool('pg_basebackup') === undefined)(
  `the parts together hold what pg_basebackup sends (${MISSING})`,
  async () => {
    const server = await start({ major: 15 });
    await server.query(`CREATE TABLESPACE beside LOCATION '${place(server, 'beside')}'`);
    await server.query('CREATE TABLE t TABLESPACE beside AS SELECT n FROM generate_series(1, 1000) n');
    const repository = await archiveOf(server);
    const record = await backup(server, repository, { partSize: 4 << 20, label: 'same' });
    const peer = place(server, 'peer');
    runTool('pg_basebackup', ['-D', peer, '-Ft', '-X', 'none', '--checkpoint=fast', '-l', 'same', '-d', server.url()]);

    /** Type, mode, size and name of each entry. The peer asks for a tablespace_map in place of links. */
    const entries = (listing: string): string[] =>
      listing
        .split('\n')
        .filter((line) => line !== '' && !/ tablespace_map$| pg_tblspc\/\d/.test(line))
        .map((line) => line.replace(/^(\S+) \S+ +(\d+) \S+ \S+ (.*)$/, '$1 $2 $3'));
    const parts = [...(await readParts(repository, record))];
    const base = parts.filter(([name]) => name.startsWith('base/')).map(([, bytes]) => tar(['-tv'], bytes));
    expect(base.join('')).toContain(` pg_tblspc/${record.tablespaces[0]?.oid}/ -> ${join(server.folder, 'beside')}`);
    for (const archive of ['base', ...record.tablespaces.map(({ oid }) => oid)]) {
      const ours = parts
        .filter(([name]) => name.startsWith(`${archive}/`))
        .flatMap(([, bytes]) => entries(tar(['-tv'], bytes)));
      const theirs = entries(spawnSync('tar', ['-tvf', join(peer, `${archive}.tar`)], { encoding: 'utf8' }).stdout);
      expect(ours.length).toBeGreaterThan(1);
      expect(ours).toEqual(theirs);
    }
  },
);

test.skipIf(tool('pg_resetwal') === undefined)(
  `H-32 tablespaces whose OIDs begin alike keep their own files (${MISSING})`,
  async () => {
    const server = await start({ major: 15 });
    const tablespace = async (name: string): Promise<string> => {
      await server.query(`CREATE TABLESPACE ${name} LOCATION '${place(server, name)}'`);
      await server.query(`CREATE TABLE in_${name} TABLESPACE ${name} AS SELECT '${name}' AS name`);
      return server.value(`SELECT oid FROM pg_tablespace WHERE spcname = '${name}'`);
    };
    const short = await tablespace('short');
    await server.stop();
    runTool('pg_resetwal', ['-o', `${short}0`, '-D', server.data]);
    await server.start();
    const long = await tablespace('long');
    expect(long).toBe(`${short}0`); // one is the beginning of the other
    const path = async (table: string): Promise<string> => server.value(`SELECT pg_relation_filepath('${table}')`);
    const [shortPath, longPath] = [await path('in_short'), await path('in_long')];

    const repository = await archiveOf(server);
    const record = await backup(server, repository);
    const files = await readFiles(repository, record);
    const partOf = (wanted: string): string | undefined => files.find((file) => file.path === wanted)?.part;
    expect(partOf(shortPath)).toBe(`${short}/0000.tar`);
    expect(partOf(longPath)).toBe(`${long}/0000.tar`);
    expect(record.tablespaces.toSorted((a, b) => Number(a.oid) - Number(b.oid))).toEqual([
      { oid: short, location: join(server.folder, 'short') },
      { oid: long, location: join(server.folder, 'long') },
    ]);
  },
);

test('two backups at once do not hurt each other', async () => {
  const server = await start({ major: 18 });
  await server.query('CREATE TABLE t AS SELECT n, md5(n::text) FROM generate_series(1, 50000) n');
  const repository = await archiveOf(server);
  const records = await Promise.all([
    backup(server, repository),
    backup(server, repository),
    backup(server, repository),
  ]);
  expect(new Set(records.map(({ id }) => id)).size).toBe(3);
  const listed = await repository.backups(records[0]?.systemId ?? '').list();
  expect(listed.map(({ state }) => state)).toEqual(['complete', 'complete', 'complete']);
  for (const record of records) {
    const manifest = (JSON.parse(await readManifestText(repository, record)) as { Files: ManifestLine[] }).Files;
    const data = await unpackBackup(repository, record, scratch());
    const unpacked = digestTree(data);
    expect(unpacked.size - 1).toBe(manifest.length);
    for (const { Path, Checksum } of manifest) expect(unpacked.get(Path)?.sha256).toBe(Checksum);
  }
});

test('a backup from a standby waits until the primary has ended the segment', async () => {
  const primary = await start({ major: 17, segmentMegabytes: 1 });
  await primary.query('CREATE TABLE t AS SELECT n FROM generate_series(1, 20000) n');
  await primary.stop();
  const standby = await startStandby(primary);
  cleanup.push(() => destroyStandby(standby));
  await primary.query('INSERT INTO t SELECT n FROM generate_series(1, 20000) n');
  await primary.query('CHECKPOINT');
  await caughtUp(primary, standby);
  const repository = await archiveOf(primary);
  let switched = false;
  const record = await backup(standby, repository, {
    onProgress: ({ stage, wal }) => {
      if (stage !== 'waiting' || wal?.awaited === undefined || switched) return;
      switched = true;
      expect(wal.advice).toContain('pg_switch_wal()');
      void primary.query(`SELECT pg_logical_emit_message(false, 'test', 'x'), pg_switch_wal()`);
    },
  });
  expect(switched).toBe(true);
  expect(record.fromStandby).toBe(true);
  expect(record.host).toBe(`127.0.0.1:${standby.port}`);

  const data = await unpackBackup(repository, record, scratch());
  for (const name of readdirSync(join(primary.data, 'pg_wal')).filter((file) => /^[0-9A-F]{24}$/.test(file)))
    copyFileSync(join(primary.data, 'pg_wal', name), join(data, 'pg_wal', name));
  spawnSync('chown', ['-R', String(statSync(primary.data).uid), join(data, '..')]);
  const clone = await PostgresServer.open(17, data);
  cleanup.push(() => clone.destroy());
  await clone.start();
  expect(await clone.value('SELECT count(*) FROM t')).toBe('40000');
});

test('an in-place tablespace and a cluster without checksums', async () => {
  const server = await start({ major: 18, dataChecksums: false });
  const client = await server.client();
  await client.query('SET allow_in_place_tablespaces = on');
  await client.query(`CREATE TABLESPACE inside LOCATION ''`);
  await client.query('CREATE TABLE t TABLESPACE inside AS SELECT n FROM generate_series(1, 100) n');
  const oid = await server.value(`SELECT oid FROM pg_tablespace WHERE spcname = 'inside'`);
  const path = await server.value(`SELECT pg_relation_filepath('t')`);
  await client.end();
  const repository = await archiveOf(server);
  const systemId = await server.value('SELECT system_identifier FROM pg_control_system()');
  let leases: ReturnType<ReturnType<typeof repository.leases>['list']> | undefined;
  const record = await backup(server, repository, {
    onProgress: ({ stage }) => {
      if (stage === 'waiting') leases ??= repository.leases(systemId).list();
    },
  });
  // H-72: while it runs it holds the WAL from its start on, which no other backup need lead to.
  const [lease] = ((await leases) ?? []).toReversed();
  const wal = [{ timeline: 1, from: record.startLsn }];
  expect(lease?.content).toMatchObject({ command: 'backup', backups: [record.id], wal });
  expect(record.dataChecksums).toBe(false);
  expect(record.tablespaces).toEqual([{ oid, location: `pg_tblspc/${oid}` }]);
  const files = await readFiles(repository, record);
  expect(files.find((file) => file.path === path)?.part).toBe(`${oid}/0000.tar`);
});

test('a backup from a standby that follows a promotion while it runs needs WAL of both timelines', async () => {
  const primary = await start({ major: 16, segmentMegabytes: 1 });
  await primary.query(`CREATE TABLE t AS SELECT n, repeat(md5(n::text), 30) AS m FROM generate_series(1, 25000) n`);
  await primary.stop();
  const middle = await startStandby(primary);
  cleanup.push(() => destroyStandby(middle));
  await primary.stop();
  const source = await startStandby(primary);
  cleanup.push(() => destroyStandby(source));
  // The source follows the one that will be promoted.
  await source.stop();
  source.configure({ primary_conninfo: `host=127.0.0.1 port=${middle.port} user=postgres` });
  await source.start();
  await primary.query('CHECKPOINT');
  await caughtUp(primary, middle);
  await caughtUp(primary, source);

  const gate = new Gate();
  const repository = await archiveOf(middle, { wrap: gate.wrap });
  let moved: Promise<void> | undefined;
  const move = async (): Promise<void> => {
    await primary.query('INSERT INTO t SELECT n FROM generate_series(1, 30000) n');
    await primary.stop();
    await promote(middle);
    await middle.query('INSERT INTO t SELECT n FROM generate_series(1, 30000) n');
    await middle.query('CHECKPOINT');
    await caughtUp(middle, source);
    await source.query('CHECKPOINT');
    gate.open();
  };
  const record = await backup(source, repository, {
    onProgress: ({ stage, bytes, wal }) => {
      if (stage === 'copying' && bytes > 4 << 20) moved ??= move();
      if (wal?.awaited !== undefined) void middle.query('SELECT pg_switch_wal()').catch(() => undefined);
    },
  });
  await moved;
  expect([record.timeline, record.stopTimeline]).toEqual([1, 2]);
  const required = await requiredWalOf(record, repository.wal(record.systemId));
  expect(required.histories).toEqual([2]);
  expect(required.runs.map(({ timeline }) => timeline)).toEqual([1, 2]);

  const data = await unpackBackup(repository, record, scratch());
  const archive = repository.wal(record.systemId);
  for (const run of required.runs)
    for await (const object of archive.segments(run.timeline, { segmentSize: record.segmentSize, from: run.first }))
      await archive.fetch(object, join(data, 'pg_wal', object.file.name));
  const history = await archive.find('00000002.history');
  if (history === undefined) throw new Error('no history');
  await archive.fetch(history, join(data, 'pg_wal', '00000002.history'));
  spawnSync('chown', ['-R', String(statSync(primary.data).uid), join(data, '..')]);
  const clone = await PostgresServer.open(16, data, { restore_command: 'false', recovery_target_timeline: '2' });
  writeFileSync(join(data, 'recovery.signal'), '');
  cleanup.push(() => clone.destroy());
  await clone.start();
  expect(clone.log).toContain('consistent recovery state reached');
  expect(Number(await clone.value('SELECT count(*) FROM t'))).toBe(85000);
});
