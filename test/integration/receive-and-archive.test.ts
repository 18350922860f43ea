/** The receiver and `archive_command` of the server fill one archive. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { TestArchive } from '../support/archive.ts';
import { PostgresServer } from '../support/postgres.ts';
import { Proxy } from '../support/proxy.ts';
import { flushedAll } from '../support/receiving.ts';
import { archiveCommand, restored, startAndPromote } from '../support/restoring.ts';
import { caughtUp, destroyStandby, promote, startStandby } from '../support/standby.ts';
import { until } from '../support/until.ts';

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const undo of cleanup.splice(0).toReversed()) await undo();
});

test('H-22 after a promotion the name of the partial segment is PostgreSQL’s: its archiver goes on, and both ends are kept', async () => {
  const primary = await PostgresServer.create({
    major: 16,
    segmentMegabytes: 1,
    settings: { wal_keep_size: '500MB', wal_retrieve_retry_interval: '200ms' },
  });
  cleanup.push(() => primary.destroy());
  primary.configure({ archive_mode: 'on', archive_command: '' });
  const standby = await startStandby(primary);
  cleanup.push(() => destroyStandby(standby));
  const proxy = await Proxy.listen({ port: primary.port });
  cleanup.push(() => proxy.close());
  await standby.stop();
  standby.configure({ primary_conninfo: `host=127.0.0.1 port=${proxy.port} user=postgres` });
  await standby.start();
  const archive = new TestArchive(primary, {
    codecs: [],
    config: {
      postgres: {
        url: `postgres://postgres@127.0.0.1:${primary.port},127.0.0.1:${standby.port}/?target_session_attrs=primary`,
      },
    },
  });
  cleanup.push(() => archive.destroy());
  const receiver = await archive.receive(primary);
  cleanup.push(() => receiver.kill());
  await archive.backup();
  await primary.query('CREATE TABLE t AS SELECT 1 AS n');
  await caughtUp(primary, standby);
  // The receiver alone gets this: the ends of the timeline differ.
  proxy.cut({ refuse: true });
  await primary.query('INSERT INTO t VALUES (2)');
  await flushedAll(primary);
  await primary.kill();
  await promote(standby);
  await standby.query('INSERT INTO t VALUES (3)');
  await flushedAll(standby);
  await until('shipping of the end of timeline 1', () =>
    readdirSync(join(archive.spool, 'main', archive.systemFolder.split('/').at(-1) ?? '')).every(
      (name) => !/^00000001.*partial$/.test(name),
    ),
  );
  const wanted = readdirSync(join(standby.data, 'pg_wal/archive_status'));
  const partial = wanted.find((name) => name.endsWith('.partial.ready'))?.replace('.ready', '') ?? '';
  expect(partial).not.toBe('');

  await standby.query(`ALTER SYSTEM SET archive_command = '${archiveCommand(archive)}'`);
  await standby.query('SELECT pg_reload_conf()');
  const name = await archive.switchWal(standby);
  expect(name.startsWith('00000002')).toBe(true);
  await until('archiving', async () =>
    (await standby.value('SELECT last_archived_wal FROM pg_stat_archiver')).startsWith(name),
  );
  expect(archive.holds(partial)).toBe(true);
  expect(archive.holds('00000002.history')).toBe(true);
  await receiver.stop();

  // What only the receiver had of timeline 1 lies beside it, and a restore along that timeline finds it.
  const old = await restored(archive, 16, 'old', ['--target-timeline', '1']);
  cleanup.push(() => old.destroy());
  await startAndPromote(old);
  expect(await old.value(`SELECT string_agg(n::text, ' ' ORDER BY n) FROM t`)).toBe('1 2');
});
