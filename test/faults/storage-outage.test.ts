/**
 * A storage over the network goes away, by refusing connections and by saying nothing more. While WAL streams commits go on, nothing is
 * lost, memory stays flat, and the archive catches up by itself; in the middle of a backup the server waits, and the backup goes on
 * where it was. `PGARK_TEST_OUTAGE` is the length of each outage in seconds.
 */
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { TestArchive } from '../support/archive.ts';
import { serverUser } from '../support/binaries.ts';
import { spawnCli } from '../support/cli.ts';
import { later } from '../support/later.ts';
import { ledger, Writers } from '../support/load.ts';
import { giveToServer, PostgresServer } from '../support/postgres.ts';
import { Proxy } from '../support/proxy.ts';
import { flushedAll } from '../support/receiving.ts';
import { restoredAlone } from '../support/restoring.ts';
import { startFauxS3, type S3Server } from '../support/s3-server.ts';

const SECONDS = Number(process.env['PGARK_TEST_OUTAGE'] ?? 6);

/** A recovery starts a process for each segment: after minutes of load there would be a thousand of 1 MB. */
const SEGMENT_MEGABYTES = SECONDS > 30 ? 16 : 1;

/** Resident memory of a process, bytes. */
function memoryOf(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;
}

/** The config of a storage that is reached through a proxy. */
async function behindProxy(): Promise<{ s3: S3Server; proxy: Proxy; storage: object }> {
  const s3 = later(await startFauxS3(['archive']), (server) => server.stop());
  const proxy = later(await Proxy.listen({ port: s3.port }), (made) => made.close());
  const storage = {
    use: 's3',
    bucket: 'archive',
    endpoint: `http://127.0.0.1:${proxy.port}`,
    accessKeyId: s3.accessKeyId,
    secretAccessKey: s3.secretAccessKey,
    connectTimeout: '2s',
    idleTimeout: '2s',
  };
  return { s3, proxy, storage };
}

/** Whole segments that wait in the spool. */
function waiting(archive: TestArchive): number {
  const [systemId = ''] = readdirSync(join(archive.spool, 'main')).filter((name) => /^\d+$/.test(name));
  return readdirSync(join(archive.spool, 'main', systemId)).filter((name) => /^[0-9A-F]{24}$/.test(name)).length;
}

test(
  `H-54 an object storage is away for ${SECONDS} s, twice, while WAL streams`,
  async () => {
    const { proxy, storage } = await behindProxy();
    const server = later(await PostgresServer.start({ major: 17, segmentMegabytes: SEGMENT_MEGABYTES }), (started) =>
      started.destroy(),
    );
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
    const clone = await restoredAlone(archive, server);
    const found = await ledger(clone);
    expect(found.holes).toBe(0);
    expect(found.last).toEqual(acknowledged);
  },
  240_000 + SECONDS * 3000,
);

test(
  `H-54 an object storage is away for ${SECONDS} s, twice, in the middle of a backup`,
  async () => {
    const { s3, proxy, storage } = await behindProxy();
    const server = later(await PostgresServer.start({ major: 17, segmentMegabytes: 1 }), (started) =>
      started.destroy(),
    );
    // Files that the server knows nothing of are copied too; random ones stay large when they are compressed.
    const files = Array.from({ length: 14 }, (_, at) => ({ name: `ballast-${at}`, bytes: randomBytes(16 << 20) }));
    for (const { name, bytes } of files) {
      writeFileSync(join(server.data, name), bytes);
      giveToServer(join(server.data, name));
    }
    const parts = { ...storage, singlePut: '5MiB', partSize: '5MiB', parallelParts: 1 };
    const repositories = [{ storage: parts, codecs: [{ use: 'zstd', level: 1 }] }];
    const archive = later(new TestArchive(server, { config: { repositories } }), (made) => made.destroy());
    const receiver = later(await archive.receive(server), (started) => started.kill());

    const flags = ['backup', '--json', '--checkpoint', 'fast', '--part-size', '64MiB', '--max-rate', '16MB'];
    const backup = spawnCli(['--config', archive.config, ...flags], { ...serverUser() });
    later(backup, (started) => started.kill('SIGKILL'));
    const sent = async (): Promise<number> => {
      const { Uploads = [] } = await s3.admin.listMultipartUploads({ Bucket: 'archive' });
      let bytes = 0;
      for (const { Key = '', UploadId = '' } of Uploads) {
        const { Parts = [] } = await s3.admin.listParts({ Bucket: 'archive', Key, UploadId });
        for (const { Size = 0 } of Parts) bytes += Size;
      }
      const { Contents = [] } = await s3.admin.listObjectsV2({ Bucket: 'archive' });
      return Contents.reduce((total, { Key = '', Size = 0 }) => total + (Key.includes('/backups/') ? Size : 0), bytes);
    };
    const streamed = async (): Promise<number> =>
      Number(await server.value('SELECT backup_streamed FROM pg_stat_progress_basebackup'));

    let least = 40 << 20;
    for (const how of ['refuses', 'says nothing'] as const) {
      const isThere = async (): Promise<boolean> => (await streamed()) > least && (await sent()) > 0;
      await expect.poll(isThere, { timeout: 60_000, interval: 50 }).toBe(true);
      if (how === 'refuses') proxy.cut({ refuse: true });
      else proxy.stall();
      const since = Date.now();
      const memory = memoryOf(backup.pid);
      let most = memory;
      await sleep(500); // what had reached the server is put away
      const arrived = await sent();
      let held = 0;
      while (Date.now() - since < SECONDS * 1000) {
        await sleep(200);
        most = Math.max(most, memoryOf(backup.pid));
        if (held === 0 && Date.now() - since > SECONDS * 600) held = await streamed();
      }
      const taken = await streamed();
      expect(arrived, `bytes that had arrived before it ${how}`).toBeGreaterThan(0);
      expect(await sent(), `bytes that arrived while it ${how}`).toBe(arrived);
      expect(taken - held, `bytes of the server while it ${how}`).toBeLessThan(4 << 20);
      expect(most - memory, `memory while it ${how}`).toBeLessThan(64 << 20);
      console.log(
        `${how} for ${SECONDS} s with ${(arrived / 1e6).toFixed(0)} MB sent: the server waits at ${(taken / 1e6).toFixed(0)} MB, ` +
          `memory ${(memory / 1e6).toFixed(0)} -> at most ${(most / 1e6).toFixed(0)} MB`,
      );
      if (how === 'says nothing') proxy.cut();
      proxy.resume();
      least = taken + (30 << 20);
    }
    const result = await backup.ended;
    expect(result.code, result.stderr).toBe(0);
    // Whichever request of an upload was on its way: begin, part, completion.
    expect(result.stderr).toMatch(/trying again: put [^ ]*\/base\/\d{4}\.tar\.zst: \w+/);
    expect((await s3.admin.listMultipartUploads({ Bucket: 'archive' })).Uploads ?? []).toEqual([]);
    expect(await receiver.stop(), receiver.output).toBe(0);
    await server.kill();

    const data = join(archive.folder, 'restored');
    await archive.run(['restore', data]);
    const clone = later(await PostgresServer.open(17, data), (opened) => opened.destroy());
    await clone.start();
    await clone.recovered();
    for (const { name, bytes } of files) expect(readFileSync(join(data, name)).equals(bytes), name).toBe(true);
  },
  240_000 + SECONDS * 3000,
);
