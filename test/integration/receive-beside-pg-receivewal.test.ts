import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { TestArchive } from '../support/archive.ts';
import { pgbench, PgReceivewal } from '../support/pg-receivewal.ts';
import { PostgresServer, removeFolder } from '../support/postgres.ts';
import { Proxy } from '../support/proxy.ts';
import { flushedAll, hashes, repositoryHashes } from '../support/receiving.ts';
import { systemIdOf } from '../support/ship-wal.ts';
import { destroyStandby, promote, startStandby } from '../support/standby.ts';
import { MISSING, tool } from '../support/tools.ts';

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const undo of cleanup.splice(0).toReversed()) await undo();
});

const missing = tool('pg_receivewal') === undefined || tool('pgbench') === undefined;

describe.skipIf(missing)(`beside pg_receivewal under pgbench${missing ? ` (${MISSING})` : ''}`, () => {
  test.each([
    { megabytes: 1, scale: 1, rounds: 3 },
    { megabytes: 16, scale: 4, rounds: 2 },
    { megabytes: 64, scale: 12, rounds: 1 },
  ])(
    'the same names and bytes with $megabytes MB segments, across kill -9 of the receiver, of the server, and network cuts',
    async ({ megabytes, scale, rounds }) => {
      const server = await PostgresServer.start({ major: 15, segmentMegabytes: megabytes });
      cleanup.push(() => server.destroy());
      const systemId = await systemIdOf(server);
      await server.query(
        `SELECT pg_create_physical_replication_slot('pgark', true), pg_create_physical_replication_slot('other', true)`,
      );
      const other = PgReceivewal.start(server, 'other');
      cleanup.push(async () => {
        await other.stop();
        removeFolder(dirname(other.folder));
      });
      const proxy = await Proxy.listen({ port: server.port });
      cleanup.push(() => proxy.close());
      const archive = new TestArchive(server, {
        codecs: [],
        config: { postgres: { url: `postgres://postgres@127.0.0.1:${proxy.port}/` } },
      });
      cleanup.push(() => archive.destroy());
      let receiver = await archive.receive(server);
      cleanup.push(() => receiver.kill());

      expect(await pgbench(server, ['-i', '-s', String(scale)])).toBe(true);
      let load = pgbench(server, ['-c', '4', '-T', String(2 * rounds)]);
      let cuts = 0;
      for (let round = 0; round < rounds; round++) {
        await sleep(500);
        await receiver.kill();
        expect(receiver.ended).toBe(true);
        receiver = await archive.receive(server);
        await sleep(500);
        cuts += proxy.cut();
      }
      expect(cuts).toBeGreaterThanOrEqual(rounds);
      expect(await load).toBe(true);

      load = pgbench(server, ['-c', '4', '-T', '60']);
      await sleep(1500);
      await server.kill();
      expect(await load).toBe(false);
      await server.start();
      expect(await pgbench(server, ['-c', '4', '-t', '200'])).toBe(true);

      await server.query('SELECT pg_switch_wal()');
      await server.query('CREATE TABLE done AS SELECT 1 AS a');
      await server.query('CHECKPOINT');
      await flushedAll(server, 'other');
      await flushedAll(server);
      await other.stop();
      expect(await receiver.stop(), receiver.output).toBe(0);

      const ours = new Map([
        ...(await repositoryHashes(archive.repository, systemId)),
        ...hashes(`${archive.spool}/main/${systemId}`),
      ]);
      const theirs = hashes(other.folder);
      expect(theirs.size).toBeGreaterThan(2);
      expect([...ours.keys()].sort()).toEqual([...theirs.keys()].sort());
      expect(Object.fromEntries(ours)).toEqual(Object.fromEntries(theirs));
    },
  );

  test('the same names and bytes across a promotion under load', async () => {
    const primary = await PostgresServer.start({
      major: 15,
      segmentMegabytes: 1,
      settings: { wal_keep_size: '1GB', max_wal_size: '1GB' },
    });
    cleanup.push(() => primary.destroy());
    const systemId = await systemIdOf(primary);
    await primary.stop();
    const standby = await startStandby(primary);
    cleanup.push(() => destroyStandby(standby));
    await standby.query(
      `SELECT pg_create_physical_replication_slot('pgark', true), pg_create_physical_replication_slot('other', true)`,
    );
    const other = PgReceivewal.start(standby, 'other');
    cleanup.push(async () => {
      await other.stop();
      removeFolder(dirname(other.folder));
    });
    const archive = new TestArchive(standby, { codecs: [] });
    cleanup.push(() => archive.destroy());
    const receiver = await archive.receive(standby);
    cleanup.push(() => receiver.kill());

    expect(await pgbench(primary, ['-i', '-s', '1'])).toBe(true);
    const load = pgbench(primary, ['-c', '2', '-T', '4']);
    await sleep(2000);
    await promote(standby);
    expect(await pgbench(standby, ['-c', '2', '-T', '2'])).toBe(true);
    expect(await load, 'the old primary goes on by itself').toBe(true);
    await standby.query('SELECT pg_switch_wal()');
    await standby.query('CREATE TABLE done AS SELECT 1 AS a');
    await flushedAll(standby, 'other');
    await flushedAll(standby);
    await other.stop();
    expect(await receiver.stop(), receiver.output).toBe(0);

    const ours = new Map([
      ...(await repositoryHashes(archive.repository, systemId)),
      ...hashes(`${archive.spool}/main/${systemId}`),
    ]);
    const theirs = new Map(hashes(other.folder));
    // The end of timeline 1 is slices here and a partial file there.
    const [partial = ''] = [...theirs.keys()].filter((name) => /^00000001.*\.partial$/.test(name));
    expect(partial, 'the promotion must have cut a segment').not.toBe('');
    theirs.delete(partial);
    const segment = partial.slice(0, -'.partial'.length);
    const slices = join(archive.systemFolder, 'wal', '00000001', segment.slice(8, 16), `${segment}.tail`);
    const end = Buffer.concat(
      readdirSync(slices)
        .sort()
        .map((name) => readFileSync(join(slices, name))),
    );
    const whole = readFileSync(join(other.folder, partial));
    expect(end.length).toBeGreaterThan(0);
    expect(end.equals(whole.subarray(0, end.length))).toBe(true);
    // The zeros that fill the segment are not archived.
    expect(whole.subarray(end.length).every((byte) => byte === 0)).toBe(true);

    expect([...theirs.keys()].filter((name) => name.startsWith('00000002')).length).toBeGreaterThan(3);
    expect([...ours.keys()].sort()).toEqual([...theirs.keys()].sort());
    expect(Object.fromEntries(ours)).toEqual(Object.fromEntries(theirs));
  });
});
