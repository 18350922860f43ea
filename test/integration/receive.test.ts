import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { parseLsn } from '../../core/src/postgres/lsn.ts';
import { MAJORS, PostgresServer } from '../support/postgres.ts';
import { flushedAll, Receiving, withPut } from '../support/receiving.ts';
import { systemIdOf } from '../support/ship-wal.ts';

const cleanup: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const undo of cleanup.splice(0).toReversed()) await undo();
});

async function start(options: Parameters<typeof PostgresServer.start>[0] = {}): Promise<PostgresServer> {
  const server = await PostgresServer.start({ segmentMegabytes: 1, ...options });
  cleanup.push(() => server.destroy());
  return server;
}

function receiving(options: ConstructorParameters<typeof Receiving>[0] = {}): Receiving {
  const made = new Receiving(options);
  cleanup.push(() => made.destroy());
  return made;
}

describe.each(MAJORS)('receiving from PostgreSQL %i', (major) => {
  test('H-06 the slot reserves WAL from its first moment on; every segment arrives, equal to that of the server', async () => {
    const server = await start({ major, settings: { wal_keep_size: '200MB' } });
    const systemId = await systemIdOf(server);
    const receiver = receiving();
    await receiver.stream(server.port);
    const [slot] = await server.query<{ restart_lsn: string }>('SELECT restart_lsn FROM pg_replication_slots');
    expect(slot?.restart_lsn).toMatch(/\//);
    await server.query('CREATE TABLE t AS SELECT generate_series(1, 50000) AS a');
    await server.query('SELECT pg_switch_wal()');
    await server.query('CREATE TABLE u AS SELECT 1 AS a');
    await flushedAll(server);

    // H-02: apply is never reported.
    expect(await server.value('SELECT replay_lsn IS NULL FROM pg_stat_replication')).toBe('true');
    const { reason, unshipped, position } = await receiver.stop();
    expect({ reason, unshipped }).toEqual({ reason: 'stopped', unshipped: 0 });
    expect(position?.timeline).toBe(1);
    // The slot holds back no more than the open segment.
    expect(await server.value('SELECT restart_lsn FROM pg_replication_slots')).toBe(
      await server.value('SELECT pg_current_wal_flush_lsn()'),
    );

    const archived = await receiver.archived(systemId);
    expect(archived.size).toBeGreaterThan(3);
    const names = [...archived.keys()].sort();
    for (const [name, hash] of archived) expect(await hashOf(server, name), name).toBe(hash);
    const last = names.at(-1) ?? '';
    const [open] = readdirSync(join(receiver.spool, 'main', systemId));
    expect(open).toMatch(/^[0-9A-F]{24}\.partial$/);
    expect((open ?? '') > last).toBe(true);
    expect(statSync(join(receiver.spool, 'main', systemId, open ?? '')).size).toBe(1024 * 1024);
    expect(receiver.states).toEqual(['connecting', 'streaming', 'stopped']);
    expect(receiver.events.map(({ name }) => name)).toContain('receive.stopped');
  });
});

async function hashOf(server: PostgresServer, name: string): Promise<string> {
  return server.value(`SELECT encode(sha256(pg_read_binary_file('pg_wal/${name}')), 'hex')`);
}

test('stops by itself once WAL up to a position is durable', async () => {
  const server = await start();
  const receiver = receiving();
  await server.query('CREATE TABLE t AS SELECT generate_series(1, 20000) AS a');
  const until = parseLsn(await server.value('SELECT pg_current_wal_flush_lsn()'));
  await receiver.start(server.port, { until });
  const result = await receiver.ended;
  expect(result.reason).toBe('until');
  expect(result.position?.lsn).toBeGreaterThanOrEqual(until);
});

test('H-01 serves as a synchronous standby: every commit is flushed at once, not after a pause', async () => {
  const server = await start();
  const receiver = receiving();
  await receiver.stream(server.port);
  await server.query(`ALTER SYSTEM SET synchronous_standby_names = 'pgark'`);
  await server.query('SELECT pg_reload_conf()');
  await server.query('CREATE TABLE t (a int)');
  expect(await server.value('SELECT sync_state FROM pg_stat_replication')).toBe('sync');
  const client = await server.client();
  const begun = performance.now();
  for (let i = 0; i < 200; i++) await client.query(`INSERT INTO t VALUES (${i})`);
  const elapsed = performance.now() - begun;
  await client.end();
  // A receiver that flushes after a second of silence needs 200 seconds.
  expect(elapsed).toBeLessThan(20_000);
  const { position } = await receiver.stop();
  expect(position?.lsn).toBeGreaterThan(0n);
});

test('H-02 with remote acknowledgement the flush position is what the storage holds', async () => {
  const server = await start();
  const systemId = await systemIdOf(server);
  let slices = 0;
  const gate = { closed: false };
  const receiver = receiving({
    config: { ack: 'remote', tail: 1000 },
    storage: (storage) =>
      withPut(storage, async (key, body, options) => {
        while (gate.closed) await sleep(10);
        if (key.includes('.tail/')) slices += 1;
        await storage.put(key, body, options);
      }),
  });
  await receiver.stream(server.port);
  await server.query(`ALTER SYSTEM SET synchronous_standby_names = 'pgark'`);
  await server.query('SELECT pg_reload_conf()');
  await server.query('CREATE TABLE t AS SELECT generate_series(1, 30000) AS a');
  expect(slices).toBeGreaterThan(0);

  gate.closed = true;
  await sleep(1200); // the next slice is on its way into the storage
  const client = await server.client();
  let committed = false;
  const commit = client.query('INSERT INTO t VALUES (0)').then(() => (committed = true));
  await sleep(500);
  const [behind] = await server.query<{ written: boolean; flushed: boolean }>(
    'SELECT write_lsn >= pg_current_wal_flush_lsn() AS written, flush_lsn >= pg_current_wal_flush_lsn() AS flushed FROM pg_stat_replication',
  );
  expect(behind).toEqual({ written: true, flushed: false });
  expect(committed).toBe(false);
  gate.closed = false;
  await commit;
  await client.end();

  // The slices of the open segment, joined, are what the spool has of it.
  await receiver.stop();
  const [open] = readdirSync(join(receiver.spool, 'main', systemId));
  const name = (open ?? '').replace('.partial', '');
  expect(existsSync(join(receiver.spool, 'main', systemId, `${name}.partial`))).toBe(true);
  const tail = await receiver.repository.wal(systemId).tail(name);
  expect(tail?.byteLength).toBeGreaterThan(0);
});
