/**
 * A storage over the network goes away while WAL streams, by refusing connections and by saying nothing more: commits go on, nothing is
 * lost, memory stays flat, and the archive catches up by itself. `PGARK_TEST_OUTAGE` is the length of each outage in seconds.
 */
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { TestArchive } from '../support/archive.ts';
import { ledger, Writers } from '../support/load.ts';
import { PostgresServer } from '../support/postgres.ts';
import { Proxy } from '../support/proxy.ts';
import { flushedAll } from '../support/receiving.ts';
import { startFauxS3 } from '../support/s3-server.ts';

const SECONDS = Number(process.env['PGARK_TEST_OUTAGE'] ?? 6);

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const undo of cleanup.splice(0).toReversed()) await undo();
});

function later<Resource>(resource: Resource, undo: (resource: Resource) => unknown): Resource {
  cleanup.push(() => undo(resource));
  return resource;
}

/** Resident memory of a process, bytes. */
function memoryOf(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;
}

/** Whole segments that wait in the spool. */
function waiting(archive: TestArchive): number {
  const [systemId = ''] = readdirSync(join(archive.spool, 'main')).filter((name) => /^\d+$/.test(name));
  return readdirSync(join(archive.spool, 'main', systemId)).filter((name) => /^[0-9A-F]{24}$/.test(name)).length;
}

test(
  `H-54 an object storage is away for ${SECONDS} s, twice, while WAL streams`,
  async () => {
    const s3 = later(await startFauxS3(['archive']), (server) => server.stop());
    const proxy = later(await Proxy.listen({ port: s3.port }), (made) => made.close());
    const server = later(await PostgresServer.start({ major: 17, segmentMegabytes: 1 }), (started) =>
      started.destroy(),
    );
    const storage = {
      use: 's3',
      bucket: 'archive',
      endpoint: `http://127.0.0.1:${proxy.port}`,
      accessKeyId: s3.accessKeyId,
      secretAccessKey: s3.secretAccessKey,
      connectTimeout: '2s',
      idleTimeout: '2s',
    };
    const repositories = [{ storage, codecs: [{ use: 'zstd', level: 1 }] }];
    const archive = later(new TestArchive(server, { config: { repositories } }), (made) => made.destroy());
    const receiver = later(await archive.receive(server), (started) => started.kill());
    await archive.backup();
    await server.query(`ALTER SYSTEM SET synchronous_standby_names = '*'`);
    await server.query('SELECT pg_reload_conf()');
    const writers = await Writers.start(server, 8);
    await sleep(2000);
    for (const how of ['refuses', 'says nothing'] as const) {
      await expect.poll(() => waiting(archive), { timeout: 60_000 }).toBeLessThan(3);
      const [before, memory] = [writers.total, memoryOf(receiver.cli.pid)];
      if (how === 'refuses') proxy.cut({ refuse: true });
      else proxy.stall();
      await sleep(SECONDS * 1000);
      expect(waiting(archive), `segments that wait while it ${how}`).toBeGreaterThan(0);
      expect(writers.total - before, `commits while it ${how}`).toBeGreaterThan(SECONDS * 50);
      expect(memoryOf(receiver.cli.pid) - memory, `memory while it ${how}`).toBeLessThan(64 * 1024 * 1024);
      console.log(
        `${how} for ${SECONDS} s: ${writers.total - before} commits, ${waiting(archive)} segments wait, ` +
          `memory ${(memory / 1e6).toFixed(0)} -> ${(memoryOf(receiver.cli.pid) / 1e6).toFixed(0)} MB`,
      );
      if (how === 'says nothing') proxy.cut();
      proxy.resume();
    }
    const acknowledged = await writers.stop();
    await server.query('SELECT pg_switch_wal()');
    await flushedAll(server);
    await expect.poll(() => waiting(archive), { timeout: 60_000 }).toBe(0);
    expect(await receiver.stop(), receiver.output).toBe(0);
    await server.kill();
    rmSync(server.data, { recursive: true });
    rmSync(archive.spool, { recursive: true });

    const data = join(archive.folder, 'restored');
    await archive.run(['restore', data]);
    const clone = later(await PostgresServer.open(17, data), (opened) => opened.destroy());
    await clone.start();
    await clone.recovered();
    const found = await ledger(clone);
    expect(found.holes).toBe(0);
    expect(found.last).toEqual(acknowledged);
  },
  240_000 + SECONDS * 3000,
);
