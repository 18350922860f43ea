/** An encrypted archive end to end: the host of the server can write and not read, another one restores. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { AGE_MISSING, ESCROW, hasAge, OPERATIONS, writeIdentity } from '../support/age.ts';
import { TestArchive } from '../support/archive.ts';
import { serverUser } from '../support/binaries.ts';
import { runCli } from '../support/cli.ts';
import { giveToServer, PostgresServer } from '../support/postgres.ts';
import { archiveCommand, restoreCli, restored, startAndPromote } from '../support/restoring.ts';

const cleanup: (() => unknown)[] = [];
let archive: TestArchive;
let segment: string;
let identity: string;

/** Writes the config of a host: with a key file, or without one as that of the server. */
function configure(identities: readonly string[]): void {
  const config = JSON.parse(readFileSync(archive.config, 'utf8')) as Record<string, unknown>;
  const restore = { identities: identities.map((file) => ({ file })) };
  writeFileSync(archive.config, JSON.stringify({ ...config, restore }));
}

beforeAll(async () => {
  const server = await PostgresServer.create({ major: 15 });
  cleanup.push(() => server.destroy());
  archive = new TestArchive(server, {
    codecs: [
      { use: 'zstd', level: 1 },
      { use: 'age', recipients: [OPERATIONS.recipient], recipientsFiles: ['escrow.txt'] },
    ],
  });
  cleanup.push(() => archive.destroy());
  writeFileSync(join(archive.folder, 'escrow.txt'), `# in the safe\n${ESCROW.recipient}\n`);
  giveToServer(join(archive.folder, 'escrow.txt'));
  identity = writeIdentity(archive.folder, ESCROW);
  server.configure({ archive_mode: 'on', archive_command: archiveCommand(archive) });
  await server.start();
  await server.query('CREATE TABLE numbers AS SELECT n FROM generate_series(1, 1000) n');
  await archive.backup();
  await server.query('INSERT INTO numbers SELECT n FROM generate_series(1, 500) n');
  segment = await archive.switchWal(server);
  await server.kill();
});
afterAll(async () => {
  for (const undo of cleanup.splice(0).toReversed()) await undo();
});

test.skipIf(!hasAge)(
  `every object opens with age, zstd and tar alone, and is what was archived (${AGE_MISSING})`,
  () => {
    const objects = readdirSync(archive.systemFolder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
    const encrypted = objects.filter((path) => path.endsWith('.zst.age'));
    // The record of a backup is for everybody to read: it says which keys are needed.
    const [record = 'none', ...others] = objects.filter((path) => !encrypted.includes(path));
    expect(others).toEqual([]);
    expect(JSON.parse(readFileSync(record, 'utf8'))).toMatchObject({
      codecs: [{ id: 'zstd' }, { id: 'age', keyIds: [OPERATIONS.recipient, ESCROW.recipient] }],
    });

    const wal = encrypted.filter((path) => path.includes('/wal/'));
    expect(wal.length).toBeGreaterThan(1);
    const digests = byHand('sha256sum', wal).trimEnd().split('\n');
    expect(digests).toHaveLength(wal.length);
    for (const [index, path] of wal.entries()) expect(path).toContain(`-${digests[index]?.slice(0, 32)}.`);

    const folder = join(archive.folder, 'unpacked');
    mkdirSync(folder);
    const parts = encrypted.filter((path) => path.includes('.tar.'));
    expect(parts.length).toBeGreaterThan(0);
    byHand(`tar -x -C ${folder}`, parts);
    const [manifest = 'none'] = encrypted.filter((path) => path.includes('backup_manifest'));
    const { Files: files } = JSON.parse(byHand('cat', [manifest])) as { Files: { Path: string; Checksum: string }[] };
    expect(files.length).toBeGreaterThan(900);
    for (const { Path: path, Checksum: checksum } of files)
      expect(
        createHash('sha256')
          .update(readFileSync(join(folder, path)))
          .digest('hex'),
        path,
      ).toBe(checksum);

    const [list = 'none'] = encrypted.filter((path) => path.includes('files.json'));
    expect(byHand('cat', [list])).toContain('global/pg_control');
    expect(encrypted).toHaveLength(wal.length + parts.length + 2);
  },
);

/** What the command makes of each object, decrypted and decompressed by the tools of these formats. */
function byHand(command: string, paths: readonly string[]): string {
  const script = `for object; do age --decrypt -i ${identity} "$object" | zstd -dcq | ${command} || exit 1; done`;
  const { stdout, stderr, status } = spawnSync('sh', ['-euc', script, 'sh', ...paths], { encoding: 'utf8' });
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
  return stdout;
}

test('the host of the server, which has no identity, cannot restore and says what is missing', async () => {
  configure([]);
  const target = join(archive.folder, 'without-key');
  const { code, stderr } = await restoreCli(archive, ['--no-sync', target]);
  expect(code).toBe(3);
  expect(stderr).toContain('2 recipients');
  expect(stderr).toContain('restore.identities');
  expect(existsSync(join(target, 'global/pg_control'))).toBe(false);
  // Nor may a recovery take it for the end of the archive.
  const fetched = await runCli(['--config', archive.config, 'wal-fetch', segment, join(archive.folder, 'fetched')], {
    ...serverUser(),
  });
  expect(fetched.stderr).toContain('restore.identities');
  expect(fetched.code).toBeGreaterThan(1);
  expect(existsSync(join(archive.folder, 'fetched'))).toBe(false);
});

test('a host with the identity of one recipient restores, and the server replays the WAL', async () => {
  configure([identity]);
  const clone = await restored(archive, 15, 'restored');
  cleanup.push(() => clone.destroy());
  await startAndPromote(clone);
  expect(await clone.value('SELECT count(*) FROM numbers')).toBe('1500');
  expect(clone.log).toContain('restored log file');
});
