/**
 * The test that everything else is for: load, kill -9 of everything, the data directory gone, restore, and the cluster
 * is what it was.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { expectClean } from '../support/amcheck.ts';
import { TestArchive } from '../support/archive.ts';
import { later } from '../support/later.ts';
import { ledger, Writers } from '../support/load.ts';
import { MAJORS, PostgresServer } from '../support/postgres.ts';
import { MISSING, runTool, tool } from '../support/tools.ts';

/** Restores the newest state into a new folder and starts it. */
async function restored(archive: TestArchive, major: PostgresServer['major'], name: string): Promise<PostgresServer> {
  const data = join(archive.folder, name);
  await archive.run(['restore', data]);
  const server = later(await PostgresServer.open(major, data), (opened) => opened.destroy());
  await server.start();
  return server;
}

describe('the golden test', () => {
  test.each(MAJORS)(
    'PostgreSQL %i: the last acknowledged commit is there after kill -9 of everything',
    async (major) => {
      const server = later(await PostgresServer.start({ major }), (started) => started.destroy());
      const archive = later(new TestArchive(server), (made) => made.destroy());
      const receiver = later(await archive.receive(server), (started) => started.kill());
      await server.query(`ALTER SYSTEM SET synchronous_standby_names = '*'`);
      await server.query('SELECT pg_reload_conf()');
      const writers = await Writers.start(server);
      await archive.backup();
      await server.query('CREATE TABLE wide AS SELECT n, md5(n::text) AS text FROM generate_series(1, 50000) n');
      await sleep(500);

      await Promise.all([server.kill(), receiver.kill()]);
      const acknowledged = await writers.stop();
      expect(writers.total, 'the load must have run').toBeGreaterThan(100);
      rmSync(server.data, { recursive: true });

      const clone = await restored(archive, major, 'restored');
      await clone.recovered();
      const found = await ledger(clone);
      expect(found.holes).toBe(0);
      found.last.forEach((last, session) => {
        expect(last, `session ${session}`).toBeGreaterThanOrEqual(acknowledged[session] ?? 0);
      });
      expect(await clone.value('SELECT count(*) FROM wide')).toBe('50000');
      await expectClean(clone);
    },
  );

  test.skipIf(tool('pg_dumpall') === undefined)(
    `pg_dumpall before and after are equal, amcheck is clean, pg_verifybackup passes (${MISSING})`,
    async () => {
      const server = later(await PostgresServer.start({ major: 15 }), (started) => started.destroy());
      const archive = later(new TestArchive(server, { codecs: [{ use: 'gzip', level: 1 }] }), (made) => made.destroy());
      const receiver = later(await archive.receive(server), (started) => started.kill());
      await server.query(`ALTER SYSTEM SET synchronous_standby_names = '*'`);
      await server.query('SELECT pg_reload_conf()');
      runTool('pgbench', ['-i', '-q', '-s', '2', server.url()]);
      await archive.backup();
      runTool('pgbench', ['-n', '-c', '4', '-T', '3', server.url()]);
      await server.query('CREATE DATABASE second');
      await server.query('CREATE ROLE reader');
      const dump = (of: PostgresServer): string => runTool('pg_dumpall', ['--restrict-key=same', '-d', of.url()]);
      const before = dump(server);
      await Promise.all([server.kill(), receiver.kill()]);
      rmSync(server.data, { recursive: true });

      const data = join(archive.folder, 'restored');
      await archive.run(['restore', data]);
      runTool('pg_verifybackup', [data]);
      const clone = later(await PostgresServer.open(15, data), (opened) => opened.destroy());
      await clone.start();
      await clone.recovered();
      expect(dump(clone)).toBe(before);
      await expectClean(clone);
    },
  );
});
