/** Tablespaces that were created after the backup: a recovery makes them anew where they were, which may be a living cluster's folder. */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { TestArchive } from '../support/archive.ts';
import { giveToServer, PostgresServer, removeFolder, temporaryFolder } from '../support/postgres.ts';
import { restoreCli, restored, startAndPromote } from '../support/restoring.ts';

const MAJOR = 17;
const always: (() => unknown)[] = [];
const cleanup: (() => unknown)[] = [];
let server: PostgresServer;
let archive: TestArchive;
let space = '';
let oid = '';
let first = '';
/** Before the second tablespace was created, and behind it. */
let before = '';

interface Plan {
  readonly reachable: boolean;
  readonly problems: readonly { readonly code: string; readonly message: string }[];
  readonly warnings: readonly string[];
}

beforeAll(async () => {
  server = await PostgresServer.start({ major: MAJOR, segmentMegabytes: 1 });
  always.push(() => server.destroy());
  space = temporaryFolder('late-space');
  always.push(() => removeFolder(space));
  for (const name of ['old', 'late']) {
    mkdirSync(join(space, name));
    giveToServer(join(space, name));
  }
  await server.query(`CREATE TABLESPACE old LOCATION '${join(space, 'old')}'`);
  archive = new TestArchive(server);
  always.push(() => archive.destroy());
  const receiver = await archive.receive(server);
  always.push(() => receiver.kill());
  first = (await archive.backup()).id;
  await server.query('CREATE TABLE kept AS SELECT 1 AS n');
  await archive.switchWal(server);
  before = await server.value('SELECT pg_current_wal_lsn()');
  await server.query('INSERT INTO kept VALUES (2)');
  await server.query(`CREATE TABLESPACE late LOCATION '${join(space, 'late')}'`);
  oid = await server.value(`SELECT oid FROM pg_tablespace WHERE spcname = 'late'`);
  await server.query('CREATE TABLE living TABLESPACE late AS SELECT n FROM generate_series(1, 1000) n');
  await server.query('CHECKPOINT');
  await archive.switchWal(server);
}, 300_000);

afterEach(async () => {
  for (const undo of cleanup.splice(0).toReversed()) await undo();
});
afterAll(async () => {
  for (const undo of always.splice(0).toReversed()) await undo();
});

function elsewhere(name: string): readonly string[] {
  const folder = join(space, name);
  cleanup.push(() => rmSync(folder, { recursive: true, force: true }));
  return ['--tablespace', `${join(space, 'old')}=${folder}`];
}

async function planOf(name: string, args: readonly string[]): Promise<Plan> {
  const data = join(archive.folder, name);
  const { stdout } = await restoreCli(archive, ['--json', data, '--plan', ...elsewhere(name), ...args]);
  return JSON.parse(stdout) as Plan;
}

test('H-33 a restore whose WAL creates a tablespace in a living folder is refused; an earlier target, or a newer backup, is not', async () => {
  const data = join(archive.folder, 'refused');
  const result = await restoreCli(archive, [data, '--no-sync', ...elsewhere('refused')]);
  expect(result.code).not.toBe(0);
  expect(result.stderr).toMatch(new RegExp(`tablespace ${oid} is created at .* where PG_17_\\d+ of a cluster is`));
  expect(result.stderr).toContain('--allow-new-tablespaces');
  expect(existsSync(data)).toBe(false);

  const earlier = await planOf('earlier', ['--target-lsn', before]);
  expect(earlier).toMatchObject({ reachable: true, problems: [] });

  await archive.backup();
  // What the newer backup has is mapped; without that the restore would find the folder in use by itself.
  const newer = await planOf('newer', ['--tablespace', `${join(space, 'late')}=${join(space, 'newer-late')}`]);
  expect(newer).toMatchObject({ reachable: true, problems: [] });
  // A later backup with another set of tablespaces does not hide what was created before it.
  const older = await planOf('older', ['--backup', first]);
  expect(older.problems).toMatchObject([{ code: 'RESTORE_TARGET_IN_USE' }]);
  expect(await planOf('allowed', ['--backup', first, '--allow-new-tablespaces'])).toMatchObject({ problems: [] });
});

test('a folder that is not there is a warning, and so is an empty one, into which the recovery writes', async () => {
  const moved = join(space, 'moved');
  await server.stop();
  cleanup.push(async () => {
    rmSync(join(space, 'late'), { recursive: true, force: true });
    renameSync(moved, join(space, 'late'));
    await server.start();
  });
  renameSync(join(space, 'late'), moved);
  const absent = await planOf('absent', ['--backup', first]);
  expect(absent.problems).toEqual([]);
  expect(absent.warnings).toContainEqual(expect.stringMatching(/unless you make that folder/));

  mkdirSync(join(space, 'late'));
  giveToServer(join(space, 'late'));
  const empty = await planOf('empty', ['--backup', first]);
  expect(empty.problems).toEqual([]);
  expect(empty.warnings).toContainEqual(expect.stringMatching(/, which is empty/));

  const clone = await restored(archive, MAJOR, 'written', ['--backup', first, ...elsewhere('written-space')]);
  cleanup.push(() => clone.destroy());
  await startAndPromote(clone);
  expect(await clone.value('SELECT count(*) FROM living')).toBe('1000');
  // The fault that all of this is about: the replay wrote to the folder of the old server, not to one of its own.
  expect(await clone.value(`SELECT pg_tablespace_location(${oid})`)).toBe(join(space, 'late'));
  const [version = ''] = readdirSync(join(space, 'late'));
  expect(version).toMatch(/^PG_17_/);
  expect(readFileSync(join(clone.data, 'PG_VERSION'), 'utf8')).toContain('17');
});
