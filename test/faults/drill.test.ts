/** Drills of what is broken, drills that are killed, and what a drill must never touch. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { guardFolder } from '../../core/src/drill/folder-guard.ts';
import { ScratchFolder } from '../../core/src/drill/scratch-folder.ts';
import { TestArchive } from '../support/archive.ts';
import { serverHome, serverUser } from '../support/binaries.ts';
import type { CliChild } from '../support/cli.ts';
import {
  digests,
  documentOf,
  drillCli,
  drillFolder,
  drillSection,
  processesIn,
  spawnDrill,
} from '../support/drilling.ts';
import { giveToServer, PostgresServer, removeFolder, temporaryFolder } from '../support/postgres.ts';
import { smallDisk } from '../support/small-disk.ts';
import { until } from '../support/until.ts';

const MAJOR = 17;
const SECRET = 'nev3r-store-this';
const always: (() => unknown)[] = [];
const cleanup: (() => unknown)[] = [];
let server: PostgresServer;
let archive: TestArchive;
let space = '';
let id = '';
/** A restore point before the tablespace that no backup has. */
const EARLY = 'before the late tablespace';

const CHECKS = [
  { name: 'rows', sql: 'SELECT count(*) FROM far', expect: '1000' },
  { name: 'secret', sql: 'SELECT secret FROM hidden', expect: 'another value' },
  { name: 'refused', sql: `SELECT secret::int FROM hidden` },
];

beforeAll(async () => {
  server = await PostgresServer.start({ major: MAJOR, settings: { autovacuum: 'off' } });
  always.push(() => server.destroy());
  space = temporaryFolder('space');
  always.push(() => removeFolder(space));
  for (const name of ['live', 'late']) {
    mkdirSync(join(space, name));
    giveToServer(join(space, name));
  }
  await server.query(`CREATE TABLESPACE live LOCATION '${join(space, 'live')}'`);
  await server.query('CREATE TABLE far TABLESPACE live AS SELECT n FROM generate_series(1, 1000) n');
  await server.query(`CREATE TABLE hidden AS SELECT '${SECRET}' AS secret`);
  // An index out of order, as after a change of the rules by which it is sorted.
  const fickle = (rule: string): string =>
    `CREATE OR REPLACE FUNCTION fickle(int, int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT sign(${rule})::int'`;
  await server.query(fickle('$1 - $2'));
  await server.query(`CREATE OPERATOR CLASS fickle_ops FOR TYPE int USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =,
    OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 fickle(int, int)`);
  await server.query('CREATE TABLE unsorted AS SELECT n FROM generate_series(1, 500) n');
  await server.query('CREATE INDEX ON unsorted (n fickle_ops)');
  await server.query(fickle('$2 - $1'));
  // What a server of a drill must not act on: it would not even start, or archive into the witness.
  await server.query(`ALTER SYSTEM SET shared_preload_libraries = 'no_such_library'`);
  await server.query(`ALTER SYSTEM SET archive_command = 'touch ${join(space, 'witness')}'`);
  await server.query(`ALTER SYSTEM SET shared_buffers = '900GB'`);
  await server.query('CREATE DATABASE odd');
  await server.query(`ALTER DATABASE odd SET session_preload_libraries = 'no_such_library'`);
  archive = new TestArchive(server, { config: drillSection(MAJOR) });
  always.push(() => archive.destroy());
  const receiver = await archive.receive(server);
  id = (await archive.backup(['--part-size', '1MiB'])).id;
  await server.query('INSERT INTO far SELECT n FROM generate_series(1001, 2000) n');
  await archive.switchWal(server);
  await archive.switchWal(server);
  await server.query('SELECT pg_create_restore_point($1)', [EARLY]);
  await server.query('CREATE TABLE after_it AS SELECT 1 AS n');
  await archive.switchWal(server);
  await server.query(`CREATE TABLESPACE late LOCATION '${join(space, 'late')}'`);
  await server.query('CREATE TABLE lately TABLESPACE late AS SELECT n FROM generate_series(1, 10) n');
  await archive.switchWal(server);
  await receiver.stop();
  await server.query('VACUUM (FREEZE) far');
  await server.query('CHECKPOINT');
});

