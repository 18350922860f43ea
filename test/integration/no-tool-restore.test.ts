/** Runs the commands of docs/no-tool-restore.md against a real archive, as the user who runs PostgreSQL. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { AGE_MISSING, ESCROW, hasAge, OPERATIONS, writeIdentity } from '../support/age.ts';
import { TestArchive } from '../support/archive.ts';
import { serverUser } from '../support/binaries.ts';
import { giveToServer, PostgresServer } from '../support/postgres.ts';

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const undo of cleanup.splice(0).toReversed()) await undo();
});

/** The shell blocks of a page, in order. */
function blocks(page: string): string[] {
  const text = readFileSync(new URL(`../../docs/${page}`, import.meta.url), 'utf8');
  return [...text.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map((match) => match[1] ?? '');
}

test.for([
  { name: 'zstd', codecs: [{ use: 'zstd' }] },
  { name: 'gzip', codecs: [{ use: 'gzip' }] },
  {
    name: 'zstd and age',
    codecs: [{ use: 'zstd' }, { use: 'age', recipients: [ESCROW.recipient, OPERATIONS.recipient] }],
  },
  { name: 'nothing', codecs: [] },
])('the page restores a cluster from an archive written with $name', async ({ codecs }, { skip }) => {
  if (codecs.some(({ use }) => use === 'age') && !hasAge) skip(AGE_MISSING);
  const server = await PostgresServer.start({ major: 16, segmentMegabytes: 1 });
  cleanup.push(() => server.destroy());
  const archive = new TestArchive(server, { codecs });
  cleanup.push(() => {
    archive.destroy();
  });
  const place = join(server.folder, 'tablespace');
  mkdirSync(place);
  giveToServer(place);
  await server.query(`CREATE TABLESPACE other LOCATION '${place}'`);
  await server.query('CREATE TABLE inside AS SELECT n FROM generate_series(1, 1000) n');
  await server.query('CREATE TABLE beside TABLESPACE other AS SELECT n FROM generate_series(1, 2000) n');
  const receiver = await archive.receive(server);
  cleanup.push(() => receiver.kill());
  const backup = await archive.backup();
  await server.query('INSERT INTO beside SELECT n FROM generate_series(1, 40000) n');
  await archive.switchWal(server);
  await receiver.stop();
  await server.kill();

  const target = join(archive.folder, 'by-hand');
  const script = blocks('no-tool-restore.md');
  expect(script.length).toBeGreaterThan(5);
  const result = spawnSync('sh', ['-eu', '-c', script.join('\n')], {
    ...serverUser(),
    cwd: '/',
    encoding: 'utf8',
    env: {
      PATH: process.env['PATH'] ?? '',
      ARCHIVE: archive.systemFolder,
      BACKUP: backup.id,
      TARGET: target,
      WAL: `${target}-wal`,
      IDENTITY: writeIdentity(archive.folder, OPERATIONS),
    },
  });
  expect(result.stderr).toBe('');
  expect(result.status).toBe(0);

  const clone = await PostgresServer.open(16, target);
  cleanup.push(() => clone.destroy());
  await clone.start();
  await clone.recovered();
  expect(await clone.value('SELECT count(*) FROM inside')).toBe('1000');
  expect(await clone.value('SELECT count(*) FROM beside')).toBe('42000');
  expect(clone.log).toContain('restored log file');
});
