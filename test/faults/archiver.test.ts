/** What the archive holds against a second server and against its own losses, with `wal-push` as a real archive_command. */
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { TestArchive } from '../support/archive.ts';
import { serverUser } from '../support/binaries.ts';
import { runCli, type CliResult } from '../support/cli.ts';
import { giveToServer, PostgresServer } from '../support/postgres.ts';
import { archiveCommand } from '../support/restoring.ts';
import { until } from '../support/until.ts';

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const undo of cleanup.splice(0).toReversed()) await undo();
});

async function archivingServer(): Promise<{ server: PostgresServer; archive: TestArchive }> {
  const server = await PostgresServer.create({ major: 17, segmentMegabytes: 1 });
  cleanup.push(() => server.destroy());
  const archive = new TestArchive(server);
  cleanup.push(() => archive.destroy());
  server.configure({ archive_mode: 'on', archive_command: archiveCommand(archive) });
  await server.start();
  await archive.backup(); // which makes the archive: wal-push does not
  return { server, archive };
}

/** Runs `wal-push` in the data directory, as the archiver does. */
async function push(server: PostgresServer, archive: TestArchive, path: string, name: string): Promise<CliResult> {
  return runCli(['--config', archive.config, 'wal-push', path, name], { ...serverUser(), cwd: server.data });
}

test('H-22 two servers with one archive: the second is refused with both digests, and the first one keeps what it has', async () => {
  const { server, archive } = await archivingServer();
  const name = await archive.switchWal(server);
  const folder = join(archive.systemFolder, 'wal', '00000001', '00000000');
  const before = readdirSync(folder).filter((object) => object.startsWith(name));
  const other = join(archive.folder, name);
  copyFileSync(join(server.data, 'pg_wal', name), other);
  const bytes = readFileSync(other);
  bytes.writeUInt8(bytes.readUInt8(5000) ^ 1, 5000);
  chmodSync(other, 0o600);
  writeFileSync(other, bytes);
  giveToServer(other);
  const refused = await push(server, archive, other, name);
  expect(refused.code).toBe(4);
  const digests = refused.stderr.match(/[0-9a-f]{32}/g) ?? [];
  expect(new Set(digests).size).toBe(2);
  expect(before[0]).toContain(digests[0]);
  expect(readdirSync(folder).filter((object) => object.startsWith(name))).toEqual(before);
  expect((await push(server, archive, `pg_wal/${name}`, name)).code).toBe(0);
});

test('H-23 nothing remembers that a segment was archived: after the bucket lost it, it is stored again', async () => {
  const { server, archive } = await archivingServer();
  const name = await archive.switchWal(server);
  const folder = join(archive.systemFolder, 'wal', '00000001', '00000000');
  const [object = ''] = readdirSync(folder).filter((key) => key.startsWith(name));
  rmSync(join(folder, object));
  expect(archive.holds(name)).toBe(false);
  expect((await push(server, archive, `pg_wal/${name}`, name)).code).toBe(0);
  expect(readdirSync(folder)).toContain(object);
});

test('a disk that is not mounted: no backup begins an archive in its empty folder, so that the server keeps its WAL until it is back', async () => {
  const { server, archive } = await archivingServer();
  const failures = async (): Promise<number> => Number(await server.value('SELECT failed_count FROM pg_stat_archiver'));
  renameSync(archive.repository, `${archive.repository}.away`);
  mkdirSync(archive.repository);
  giveToServer(archive.repository);

  const nightly = await runCli(['--config', archive.config, 'backup'], { ...serverUser() });
  expect(nightly).toMatchObject({ code: 1 });
  expect(nightly.stderr).toMatch(
    /repository primary has no cluster "main", and .* archives its WAL by archive_command/,
  );
  expect(nightly.stderr).toContain('pgark backup --create');
  await server.query(`SELECT pg_logical_emit_message(false, 'test', '')`);
  const name = await server.value('SELECT pg_walfile_name(pg_switch_wal())');
  await until('a refusal', async () => (await failures()) > 0);
  expect(readdirSync(archive.repository)).toEqual([]);
  expect(readdirSync(join(server.data, 'pg_wal', 'archive_status'))).toContain(`${name}.ready`);

  rmSync(archive.repository, { recursive: true });
  renameSync(`${archive.repository}.away`, archive.repository);
  await until('the segment', async () => {
    await server.query('CHECKPOINT'); // after some failures the archiver waits for a sign, or a minute
    return archive.holds(name);
  });
  await archive.run(['backup', '--checkpoint', 'fast']);
  expect(await archive.json<readonly unknown[]>(['list'])).toHaveLength(2);
});