afterEach(async () => {
  for (const undo of cleanup.splice(0).toReversed()) await undo();
});
afterAll(async () => {
  for (const undo of always.splice(0).toReversed()) await undo();
});

/** The config of the archive with another section `drill`, until the test ends. */
function configure(drill: Readonly<Record<string, unknown>>, more: Readonly<Record<string, unknown>> = {}): void {
  const before = readFileSync(archive.config, 'utf8');
  cleanup.push(() => writeFileSync(archive.config, before));
  const config = JSON.parse(before) as { drill: object };
  writeFileSync(archive.config, JSON.stringify({ ...config, drill: { ...config.drill, ...drill }, ...more }));
}

function early(): readonly string[] {
  return ['--target-name', EARLY];
}

/** Nothing of the drill is left, and nothing that lives was touched. */
async function untouched<Result>(work: () => Promise<Result>): Promise<Result> {
  const before = digests(space);
  expect(before.size).toBeGreaterThan(1);
  const result = await work();
  expect(digests(space)).toEqual(before);
  expect(await server.value('SELECT count(*) FROM far')).toBe('2000');
  return result;
}

function expectNothingLeft(): void {
  expect(existsSync(drillFolder(archive))).toBe(false);
  expect(processesIn(drillFolder(archive))).toEqual([]);
}

test('H-33 a drill on the host of the server maps every tablespace, and takes no setting of the old server', async () => {
  configure({ amcheck: false, checks: [{ name: 'rows', sql: 'SELECT count(*) FROM far', expect: '2000' }] });
  const ran = await untouched(() => drillCli(archive, early()));
  expect(ran, ran.stdout + ran.stderr).toMatchObject({ code: 0 });
  expect(documentOf(ran)).toMatchObject({ outcome: 'proven', backup: id, target: { kind: 'name' } });
  expectNothingLeft();
});

test('H-33 a tablespace that was created after the backup would be replayed into the live one: refused', async () => {
  const ran = await untouched(() => drillCli(archive));
  expect(ran).toMatchObject({ code: 2 });
  const result = documentOf(ran);
  expect(result.outcome).toBe('inconclusive');
  expect(result.problem?.message).toContain(`would write to ${join(space, 'late')}`);
  expect(result.phases).not.toHaveProperty('restore');
  expectNothingLeft();
});

test('H-33 folders of clusters, and such as hold anything, are refused untouched', async () => {
  const precious = join(archive.folder, 'precious');
  mkdirSync(precious);
  writeFileSync(join(precious, 'file'), 'x');
  giveToServer(precious);
  const link = join(archive.folder, 'link');
  symlinkSync(server.data, link);
  cleanup.push(() => {
    rmSync(precious, { recursive: true });
    rmSync(link);
  });
  const inside = readdirSync(join(space, 'live'))[0] ?? '';
  await untouched(async () => {
    for (const [folder, said] of [
      [join(server.data, 'base', 'drill'), /lies inside .*a data directory/],
      [join(link, 'drill'), /lies inside .*a data directory/],
      [join(space, 'live', 'drill'), /the folder of a tablespace/],
      [join(space, 'live', inside, 'drill'), /a tablespace/],
      [join(archive.folder, 'x'.repeat(100)), /too long for a socket/],
    ] as const)
      await expect(guardFolder(folder, []), folder).rejects.toThrow(said);
    // On a host that has lost the files, the place is still that of a tablespace.
    const gone = join(archive.folder, 'gone');
    for (const folder of [gone, join(gone, 'below'), archive.folder])
      await expect(guardFolder(folder, [gone]), folder).rejects.toThrow(/touches .* a tablespace/);
    for (const folder of [server.data, join(space, 'live'), space, precious])
      await expect(
        ScratchFolder.claim(folder, undefined, () => undefined),
        folder,
      ).rejects.toThrow(/is not empty/);
    const refused = await drillCli(archive, [...early(), '--folder', join(server.data, 'drill')]);
    expect(refused).toMatchObject({ code: 3, stdout: '' });
    expect(refused.stderr).toMatch(/lies inside .*a data directory/);
  });
  expect(readdirSync(precious)).toEqual(['file']);
});

