import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { ArchiveError } from '../../core/src/contracts/errors.ts';
import { fill } from '../support/fill.ts';
import { TestArchive } from '../support/archive.ts';
import { runCli } from '../support/cli.ts';
import { Writers } from '../support/load.ts';
import { PostgresServer, type InitOptions } from '../support/postgres.ts';
import { Proxy } from '../support/proxy.ts';
import { flushedAll, hashes, Receiving, withPut } from '../support/receiving.ts';
import { systemIdOf } from '../support/ship-wal.ts';
import { until } from '../support/until.ts';

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const undo of cleanup.splice(0).toReversed()) await undo();
});

async function start(options: InitOptions = {}): Promise<PostgresServer> {
  const server = await PostgresServer.start({ segmentMegabytes: 1, settings: { wal_keep_size: '500MB' }, ...options });
  cleanup.push(() => server.destroy());
  return server;
}

function receiving(options: ConstructorParameters<typeof Receiving>[0] = {}): Receiving {
  const made = new Receiving(options);
  cleanup.push(() => made.destroy());
  return made;
}

async function proxyTo(target: { port: number }): Promise<Proxy> {
  const proxy = await Proxy.listen(target);
  cleanup.push(() => proxy.close());
  return proxy;
}

/** What was archived equals what the server has. */
async function expectEqual(receiver: Receiving, server: PostgresServer, atLeast: number): Promise<void> {
  const archived = await receiver.archived(await systemIdOf(server));
  const theirs = hashes(join(server.data, 'pg_wal'), /^[0-9A-F]{24}$/);
  expect(archived.size).toBeGreaterThanOrEqual(atLeast);
  for (const [name, hash] of archived) expect(theirs.get(name), name).toBe(hash);
}

test('H-03 a fast shutdown of the primary ends at once, without a storm of messages', async () => {
  const server = await start();
  const proxy = await proxyTo(server);
  const receiver = receiving();
  await receiver.stream(proxy.port);
  const writers = await Writers.start(server, 2);
  while (writers.total < 500) await sleep(10);
  const received = proxy.received;
  await server.stop('fast');
  await writers.stop();
  // Some kilobytes of WAL; a storm is megabytes of keepalives of 26 bytes.
  expect(proxy.received - received).toBeLessThan(500_000);
  await receiver.waitFor('receive.disconnected');
  const before = receiver.events.length;
  await server.start();
  await receiver.waitFor('receive.connected', undefined, before);
});

test('H-03 with remote acknowledgement a fast shutdown waits for the storage, quietly, and ends when it has confirmed', async () => {
  const server = await start();
  const proxy = await proxyTo(server);
  const gate = { closed: false };
  const receiver = receiving({
    config: { ack: 'remote', tail: 60_000 },
    storage: (storage) =>
      withPut(storage, async (key, body, options) => {
        while (gate.closed) await sleep(10);
        await storage.put(key, body, options);
      }),
  });
  await receiver.stream(proxy.port);
  await server.query('CREATE TABLE t AS SELECT generate_series(1, 1000) AS a');
  gate.closed = true;
  await server.query('INSERT INTO t VALUES (1)');
  // What was written before the shutdown does not count.
  await until('the WAL so far has passed', async () => {
    const before = proxy.received;
    await sleep(300);
    const sent = await server.value(`SELECT bool_and(sent_lsn >= pg_current_wal_flush_lsn()) FROM pg_stat_replication`);
    return sent === 'true' && proxy.received === before;
  });
  const received = proxy.received;
  let stopped = false;
  const stop = server.stop('fast').then(() => (stopped = true));
  await sleep(3000);
  expect(stopped).toBe(false);
  // A shutdown checkpoint, and a handful of requests and answers in three seconds.
  expect(proxy.received - received).toBeLessThan(100_000);
  gate.closed = false;
  await stop;
  expect(stopped).toBe(true);
});

