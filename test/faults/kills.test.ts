/**
 * Random kills of server and receiver with pgark as the synchronous standby: after each one the data directory is thrown
 * away and restored from the archive and the spool, and the load goes on there, timeline after timeline.
 * `PGARK_TEST_KILLS` sets how many, `PGARK_TEST_SEED` replays.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, test } from 'vitest';
import { TestArchive, type Receiver } from '../support/archive.ts';
import { ledger, Writers } from '../support/load.ts';
import { PostgresServer, removeFolder } from '../support/postgres.ts';
import { randomFrom } from '../support/random.ts';

const KILLS = Number(process.env['PGARK_TEST_KILLS'] ?? 3);
const SEED = Number(process.env['PGARK_TEST_SEED'] ?? Date.now() % 1_000_000);

let server: PostgresServer | undefined;
let archive: TestArchive | undefined;
let receiver: Receiver | undefined;
afterAll(async () => {
  await receiver?.kill();
  await server?.destroy();
  archive?.destroy();
});

test(
  `no acknowledged commit is lost over ${KILLS} random kills (seed ${SEED})`,
  async () => {
    console.log(`seed ${SEED}`);
    const random = randomFrom(SEED);
    server = await PostgresServer.start({ major: 17, segmentMegabytes: 1, settings: { max_wal_size: '64MB' } });
    archive = new TestArchive(server);
    receiver = await archive.receive(server);
    await archive.backup();
    let commits = 0;
    for (let kill = 1; kill <= KILLS; kill++) {
      await server.query(`ALTER SYSTEM SET synchronous_standby_names = '*'`);
      await server.query('SELECT pg_reload_conf()');
      const writers = await Writers.start(server);
      const before = writers.total;
      await sleep(200 + random() * 800);
      // Sometimes the receiver goes first and sessions hang in their commit, sometimes the server, sometimes both at once.
      const order = random();
      if (order < 0.3) await receiver.kill();
      await sleep(order < 0.6 ? random() * 100 : 0);
      await Promise.all([server.kill(), order < 0.7 ? receiver.kill() : Promise.resolve()]);
      const acknowledged = await writers.stop();
      commits += writers.total - before;
      expect(writers.total, `load before kill ${kill}`).toBeGreaterThan(before);
      await receiver.stop();

      const dead = server;
      const data = join(archive.folder, `restored-${kill}`);
      await archive.run(['restore', data]);
      server = await PostgresServer.open(17, data);
      removeFolder(dead.data);
      removeFolder(dead.folder);
      await server.start();
      await server.recovered();
      const found = await ledger(server);
      expect(found.holes, `holes after kill ${kill}`).toBe(0);
      found.last.forEach((last, session) => {
        expect(last, `session ${session} after kill ${kill}`).toBeGreaterThanOrEqual(acknowledged[session] ?? 0);
      });
      await server.query(`ALTER SYSTEM SET synchronous_standby_names = ''`);
      await server.query('SELECT pg_reload_conf()');
      archive.connectTo(server);
      receiver = await archive.receive(server);
      // Or each restore replays all that was ever written.
      if (kill % 4 === 0) await archive.backup();
    }
    console.log(`${commits} commits acknowledged over ${KILLS} kills, none lost`);
  },
  60_000 + KILLS * 30_000,
);
