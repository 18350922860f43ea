/** What a restore makes of a backup: standbys, tablespaces, modes, settings, configuration, and what it refuses. */
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { TestArchive } from '../support/archive.ts';
import { serverUser } from '../support/binaries.ts';
import { runCli } from '../support/cli.ts';
import { giveToServer, PostgresServer, removeFolder, temporaryFolder } from '../support/postgres.ts';
import { restoreCli, restored, startAndPromote } from '../support/restoring.ts';
import { MISSING, runTool, tool } from '../support/tools.ts';
import { until } from '../support/until.ts';

const PASSWORD = 'nev3r-print-this';
const always: (() => unknown)[] = [];
const cleanup: (() => unknown)[] = [];
let server: PostgresServer;
let archive: TestArchive;
let space = '';
let oid = '';

beforeAll(async () => {
  server = await PostgresServer.start({ major: 15, initArguments: ['--allow-group-access'] });
  always.push(() => server.destroy());
  space = temporaryFolder('space');
  always.push(() => removeFolder(space));
  mkdirSync(join(space, 'old'));
  giveToServer(join(space, 'old'));
  await server.query(`CREATE TABLESPACE extra LOCATION '${join(space, 'old')}'`);
  oid = await server.value(`SELECT oid FROM pg_tablespace WHERE spcname = 'extra'`);
  await server.query('CREATE TABLE far TABLESPACE extra AS SELECT n FROM generate_series(1, 1000) n');
  archive = new TestArchive(server, { config: { postgres: { url: server.url(), password: PASSWORD } } });
  always.push(() => archive.destroy());
  const receiver = await archive.receive(server);
  always.push(() => receiver.kill());
  await archive.backup();
  await server.query('CREATE TABLE near AS SELECT n FROM generate_series(1, 500) n');
  await archive.switchWal(server);
});

afterEach(async () => {
  for (const undo of cleanup.splice(0).toReversed()) await undo();
});
afterAll(async () => {
  for (const undo of always.splice(0).toReversed()) await undo();
});

/** A new folder for the tablespace, as an option. */
function elsewhere(name: string): readonly string[] {
  cleanup.push(() => rmSync(join(space, name), { recursive: true, force: true }));
  return ['--tablespace', `${join(space, 'old')}=${join(space, name)}`];
}

function later(opened: PostgresServer): PostgresServer {
  cleanup.push(async () => {
    await opened.destroy();
    rmSync(opened.data, { recursive: true, force: true });
  });
  return opened;
}

test.skipIf(tool('pg_verifybackup') === undefined)(
  `pg_verifybackup passes on the whole result, with its WAL and a moved tablespace (${MISSING})`,
  async () => {
    const clone = later(await restored(archive, 15, 'verified', elsewhere('verified-space')));
    // PostgresServer.open has appended to postgresql.conf, as an operator may.
    expect(runTool('pg_verifybackup', ['--ignore', 'postgresql.conf', clone.data])).toContain('successfully verified');
    await startAndPromote(clone);
    expect(await clone.value('SELECT count(*) FROM far')).toBe('1000');
    expect(await clone.value('SELECT count(*) FROM near')).toBe('500');
    expect(await clone.value(`SELECT pg_tablespace_location(${oid})`)).toBe(join(space, 'verified-space'));
  },
);

test('H-32 a tablespace gets its own files, and links point to where it was mapped', async () => {
  const data = join(archive.folder, 'mapped');
  cleanup.push(() => rmSync(data, { recursive: true, force: true }));
  await archive.run(['restore', '--no-sync', data, '--tablespace-oid', `${oid}=${join(space, 'by-oid')}`]);
  cleanup.push(() => rmSync(join(space, 'by-oid'), { recursive: true, force: true }));
  expect(readlinkSync(join(data, 'pg_tblspc', oid))).toBe(join(space, 'by-oid'));
  expect(readdirSync(join(space, 'by-oid'))).toEqual(readdirSync(join(space, 'old')));
  expect(readdirSync(data).filter((name) => name.includes('pgark'))).toEqual([]);
});