test('H-13 H-04 the storage is down: receiving goes on, nothing leaves the spool, one message per outage; then everything is shipped', async () => {
  const server = await start();
  const systemId = await systemIdOf(server);
  const outage = { on: false, failed: 0 };
  const receiver = receiving({
    storage: (storage) =>
      withPut(storage, async (key, body, options) => {
        if (outage.on) {
          outage.failed += 1;
          throw new ArchiveError('STORAGE_UNAVAILABLE', 'the storage is down');
        }
        await storage.put(key, body, options);
      }),
  });
  await receiver.stream(server.port);
  await fill(server, 2);
  await receiver.shipped(systemId);
  const before = (await receiver.archived(systemId)).size;
  outage.on = true;
  await fill(server, 6);
  await flushedAll(server);
  await sleep(500);
  expect(outage.failed).toBeGreaterThan(3);
  expect((await receiver.archived(systemId)).size).toBe(before);
  expect([...receiver.spooled(systemId).keys()].filter((name) => !name.endsWith('.partial'))).toHaveLength(6);
  expect(receiver.events.filter(({ name }) => name === 'wal.ship_failed')).toHaveLength(1);

  // A restart during the outage changes nothing: what the spool holds is shipped by the next run.
  const { unshipped } = await receiver.stop();
  expect(unshipped).toBe(6);
  outage.on = false;
  await receiver.stream(server.port);
  await fill(server, 1);
  await flushedAll(server);
  await receiver.shipped(systemId);
  await receiver.stop();
  await expectEqual(receiver, server, before + 7);
});

test('an error that only the operator can mend is a state; shipping goes on by itself once it is mended', async () => {
  const server = await start();
  const systemId = await systemIdOf(server);
  const denied = { on: true };
  const receiver = receiving({
    storage: (storage) =>
      withPut(storage, async (key, body, options) => {
        if (denied.on && key.includes('/wal/')) throw new ArchiveError('STORAGE_DENIED', 'no permission to put');
        await storage.put(key, body, options);
      }),
  });
  await receiver.stream(server.port);
  await fill(server, 2);
  await receiver.waitFor('wal.state', ({ state }) => state === 'STORAGE_DENIED');
  await flushedAll(server);
  denied.on = false;
  const { unshipped } = await receiver.stop();
  expect(unshipped).toBe(0);
  expect((await receiver.archived(systemId)).size).toBeGreaterThan(1);
});

test('an empty folder in the place of the repository, such as that of a disk that is not mounted, is REPOSITORY_CHANGED: nothing leaves the spool', async () => {
  const server = await start();
  const systemId = await systemIdOf(server);
  const receiver = receiving();
  await receiver.stream(server.port);
  await fill(server, 2);
  await flushedAll(server);
  await receiver.shipped(systemId);
  const folder = join(receiver.folder, 'repository');
  renameSync(folder, `${folder}.mounted`);
  mkdirSync(folder);
  await fill(server, 2);
  // The storage itself has noticed in this run.
  await receiver.waitFor('wal.state', ({ state }) => ['STORAGE_MISCONFIGURED', 'REPOSITORY_CHANGED'].includes(state));
  await flushedAll(server);
  expect((await receiver.stop()).unshipped).toBe(2);

  // A new start does not take it for a new repository either.
  await receiver.start(server.port);
  await receiver.waitFor('wal.state', ({ state }) => state === 'REPOSITORY_CHANGED');
  expect((await receiver.stop()).unshipped).toBe(2);
  expect(readdirSync(folder).filter((name) => !name.startsWith('.'))).toEqual([]);
  rmSync(folder, { recursive: true });
  renameSync(`${folder}.mounted`, folder);
  await receiver.stream(server.port);
  expect((await receiver.stop()).unshipped).toBe(0);
  await expectEqual(receiver, server, 4);
});

