/** A receiver whose server is away, or goes away in the middle of a segment. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ArchiveError } from '../../core/src/contracts/errors.ts';
import { later } from '../support/later.ts';
import { PostgresServer } from '../support/postgres.ts';
import { Proxy } from '../support/proxy.ts';
import { flushedAll, hashes, Receiving, withPut } from '../support/receiving.ts';
import { systemIdOf } from '../support/ship-wal.ts';

async function start(): Promise<PostgresServer> {
  const settings = { wal_keep_size: '500MB' };
  return later(await PostgresServer.start({ segmentMegabytes: 1, settings }), (server) => server.destroy());
}

/** Switches to a new segment; gives the name of the one before. */
async function switchWal(server: PostgresServer): Promise<string> {
  await server.query(`SELECT pg_logical_emit_message(false, 'test', '')`);
  return server.value('SELECT pg_walfile_name(pg_switch_wal())');
}

async function expectEqual(
  receiver: Receiving,
  { data }: PostgresServer,
  { systemId, names }: { readonly systemId: string; readonly names: readonly string[] },
): Promise<void> {
  const archived = await receiver.archived(systemId);
  const theirs = hashes(join(data, 'pg_wal'), /^[0-9A-F]{24}$/);
  for (const name of names) expect(archived.get(name), name).toBe(theirs.get(name));
}

test('H-04 connections that are cut in the middle of a segment: its .partial is neither shipped nor removed, and it arrives whole', async () => {
  const server = await start();
  const systemId = await systemIdOf(server);
  const proxy = later(await Proxy.listen({ port: server.port }), (made) => made.close());
  const receiver = later(new Receiving(), (made) => made.destroy());
  await receiver.stream(proxy.port);
  await switchWal(server);
  const name = await server.value('SELECT pg_walfile_name(pg_current_wal_insert_lsn())');
  for (let round = 1; round <= 4; round++) {
    // Of a transaction, whose end is flushed at once.
    await server.query(`SELECT pg_logical_emit_message(true, 'test', repeat('x', 50000))`);
    await flushedAll(server);
    const before = receiver.events.length;
    expect(proxy.cut()).toBeGreaterThan(0);
    await receiver.waitFor('receive.disconnected', undefined, before);
    expect([...receiver.spooled(systemId).keys()]).toContain(`${name}.partial`);
    await receiver.waitFor('wal.state', ({ state }) => state === 'streaming', before);
    expect([...(await receiver.archived(systemId)).keys()].filter((file) => file.startsWith(name))).toEqual([]);
  }
  expect(await switchWal(server)).toBe(name);
  const after = await switchWal(server);
  await flushedAll(server);
  await receiver.shipped(systemId);
  await receiver.stop();
  await expectEqual(receiver, server, { systemId, names: [name, after] });
});

test('H-13 what waits for a storage that was down is shipped while the server is down', async () => {
  const server = await start();
  const systemId = await systemIdOf(server);
  const outage = { on: true, failed: 0 };
  const receiver = later(
    new Receiving({
      storage: (storage) =>
        withPut(storage, async (key, body, options) => {
          if (outage.on && key.includes('/wal/')) {
            outage.failed += 1;
            throw new ArchiveError('STORAGE_UNAVAILABLE', 'the storage is down');
          }
          await storage.put(key, body, options);
        }),
    }),
    (made) => made.destroy(),
  );
  await receiver.stream(server.port);
  const names: string[] = [];
  for (let count = 0; count < 4; count++) names.push(await switchWal(server));
  await flushedAll(server);
  await server.stop();
  await receiver.waitFor('receive.disconnected');
  expect(outage.failed).toBeGreaterThan(0);
  expect(await receiver.archived(systemId)).toEqual(new Map());
  outage.on = false;
  await receiver.shipped(systemId);
  expect(server.running).toBe(false);
  await receiver.stop();
  await expectEqual(receiver, server, { systemId, names });
});