test('modes and owner are those of the server, also of empty folders', async () => {
  const data = join(archive.folder, 'modes');
  cleanup.push(() => rmSync(data, { recursive: true, force: true }));
  await archive.run(['restore', '--no-sync', data, ...elsewhere('modes-space')]);
  const mode = (path: string): string => (statSync(join(data, path)).mode & 0o7777).toString(8);
  expect([mode('.'), mode('base'), mode('pg_stat_tmp'), mode('pg_wal/archive_status')]).toEqual([
    '750',
    '750',
    '750',
    '750',
  ]);
  expect([
    mode('PG_VERSION'),
    mode('global/pg_control'),
    mode('postgresql.auto.conf'),
    mode('recovery.signal'),
  ]).toEqual(['640', '640', '640', '640']);
  const owner = statSync(server.data);
  for (const path of ['.', 'PG_VERSION', 'global/pg_control', 'pg_tblspc', 'recovery.signal', `pg_tblspc/${oid}`]) {
    const { uid, gid } = lstatSync(join(data, path));
    expect({ path, uid, gid }).toEqual({ path, uid: owner.uid, gid: owner.gid });
  }
});

test.skipIf(process.getuid?.() !== 0)(
  'root gives the files to the user of the server, or to the one that is named',
  async () => {
    for (const [name, options] of [
      ['root-default', []],
      ['root-named', ['--owner', `${serverUser()?.uid}:${serverUser()?.gid}`]],
    ] as const) {
      const data = join(archive.folder, name);
      cleanup.push(() => rmSync(data, { recursive: true, force: true }));
      const result = await runCli([
        '--config',
        archive.config,
        'restore',
        data,
        '--no-sync',
        ...elsewhere(name),
        ...options,
      ]);
      expect(result).toMatchObject({ code: 0 });
      expect(statSync(join(data, 'global', 'pg_control')).uid).toBe(serverUser()?.uid);
      expect(statSync(data).uid).toBe(serverUser()?.uid);
    }
    const refused = await runCli([
      '--config',
      archive.config,
      'restore',
      join(archive.folder, 'x'),
      '--owner',
      'root',
      ...elsewhere('x'),
    ]);
    expect(refused).toMatchObject({ code: 3 });
    expect(refused.stderr).toContain('PostgreSQL does not run as root');
  },
);

test('H-33 nothing is written into folders that are not empty, and the server that is backed up is untouched', async () => {
  const files = readdirSync(join(space, 'old'), { recursive: true }).length;
  const original = await restoreCli(archive, [join(archive.folder, 'original')]);
  expect(original).toMatchObject({ code: 3 });
  expect(original.stderr).toContain(`${join(space, 'old')} is not empty`);
  expect(existsSync(join(archive.folder, 'original'))).toBe(false);

  const running = await restoreCli(archive, [server.data, ...elsewhere('running')]);
  expect(running).toMatchObject({ code: 3 });
  expect(running.stderr).toContain('is the data directory of a server');

  const full = join(archive.folder, 'full');
  mkdirSync(full);
  cleanup.push(() => rmSync(full, { recursive: true, force: true }));
  writeFileSync(join(full, 'precious'), 'x');
  const refused = await restoreCli(archive, [full, ...elsewhere('full')]);
  expect(refused).toMatchObject({ code: 3 });
  expect(readdirSync(full)).toEqual(['precious']);
  expect(existsSync(join(space, 'full'))).toBe(false);
  expect(readdirSync(join(space, 'old'), { recursive: true })).toHaveLength(files);
  expect(await server.value('SELECT count(*) FROM far')).toBe('1000');
});

test('a tablespace that would collide, or that the backup does not have, is refused', async () => {
  const data = join(archive.folder, 'collision');
  for (const [option, message] of [
    [`${join(space, 'old')}=${join(data, 'inside')}`, /collides/],
    [`${join(space, 'old')}=relative`, /not absolute/],
    [`/no/such=${join(space, 'new')}`, /has no tablespace \/no\/such/],
    ['nothing', /not a mapping/],
  ] as const) {
    const result = await restoreCli(archive, [data, '--tablespace', option]);
    expect(result).toMatchObject({ code: 3 });
    expect(result.stderr).toMatch(message);
  }
  expect(existsSync(data)).toBe(false);
});

test('H-37 the restore_command is quoted for any path, and no secret is in the restored cluster', async () => {
  const odd = join(archive.folder, `it's "100%" a\\b`);
  mkdirSync(odd);
  giveToServer(odd);
  cleanup.push(() => rmSync(odd, { recursive: true, force: true }));
  const config = join(odd, 'pgark $HOME.json');
  writeFileSync(config, readFileSync(archive.config));
  giveToServer(config);
  const data = join(archive.folder, 'quoted');
  const result = await runCli(['--config', config, 'restore', '--no-sync', data, ...elsewhere('quoted')], {
    ...serverUser(),
  });
  expect(result).toMatchObject({ code: 0 });
  expect(result.stdout + result.stderr).not.toContain(PASSWORD);
  const clone = later(await PostgresServer.open(15, data));
  for (const name of readdirSync(data, { recursive: true, encoding: 'utf8' })) {
    const path = join(data, name);
    if (lstatSync(path).isFile()) expect(readFileSync(path).includes(PASSWORD), name).toBe(false);
  }
  await startAndPromote(clone);
  expect(await clone.value('SELECT count(*) FROM near')).toBe('500');
  expect(await clone.value('SHOW restore_command')).toContain('wal-fetch');
});

