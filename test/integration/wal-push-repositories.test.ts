/** `archive_command` with several repositories, PostgreSQL as the archiver. */
import { existsSync, mkdirSync, readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { TestArchive } from '../support/archive.ts';
import { serverUser } from '../support/binaries.ts';
import { runCli } from '../support/cli.ts';
import { giveToServer, PostgresServer } from '../support/postgres.ts';
import { archiveCommand } from '../support/restoring.ts';

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const undo of cleanup.splice(0).toReversed()) await undo();
});

const SOON = { timeout: 60_000, interval: 50 };

async function archiver(server: PostgresServer): Promise<{ archived: string; failures: number; failed: string }> {
  const [row] = await server.query<Record<string, string | null>>('SELECT * FROM pg_stat_archiver');
  return {
    archived: row?.['last_archived_wal'] ?? '',
    failures: Number(row?.['failed_count']),
    failed: row?.['last_failed_wal'] ?? '',
  };
}

/** Names of the whole segments below a repository, in order. */
function segmentsIn(folder: string): readonly string[] {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return names.flatMap((name) => /([0-9A-F]{24})-[0-9a-f]{32}/.exec(name)?.[1] ?? []).toSorted();
}

/** Ends the present segment with something in it; gives its name. */
async function switchWal(server: PostgresServer): Promise<string> {
  await server.query(`SELECT pg_logical_emit_message(false, 'test', '')`);
  return server.value('SELECT pg_walfile_name(pg_switch_wal())');
}

test('one repository is away: the other gets every segment although the archiver stands at the first; once it is back nothing is missing', async () => {
  const server = await PostgresServer.create({ major: 17, segmentMegabytes: 1, settings: { autovacuum: 'off' } });
  cleanup.push(() => server.destroy());
  // Paths are relative to the folder of the config.
  const repositories = [
    { name: 'a', storage: { use: 'fs', path: 'a' }, codecs: [{ use: 'zstd', level: 1 }] },
    { name: 'b', storage: { use: 'fs', path: 'b' } },
  ];
  const archive = new TestArchive(server, { config: { repositories } });
  cleanup.push(() => {
    archive.destroy();
  });
  const [a, b, away] = ['a', 'b', 'away'].map((name) => join(archive.folder, name)) as [string, string, string];
  for (const folder of [a, b]) {
    mkdirSync(folder);
    giveToServer(folder);
  }
  server.configure({ archive_mode: 'on', archive_command: archiveCommand(archive) });
  await server.start();
  const backup = await archive.json<{ repositories: unknown }>(['backup', '--create', '--checkpoint', 'fast']); // makes both
  expect(backup.repositories).toMatchObject([
    { name: 'a', state: 'complete' },
    { name: 'b', state: 'complete' },
  ]);
  const waiting = (): readonly string[] =>
    readdirSync(join(server.data, 'pg_wal', 'archive_status')).filter((name) => name.endsWith('.ready'));
  await expect.poll(waiting, SOON).toEqual([]);

  renameSync(b, away);
  const names: string[] = [];
  for (let round = 0; round < 5; round++) names.push(await switchWal(server));
  const [first = ''] = names;
  await expect.poll(() => segmentsIn(a), SOON).toEqual(expect.arrayContaining(names));
  await expect.poll(async () => (await archiver(server)).failed, SOON).toBe(first);
  const stuck = await archiver(server);
  expect(stuck.failures).toBeGreaterThan(0);
  expect(stuck.archived < first).toBe(true);
  expect(waiting()).toEqual(expect.arrayContaining(names.map((name) => `${name}.ready`)));
  expect(existsSync(b)).toBe(false);

  // What the archiver sees of it.
  const args = ['--config', archive.config, '--json', 'wal-push', `pg_wal/${first}`, first];
  const pushed = await runCli(args, { ...serverUser(), cwd: server.data });
  expect(pushed.code).toBe(2);
  expect(JSON.parse(pushed.stdout)).toMatchObject({
    name: first,
    repositories: [
      { name: 'a', outcome: 'present' },
      { name: 'b', code: expect.any(String) as string },
    ],
  });
  expect(pushed.stderr).toContain('REPOSITORY_BEHIND');
  expect(pushed.stderr).toContain('repository b');

  renameSync(away, b);
  names.push(await switchWal(server)); // which also wakes the archiver
  await expect.poll(async () => (await archiver(server)).archived, SOON).toBe(names.at(-1));
  expect(segmentsIn(b)).toEqual(expect.arrayContaining(names));
  expect(waiting()).toEqual([]);
  expect(segmentsIn(b)).toEqual(segmentsIn(a));
});