test('a check that fails and an index that the server had damaged are verdicts, and nothing out of the database is stored', async () => {
  configure({ checks: CHECKS });
  const ran = await drillCli(archive, early());
  expect(ran).toMatchObject({ code: 4 });
  const result = documentOf(ran);
  expect(result).toMatchObject({ outcome: 'failed', recorded: true });
  expect(result.checks.map(({ name, outcome }) => `${name} ${outcome}`)).toEqual([
    'databases passed',
    'rows failed',
    'secret failed',
    'refused failed',
    'amcheck failed',
    'checksums skipped',
  ]);
  expect(ran.stdout).toMatch(/unsorted_n_idx: .* invariant violated/);
  expect(ran.stdout, 'shown here').toContain(SECRET);
  const facts = join(archive.systemFolder, 'facts', id);
  const stored = readdirSync(facts).map((name) => readFileSync(join(facts, name), 'utf8'));
  expect(stored.some((text) => text.includes('"refused"'))).toBe(true);
  expect(stored.join('')).not.toContain(SECRET);
  expectNothingLeft();
});

test('a damaged part and a missing segment are verdicts with their reason', async () => {
  const broken: readonly (readonly [path: string, act: (path: string) => () => void, said: RegExp])[] = [
    [firstPart(), flip, /0003\.tar/],
    [segmentAfterBackup(), remove, /missing/],
  ];
  for (const [path, act, said] of broken) {
    const restore = act(path);
    try {
      const ran = await untouched(() => drillCli(archive, path.includes('/wal/') ? [] : early()));
      expect(ran, ran.stderr).toMatchObject({ code: 4 });
      expect(documentOf(ran)).toMatchObject({ outcome: 'failed', backup: id });
      expect(documentOf(ran).problem?.message).toMatch(said);
    } finally {
      restore();
    }
    expectNothingLeft();
  }
});

function firstPart(): string {
  const base = join(archive.systemFolder, 'backups', id, 'base');
  return join(base, readdirSync(base).sort()[3] ?? '');
}

/** One that the backup itself does not need. */
function segmentAfterBackup(): string {
  const wal = join(archive.systemFolder, 'wal');
  const names = readdirSync(wal, { recursive: true, encoding: 'utf8' }).filter((name) =>
    /\/[0-9A-F]{24}-[^/]*$/.test(name),
  );
  return join(wal, names.sort().at(-2) ?? '');
}

function flip(path: string): () => void {
  const whole = readFileSync(path);
  const bytes = Buffer.from(whole);
  bytes.writeUInt8(bytes.readUInt8(bytes.byteLength >> 1) ^ 0x10, bytes.byteLength >> 1);
  writeFileSync(path, bytes);
  return () => writeFileSync(path, whole);
}

function remove(path: string): () => void {
  const away = join(archive.folder, 'away');
  renameSync(path, away);
  return () => renameSync(away, path);
}

test('a host without a server of the version gives no verdict', async () => {
  configure({ bin: join(serverHome(16), 'bin') });
  const ran = await drillCli(archive, early());
  expect(ran, ran.stderr).toMatchObject({ code: 2 });
  expect(documentOf(ran)).toMatchObject({ outcome: 'inconclusive', backup: id });
  expect(documentOf(ran).problem?.message).toMatch(/there is no PostgreSQL 17 in .*is version 16/);
  expectNothingLeft();
});

const disk = smallDisk(60, serverUser());
test.skipIf(typeof disk === 'string')(
  `a full disk is no verdict (${typeof disk === 'string' ? disk : 'a disk of 60 MiB'})`,
  async () => {
    if (typeof disk === 'string') return;
    cleanup.push(() => disk.unmount());
    // WAL that finds no room is asked for again for a while.
    configure({}, { restore: { walRetry: '1s' } });
    // Room for the files of the backup, and not for the WAL beside them.
    const ran = await drillCli(archive, [...early(), '--folder', disk.path]);
    expect(ran, ran.stderr).toMatchObject({ code: 2 });
    expect(documentOf(ran).outcome).toBe('inconclusive');
    expect(documentOf(ran).problem?.message).toMatch(/ENOSPC|No space left/);
    expect(readdirSync(disk.path)).toEqual([]);
  },
);

