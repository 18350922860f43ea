/**
 * A real archive is copied into another storage with other codecs, killed on the way, and copied again; then the first one is gone, and
 * the cluster comes back from the copy alone.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { TestArchive } from '../support/archive.ts';
import { expectClean } from '../support/amcheck.ts';
import { serverUser } from '../support/binaries.ts';
import { runCli, spawnCli, type CliResult } from '../support/cli.ts';
import { later } from '../support/later.ts';
import { giveToServer, PostgresServer } from '../support/postgres.ts';
import { flushedAll } from '../support/receiving.ts';
import { startAndPromote } from '../support/restoring.ts';
import { startFauxS3, type S3Server } from '../support/s3-server.ts';

interface CopyDocument {
  readonly finished: boolean;
  readonly backups: readonly {
    readonly id: string;
    readonly state: string;
    readonly held: number;
    readonly copied: number;
    readonly kept: number;
  }[];
  readonly wal: { readonly copied: number; readonly present: number; readonly missing: number };
  readonly failures: readonly unknown[];
}

/** Writes a config of its own beside the archive's, and gives its path. */
function config(archive: TestArchive, name: string, repositories: readonly object[]): string {
  const path = join(archive.folder, `${name}.json`);
  writeFileSync(path, JSON.stringify({ cluster: 'main', repositories, restore: { concurrency: 2 } }));
  giveToServer(path);
  return path;
}

async function run(path: string, args: readonly string[]): Promise<CliResult> {
  return runCli(['--config', path, ...args], { ...serverUser() });
}

async function json<Result>(path: string, args: readonly string[]): Promise<Result> {
  const result = await run(path, ['--json', ...args]);
  expect(result, result.stderr).toMatchObject({ code: 0 });
  return JSON.parse(result.stdout) as Result;
}

/** How many parts of backups the bucket holds. */
async function partsIn(server: S3Server): Promise<number> {
  const { Contents = [] } = await server.admin.listObjectsV2({ Bucket: 'copy' });
  return Contents.filter(({ Key = '' }) => Key.includes('.tar')).length;
}

test('a copy that was killed goes on where it was, and the cluster comes back from it with all rows', async () => {
  const s3 = later(await startFauxS3(['copy']), (started) => started.stop());
  const settings = { autovacuum: 'off' };
  const server = later(await PostgresServer.start({ major: 18, segmentMegabytes: 4, settings }), (started) =>
    started.destroy(),
  );
  const archive = later(new TestArchive(server, { receive: { tail: '1s' } }), (made) => made.destroy());
  const receiver = await archive.receive(server);
  await server.query(`CREATE TABLE rows AS SELECT n, md5(n::text) AS text FROM generate_series(1, 20000) n`);
  const { id } = await archive.backup(['--part-size', '1MiB']);
  await server.query('INSERT INTO rows SELECT n, md5(n::text) FROM generate_series(20001, 40000) n');
  await archive.switchWal(server);
  // These are in a segment that never becomes whole.
  await server.query('INSERT INTO rows SELECT n, md5(n::text) FROM generate_series(40001, 40010) n');
  await flushedAll(server);
  expect(await receiver.stop(), receiver.output).toBe(0);
  await server.kill();
  rmSync(server.data, { recursive: true });

  const near = {
    name: 'near',
    storage: { use: 'fs', path: archive.repository },
    codecs: [{ use: 'zstd', level: 1 }],
  };
  const { endpoint, accessKeyId, secretAccessKey } = s3;
  const far = {
    name: 'far',
    storage: { use: 's3', bucket: 'copy', endpoint, accessKeyId, secretAccessKey },
    codecs: [{ use: 'gzip', level: 1 }],
  };
  const both = config(archive, 'both', [near, far]);
  const slow = config(archive, 'slow', [near, { ...far, maxUploadRate: '2MiB' }]);
  const only = config(archive, 'only', [far]);

  // Killed while parts are on their way.
  const killed = spawnCli(['--config', slow, 'copy', '--to', 'far'], { ...serverUser() });
  for (const deadline = Date.now() + 60_000; (await partsIn(s3)) < 2; await sleep(20)) {
    if (killed.child.exitCode !== null || Date.now() > deadline)
      throw new Error(`no two parts came:\n${killed.stdout()}${killed.stderr()}`);
  }
  killed.kill('SIGKILL');
  expect((await killed.ended).signal).toBe('SIGKILL');
  const left = await partsIn(s3);

  // It has no record there, so it is none.
  const plan = await json<CopyDocument>(both, ['copy', '--from', 'near', '--plan']);
  expect(plan.backups).toMatchObject([{ id, state: 'resume' }]);
  // The server may have finished what it had got whole.
  const held = plan.backups[0]?.held ?? 0;
  expect(held).toBeGreaterThanOrEqual(left);
  expect(plan.wal.missing).toBeGreaterThan(0);

  const again = await json<CopyDocument>(both, ['copy', '--from', 'near', '--to', 'far']);
  expect(again).toMatchObject({ finished: true, backups: [{ id, state: 'copied', kept: held }], failures: [] });
  expect(again.backups[0]?.copied).toBeGreaterThan(0);
  expect(again.wal).toMatchObject({ copied: plan.wal.missing, present: plan.wal.present });

  // All that was local is gone.
  rmSync(archive.repository, { recursive: true });
  rmSync(archive.spool, { recursive: true });
  const data = join(archive.folder, 'restored');
  const restored = await run(only, ['restore', '--no-sync', '--no-try-command', data]);
  expect(restored, restored.stderr).toMatchObject({ code: 0 });
  const clone = later(await PostgresServer.open(18, data), (opened) => opened.destroy());
  await startAndPromote(clone);
  expect(await clone.value('SELECT count(*) FROM rows WHERE text = md5(n::text)')).toBe('40010');
  await expectClean(clone);
});