test('H-22 another content under the name of a segment is WAL_CONFLICT: loud, the old object stays, nothing leaves the spool', async () => {
  const server = await start();
  const systemId = await systemIdOf(server);
  const receiver = receiving();
  await receiver.repository.open({ create: true });
  await receiver.stream(server.port);
  const name = await server.value('SELECT pg_walfile_name(pg_current_wal_insert_lsn())');
  await receiver.repository.wal(systemId).push(name, { bytes: Buffer.from('of another server') });
  await fill(server, 3);
  await receiver.waitFor('wal.conflict', ({ file }) => file === name);
  await receiver.waitFor('wal.state', ({ state }) => state === 'WAL_CONFLICT');
  await flushedAll(server);
  const { unshipped } = await receiver.stop();
  expect(unshipped).toBeGreaterThan(0);
  expect([...receiver.spooled(systemId).keys()]).toContain(name);
});

test('H-07 another system behind the same address on a reconnect: SYSTEM_MISMATCH, and not a byte of its WAL', async () => {
  const [first, second] = [await start(), await start()];
  const target = { port: first.port };
  const proxy = await proxyTo(target);
  const receiver = receiving();
  await receiver.stream(proxy.port);
  await fill(first, 2);
  await flushedAll(first);
  target.port = second.port;
  expect(proxy.cut()).toBeGreaterThan(0);
  const failure = await receiver.failure();
  expect({ code: failure.code, exitCode: failure.exitCode }).toEqual({ code: 'SYSTEM_MISMATCH', exitCode: 4 });
  expect(readdirSync(join(receiver.spool, 'main')).filter((name) => /^[0-9]+$/.test(name))).toEqual([
    await systemIdOf(first),
  ]);
  expect(await receiver.archived(await systemIdOf(second))).toEqual(new Map());
  expect(await second.value('SELECT count(*) FROM pg_replication_slots')).toBe('0');

  // At a start too: WAL of the first system waits in the spool.
  await receiver.start(second.port);
  expect((await receiver.failure()).code).toBe('SYSTEM_MISMATCH');
  rmSync(join(receiver.spool, 'main'), { recursive: true });
  await receiver.stream(second.port);
  await receiver.stop();
});

test('H-09 a slot that another receiver uses is the state standing-by; it is taken over when it is free', async () => {
  const server = await start();
  const [first, second] = [receiving(), receiving()];
  await first.stream(server.port);
  await second.start(server.port);
  await second.waitFor('wal.state', ({ state }) => state === 'standing-by');
  await sleep(5000); // several tries
  expect(second.states.filter((state) => state === 'standing-by')).toHaveLength(1);
  await first.stop();
  await second.waitFor('wal.state', ({ state }) => state === 'streaming', 0, 60);
});

test('two receivers on one spool: the second is refused and names the first, which it takes over from when that was killed', async () => {
  const server = await start();
  const archive = new TestArchive(server, { codecs: [] });
  cleanup.push(() => archive.destroy());
  const first = await archive.receive(server);
  const refused = await runCli(['--config', archive.config, 'receive']);
  expect(refused.code).toBe(2);
  expect(refused.stderr).toContain(`process ${first.cli.pid} uses the spool`);
  await first.kill();
  const second = await archive.receive(server);
  expect(await second.stop()).toBe(0);
});

/** Mounts a disk of six megabytes; false where this user may not. */
function mountSmallDisk(folder: string): boolean {
  mkdirSync(folder, { recursive: true });
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', folder]);
  if (status === 0) cleanup.push(() => spawnSync('umount', ['-l', folder]));
  return status === 0;
}