test('a repository that is read-only here: the result is shown and not recorded, and that is said', async () => {
  const config = JSON.parse(readFileSync(archive.config, 'utf8')) as { repositories: [object] };
  configure({ bin: join(serverHome(16), 'bin') }, { repositories: [{ ...config.repositories[0], readOnly: true }] });
  mkdirSync(join(archive.systemFolder, 'facts'), { recursive: true });
  const facts = digests(join(archive.systemFolder, 'facts'));
  const ran = await drillCli(archive, early());
  expect(documentOf(ran)).toMatchObject({ recorded: false });
  const { warnings } = documentOf(ran);
  expect(warnings).toContainEqual(expect.stringContaining('read-only here: the result is not recorded'));
  // Nothing keeps what it reads from being removed meanwhile.
  expect(warnings).toContainEqual(expect.stringContaining('lease'));
  expect(digests(join(archive.systemFolder, 'facts'))).toEqual(facts);
});

/** A drill whose server has been started. */
async function inRecovery(): Promise<CliChild> {
  const running = spawnDrill(archive, early());
  await until(
    'the server of the drill',
    () => running.child.exitCode === null && existsSync(join(drillFolder(archive), 'data', 'postmaster.pid')),
    () => running.stderr(),
  );
  return running;
}

test('a drill has its folder alone; asked to stop, it ends its server and clears the folder', async () => {
  const running = await inRecovery();
  const second = await drillCli(archive, early());
  expect(second).toMatchObject({ code: 3, stdout: '' });
  expect(second.stderr).toContain(`process ${running.pid} runs a drill in`);
  expect(running.child.exitCode, 'the first must still have been at work').toBe(null);
  running.kill('SIGTERM');
  const ended = await running.ended;
  expect(ended).toMatchObject({ code: 1, stdout: '' });
  expect(ended.stderr).toContain('cancelled');
  expectNothingLeft();
});

test('a drill that is killed: the next one ends what is left, and clears it', async () => {
  const running = await inRecovery();
  running.kill('SIGKILL');
  expect((await running.ended).signal).toBe('SIGKILL');
  expect(existsSync(join(drillFolder(archive), 'pgark-drill.json')), 'it must have left its folder').toBe(true);
  configure({ bin: join(serverHome(16), 'bin') });
  const next = await drillCli(archive, early());
  expect(documentOf(next).warnings).toEqual([expect.stringContaining('was left by a drill that was killed')]);
  expectNothingLeft();
});

test('a server that outlived its drill is ended by the next one', async () => {
  const folder = drillFolder(archive);
  const data = join(folder, 'data');
  const other = await PostgresServer.create({ major: MAJOR });
  cleanup.push(() => other.destroy());
  mkdirSync(folder);
  renameSync(other.data, data);
  writeFileSync(
    join(folder, 'pgark-drill.json'),
    JSON.stringify({ format: 1, pid: 999_999_999, started: '1', made: true }),
  );
  for (const path of [folder, join(folder, 'pgark-drill.json')]) giveToServer(path);
  const orphan = spawn(join(serverHome(MAJOR), 'bin', 'postgres'), ['-D', data], {
    ...serverUser(),
    cwd: data,
    stdio: 'ignore',
  });
  const ended = once(orphan, 'exit');
  await until(
    'the orphan',
    () =>
      existsSync(join(data, 'postmaster.pid')) && readFileSync(join(data, 'postmaster.pid'), 'utf8').includes('ready'),
  );
  configure({ bin: join(serverHome(16), 'bin') });
  const next = await drillCli(archive, early());
  expect(documentOf(next).warnings).toEqual([expect.stringContaining('was left by a drill that was killed')]);
  await ended;
  expectNothingLeft();
});
