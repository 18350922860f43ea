import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { TestArchive } from '../support/archive.ts';
import { pgbench, PgReceivewal } from '../support/pg-receivewal.ts';
import { PostgresServer, removeFolder } from '../support/postgres.ts';
import { Proxy } from '../support/proxy.ts';
import { flushedAll, hashes, repositoryHashes } from '../support/receiving.ts';
import { systemIdOf } from '../support/ship-wal.ts';
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
});