test('H-40 a cluster whose configuration lies elsewhere starts after a restore, and does not archive', async () => {
  const folder = temporaryFolder('debian');
  cleanup.push(() => removeFolder(folder));
  const debian = await PostgresServer.create({
    major: 15,
    settings: { max_connections: '250', max_locks_per_transaction: '100' },
  });
  cleanup.push(() => debian.destroy());
  for (const name of ['postgresql.conf', 'pg_hba.conf', 'pg_ident.conf']) {
    writeFileSync(join(folder, name), readFileSync(join(debian.data, name)));
    rmSync(join(debian.data, name));
    giveToServer(join(folder, name));
  }
  // As pg_ctlcluster starts it: the data directory and the files outside it are named apart.
  const conf = readFileSync(join(folder, 'postgresql.conf'), 'utf8');
  writeFileSync(
    join(folder, 'postgresql.conf'),
    `${conf}\nhba_file = '${join(folder, 'pg_hba.conf')}'\nident_file = '${join(folder, 'pg_ident.conf')}'\n`,
  );
  writeFileSync(join(debian.data, 'postgresql.conf'), `include '${join(folder, 'postgresql.conf')}'\n`);
  giveToServer(join(debian.data, 'postgresql.conf'));
  await debian.start();
  rmSync(join(debian.data, 'postgresql.conf'));
  const own = new TestArchive(debian);
  cleanup.push(() => own.destroy());
  const receiver = await own.receive(debian);
  cleanup.push(() => receiver.kill());
  await own.backup();
  await own.switchWal(debian);

  const data = join(own.folder, 'restored');
  const told = await own.run(['restore', '--no-sync', data]);
  expect(told).toContain('the backup has no postgresql.conf and pg_hba.conf');
  expect(readFileSync(join(data, 'pg_hba.conf'), 'utf8')).toContain('local all all peer');
  const clone = later(await PostgresServer.open(15, data));
  writeFileSync(join(data, 'pg_hba.conf'), 'host all all 127.0.0.1/32 trust\n');
  await startAndPromote(clone);
  expect(await clone.value('SHOW archive_mode')).toBe('off');
  expect(await clone.value('SHOW max_connections')).toBe('250');
  expect(await clone.value('SHOW max_locks_per_transaction')).toBe('100');
});

test('a standby follows its primary from where the archive ends', async () => {
  const standby = later(
    await restored(archive, 15, 'standby', [
      '--standby',
      '--primary-conninfo',
      `host=127.0.0.1 port=${server.port} user=postgres application_name=clone`,
      ...elsewhere('standby-space'),
    ]),
  );
  await standby.start();
  expect(await standby.value('SELECT pg_is_in_recovery()')).toBe('true');
  await server.query('CREATE TABLE streamed AS SELECT 1 AS n');
  const lsn = await server.value('SELECT pg_current_wal_insert_lsn()');
  for (
    const deadline = Date.now() + 60_000;
    (await standby.value(`SELECT pg_last_wal_replay_lsn() >= '${lsn}'`)) !== 'true';
    await sleep(50)
  )
    if (Date.now() > deadline) throw new Error(`the standby does not follow:\n${standby.log}`);
  expect(await standby.value('SELECT count(*) FROM streamed')).toBe('1');
  expect(await server.value(`SELECT count(*) FROM pg_stat_replication WHERE application_name = 'clone'`)).toBe('1');
  await server.query('DROP TABLE streamed');
});

test('a target can pause the recovery or stop the server', async () => {
  const paused = later(
    await restored(archive, 15, 'paused', [
      '--target',
      'immediate',
      '--target-action',
      'pause',
      ...elsewhere('paused'),
    ]),
  );
  await paused.start();
  expect(await paused.value('SELECT pg_is_in_recovery()')).toBe('true');
  for (
    const deadline = Date.now() + 30_000;
    (await paused.value('SELECT pg_get_wal_replay_pause_state()')) !== 'paused';
    await sleep(20)
  )
    if (Date.now() > deadline) throw new Error('the recovery does not pause');
  expect(await paused.value(`SELECT count(*) FROM pg_class WHERE relname = 'near'`)).toBe('0');

  const stopped = later(
    await restored(archive, 15, 'stopped', [
      '--target',
      'immediate',
      '--target-action',
      'shutdown',
      ...elsewhere('stopped'),
    ]),
  );
  await stopped.start({ wait: 'spawned' });
  await stopped.exited();
  // What it said reaches the log a moment after its end.
  await until(
    'its last words',
    () => stopped.log.includes('shutdown at recovery target'),
    () => stopped.log,
  );
});