test('H-13 the disk of the spool is full: nothing is acknowledged that is not durable, and receiving goes on when there is space', async (context) => {
  const server = await start();
  const systemId = await systemIdOf(server);
  const outage = { on: true };
  const receiver = receiving({
    storage: (storage) =>
      withPut(storage, async (key, body, options) => {
        if (outage.on && key.includes('/wal/')) throw new ArchiveError('STORAGE_UNAVAILABLE', 'the storage is down');
        await storage.put(key, body, options);
      }),
  });
  if (!mountSmallDisk(receiver.spool)) return context.skip('needs the right to mount a small disk');
  await receiver.stream(server.port);
  await fill(server, 10);
  await receiver.waitFor('wal.state', ({ state }) => state === 'SPOOL_FULL');
  const held = [...receiver.spooled(systemId).keys()].filter((name) => !name.endsWith('.partial'));
  expect(held.length).toBeLessThan(10);
  const behind = await server.value(
    `SELECT restart_lsn < pg_current_wal_flush_lsn() - 1024 * 1024 FROM pg_replication_slots`,
  );
  expect(behind).toBe('true');
  const before = receiver.events.length;
  outage.on = false;
  await receiver.waitFor('wal.state', ({ state }) => state === 'streaming', before, 60);
  await flushedAll(server);
  await receiver.shipped(systemId);
  await receiver.stop();
  await expectEqual(receiver, server, 10);
});

test('a file in the spool that is not what its name says is SPOOL_INVALID and named', async () => {
  const server = await start();
  const receiver = receiving();
  await receiver.stream(server.port);
  await receiver.stop();
  const folder = join(receiver.spool, 'main', await systemIdOf(server));
  writeFileSync(join(folder, '0000000100000000000000FF'), 'short');
  await receiver.start(server.port);
  const failure = await receiver.failure();
  expect(failure.code).toBe('SPOOL_INVALID');
  expect(failure.message).toContain('0000000100000000000000FF');
});

test('H-11 the first SIGTERM flushes, reports and exits with 0', async () => {
  const server = await start();
  const archive = new TestArchive(server, { codecs: [] });
  cleanup.push(() => archive.destroy());
  const receiver = await archive.receive(server, ['--json']);
  const writers = await Writers.start(server, 2);
  cleanup.push(() => writers.stop());
  while (writers.total < 500) await sleep(10);
  expect(await receiver.stop('SIGTERM')).toBe(0);
  await writers.stop();
  // What it says it has is what the server was told.
  const lines = receiver.cli.stdout().trim().split('\n');
  const last = JSON.parse(lines.at(-1) ?? '') as { readonly event: string; readonly lsn: string };
  expect(last.event).toBe('receive.stopped');
  expect(await server.value('SELECT restart_lsn FROM pg_replication_slots')).toBe(last.lsn);
});

test('H-11 an interrupt ends the wait for a reconnect', async () => {
  const server = await start();
  const archive = new TestArchive(server);
  cleanup.push(() => archive.destroy());
  const receiver = await archive.receive(server);
  await server.stop();
  await receiver.cli.waitFor(/SERVER_UNREACHABLE/);
  await sleep(2000); // by now it waits most of the time
  expect(await receiver.stop('SIGINT')).toBe(0);
});

/** A storage plugin whose `put` of WAL never ends, whatever is cancelled. */
const HANGING = `
const nothing = async function* () {};
export default {
  name: 'hanging', kind: 'storage', apiVersion: 1,
  options: { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) } },
  create: () => ({
    capabilities: { conditionalPut: true, retention: false, metadata: false },
    put: (key) => (key.includes('/wal/') ? new Promise(() => {}) : Promise.resolve()),
    get: async function* () { yield Buffer.from(JSON.stringify({ format: 1, cluster: 'main', id: 'hanging' })); },
    list: nothing, stat: async () => ({}), remove: async () => ({ retained: [] }), close: async () => {},
  }),
};
`;

test('H-11 a second signal ends the process at once, while shipping hangs', async () => {
  const server = await start();
  const archive = new TestArchive(server, {
    config: { repositories: [{ name: 'hanging', storage: { use: './hanging.mjs' } }] },
  });
  cleanup.push(() => archive.destroy());
  writeFileSync(join(archive.folder, 'hanging.mjs'), HANGING);
  const receiver = await archive.receive(server);
  await fill(server, 2);
  await flushedAll(server);
  receiver.cli.kill('SIGTERM');
  await receiver.cli.waitFor(/info: stopping/);
  await sleep(500);
  expect(receiver.ended).toBe(false);
  receiver.cli.kill('SIGTERM');
  expect((await receiver.cli.ended).code).toBe(143);
});