test('the plan says what will be done, and writes nothing', async () => {
  const data = join(archive.folder, 'planned');
  const text = await archive.run(['restore', data, '--plan', ...elsewhere('planned')]);
  expect(text).toMatch(/backup +\d{8}T\d{6}Z-[0-9a-f]{4}, consistent at/);
  expect(text).toMatch(/missing +nothing/);
  expect(text).toContain(`${data}: `);
  expect(text).toContain("archive_mode = 'off'");
  expect(existsSync(data)).toBe(false);
  expect(existsSync(join(space, 'planned'))).toBe(false);
  const document = await archive.json<{
    readonly reachable: boolean;
    readonly tablespaces: readonly { readonly to: string }[];
  }>(['restore', data, '--plan', ...elsewhere('planned')]);
  expect(document).toMatchObject({
    reachable: true,
    tablespaces: [{ oid, from: join(space, 'old'), to: join(space, 'planned') }],
  });
});

test('a backup of a standby is restored to a server that ends its recovery and follows nobody', async () => {
  // What a standby has in its data directory is in the backup: BASE_BACKUP leaves out neither.
  writeFileSync(join(server.data, 'standby.signal'), '');
  giveToServer(join(server.data, 'standby.signal'));
  await server.query(
    `ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port=${server.port} application_name=followed'`,
  );
  try {
    await archive.backup();
  } finally {
    rmSync(join(server.data, 'standby.signal'));
    await server.query('ALTER SYSTEM RESET primary_conninfo');
  }
  const clone = later(await restored(archive, 15, 'of-standby', elsewhere('of-standby-space')));
  expect(readFileSync(join(clone.data, 'backup_manifest'), 'utf8')).toContain('"standby.signal"');
  expect(existsSync(join(clone.data, 'standby.signal'))).toBe(false);
  await startAndPromote(clone);
  expect(await clone.value('SELECT count(*) FROM near')).toBe('500');
  expect(clone.log).not.toContain('standby mode');

  const alone = later(await restored(archive, 15, 'alone', ['--standby', ...elsewhere('alone-space')]));
  expect(existsSync(join(alone.data, 'recovery.signal'))).toBe(false);
  await alone.start();
  expect(await alone.value('SHOW primary_conninfo')).toBe('');
  expect(await alone.value('SELECT pg_is_in_recovery()')).toBe('true');
  expect(alone.log).toContain('standby mode');
});

test('a damaged fact is a warning of the plan, and no reason not to restore', async () => {
  const wal = join(archive.systemFolder, 'facts', 'wal');
  const fact = join(wal, '20261122T064530123Z-gap.json');
  cleanup.push(() => rmSync(fact, { force: true }));
  mkdirSync(wal, { recursive: true });
  writeFileSync(fact, '{ "kind": "ga');
  const plan = ['restore', join(archive.folder, 'with-fact'), '--plan', ...elsewhere('with-fact')];
  const document = await archive.json<{ readonly reachable: boolean; readonly warnings: readonly string[] }>(plan);
  expect(document.reachable).toBe(true);
  expect(document.warnings).toContainEqual(expect.stringContaining('which gaps are on record is not known'));
});

test.skipIf(process.getuid?.() !== 0)(
  'a server that could not read the archive is noticed before a server could be started',
  async () => {
    const data = join(archive.folder, 'unreadable');
    cleanup.push(() => rmSync(data, { recursive: true, force: true }));
    const system = archive.systemFolder;
    const { uid, gid } = statSync(system);
    chmodSync(archive.config, 0o600);
    const { chownSync } = await import('node:fs');
    chownSync(archive.config, 0, 0);
    cleanup.push(() => chownSync(archive.config, uid, gid));
    const result = await runCli(['--config', archive.config, 'restore', data, ...elsewhere('unreadable')]);
    expect(result).toMatchObject({ code: 2 });
    expect(result.stderr).toMatch(/the restore_command does not fetch .*EACCES/s);
    expect(existsSync(join(data, 'global', 'pg_control'))).toBe(false);
  },
);
