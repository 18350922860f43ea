import { execFileSync } from 'node:child_process';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { ArchiveError } from '../../core/src/contracts/errors.ts';
import { parseLsn } from '../../core/src/postgres/lsn.ts';
import { parseHistory } from '../../core/src/postgres/timeline.ts';
import { segmentName } from '../../core/src/postgres/wal-file.ts';
import { Writers } from '../support/load.ts';
import { giveToServer, PostgresServer, temporaryFolder } from '../support/postgres.ts';
import { Proxy } from '../support/proxy.ts';
import { flushedAll, hashes, Receiving, withPut } from '../support/receiving.ts';
import { systemIdOf } from '../support/ship-wal.ts';
import { caughtUp, destroyStandby, promote, startStandby } from '../support/standby.ts';

const SEGMENT = 1024 * 1024;
const SETTINGS = { wal_keep_size: '500MB', max_wal_size: '1GB', wal_retrieve_retry_interval: '200ms' };

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const undo of cleanup.splice(0).toReversed()) await undo();
});

/** A primary that is stopped, and a standby of it; both run afterwards. */
async function pair(): Promise<{ primary: PostgresServer; standby: PostgresServer; systemId: string }> {
  const primary = await PostgresServer.start({ segmentMegabytes: 1, settings: SETTINGS });
  cleanup.push(() => primary.destroy());
  const systemId = await systemIdOf(primary);
  await primary.stop();
  const standby = await startStandby(primary);
  cleanup.push(() => destroyStandby(standby));
  return { primary, standby, systemId };
}

function receiving(options: ConstructorParameters<typeof Receiving>[0] = {}): Receiving {
  const made = new Receiving(options);
  cleanup.push(() => made.destroy());
  return made;
}

const bothHosts = (a: PostgresServer, b: PostgresServer): string =>
  `postgres://postgres@127.0.0.1:${a.port},127.0.0.1:${b.port}/?target_session_attrs=primary`;

/**
 * Fills segments. Only a primary should be streamed from across a forced switch: once a standby has replayed the switch it sends
 * the rest of the segment, received or not, so that a receiver may get what was in the recycled file (seen on 18.4).
 */
async function fill(server: PostgresServer, segments = 2, options: { readonly force?: boolean } = {}): Promise<void> {
  await server.query('CREATE TABLE IF NOT EXISTS filler (a text)');
  for (let i = 0; i < segments; i++) {
    await server.query(`INSERT INTO filler SELECT repeat('x', 200) FROM generate_series(1, 5000)`);
    if (options.force !== false) await server.query('SELECT pg_switch_wal()');
  }
  await server.query('INSERT INTO filler VALUES (1)');
}

/** What is archived of a timeline equals what a server has in its `pg_wal`; gives the names that were compared. */
async function compare(
  receiver: Receiving,
  systemId: string,
  timeline: number,
  server: PostgresServer,
): Promise<readonly string[]> {
  const theirs = hashes(join(server.data, 'pg_wal'), /^[0-9A-F]{8}(?:[0-9A-F]{16}|\.history)$/);
  const prefix = timeline.toString(16).toUpperCase().padStart(8, '0');
  const names: string[] = [];
  for (const [name, hash] of await receiver.archived(systemId)) {
    if (!name.startsWith(prefix) || name.endsWith('.partial')) continue;
    expect(theirs.get(name), name).toBe(hash);
    names.push(name);
  }
  return names.sort();
}

test('H-08 a promotion under load: follows the standby it streams from onto the new timeline, with both timelines as the servers have them', async () => {
  const { primary, standby, systemId } = await pair();
  const receiver = receiving();
  await receiver.stream(standby.port);
  const writers = await Writers.start(primary, 2);
  cleanup.push(() => writers.stop());
  while (writers.total < 2000) await sleep(20);
  await primary.kill();
  await writers.stop();
  await promote(standby);
  const after = await Writers.start(standby, 2);
  cleanup.push(() => after.stop());
  await receiver.waitFor('wal.timeline', ({ from, to }) => from === 1 && to === 2);
  const begun = after.total;
  while (after.total < begun + 2000) await sleep(20);
  await after.stop();
  await fill(standby);
  await flushedAll(standby);
  await receiver.stop();

  expect((await compare(receiver, systemId, 1, primary)).length).toBeGreaterThan(0);
  const second = await compare(receiver, systemId, 2, standby);
  expect(second).toContain('00000002.history');
  expect(second.length).toBeGreaterThan(2);
  // The end of the old timeline is archived in slices; its name as a partial segment is left to PostgreSQL.
  const { end } = parseHistory(
    (await receiver.repository.wal(systemId).history(2))?.content ?? Buffer.alloc(0),
    'history',
  )[0] ?? { end: 0n };
  expect([...(await receiver.archived(systemId)).keys()].filter((name) => name.endsWith('.partial'))).toEqual([]);
  const length = Number(end % BigInt(SEGMENT));
  const name = segmentName(1, end / BigInt(SEGMENT), SEGMENT);
  const tail = new Uint8Array(SEGMENT);
  tail.set((await receiver.repository.wal(systemId).tail(name)) ?? []);
  const servers = readFileSync(join(primary.data, 'pg_wal', name)).subarray(0, length);
  expect(Buffer.from(tail.subarray(0, length)).equals(servers)).toBe(true);
  expect(receiver.events.filter(({ name }) => name === 'receive.disconnected')).toEqual([]);
});

test('H-08 a switchover: the demoted server is left, the new primary is found, the old timeline is received to its very end', async () => {
  const { primary, standby, systemId } = await pair();
  const receiver = receiving();
  await receiver.stream(0, { url: bothHosts(primary, standby) });
  await fill(primary);
  await flushedAll(primary);
  const before = receiver.events.length;
  // A clean shutdown sends everything to the standby, and to the receiver, before it ends.
  await primary.stop('fast');
  await promote(standby);
  writeFileSync(join(primary.data, 'standby.signal'), '');
  giveToServer(join(primary.data, 'standby.signal'));
  primary.configure({ primary_conninfo: `host=127.0.0.1 port=${standby.port} user=postgres` });
  await primary.start();
  const { host } = await receiver.waitFor('receive.connected', ({ timeline }) => timeline === 2, before);
  expect(host).toBe(`127.0.0.1:${standby.port}`);
  expect(await primary.value('SELECT pg_is_in_recovery()')).toBe('true');
  await fill(standby);
  await flushedAll(standby);
  await receiver.stop();
  expect((await compare(receiver, systemId, 2, standby)).length).toBeGreaterThan(2);
  expect((await compare(receiver, systemId, 1, primary)).length).toBeGreaterThan(1);
  expect(receiver.states).not.toContain('TIMELINE_DIVERGED');
});

test('H-08 promotions that happened while nothing ran: every history is fetched, every timeline received', async () => {
  const { primary, standby, systemId } = await pair();
  const receiver = receiving();
  await receiver.stream(primary.port);
  await fill(primary);
  await flushedAll(primary);
  await receiver.stop();
  await caughtUp(primary, standby);
  await primary.stop();
  for (let timeline = 2; timeline <= 4; timeline++) {
    if (timeline > 2) {
      await standby.stop();
      writeFileSync(join(standby.data, 'standby.signal'), '');
      giveToServer(join(standby.data, 'standby.signal'));
      await standby.start();
    }
    await promote(standby);
    await fill(standby, 1);
  }
  const before = receiver.events.length;
  await receiver.stream(standby.port);
  await receiver.waitFor('wal.timeline', ({ to }) => to === 4, before);
  await fill(standby);
  await flushedAll(standby);
  await receiver.stop();
  for (const timeline of [2, 3, 4]) {
    const names = await compare(receiver, systemId, timeline, standby);
    expect(names, `timeline ${timeline}`).toContain(`0000000${timeline}.history`);
    expect(names.length, `timeline ${timeline}`).toBeGreaterThan(1);
  }
});

test('H-08 the position is exactly the switch point: no COPY at all, and the next timeline', async () => {
  const primary = await PostgresServer.start({ segmentMegabytes: 1, settings: SETTINGS });
  cleanup.push(() => primary.destroy());
  const systemId = await systemIdOf(primary);
  await fill(primary);
  await primary.stop();
  const data = join(temporaryFolder('standby'), 'data');
  execFileSync('cp', ['-a', primary.data, data]);
  await primary.start();
  const receiver = receiving();
  await receiver.stream(primary.port);
  await primary.query('CREATE TABLE last AS SELECT 1 AS a');
  // The record that ends the segment is the target: the new timeline begins at the border.
  const target = await primary.value('SELECT pg_current_wal_insert_lsn()');
  await primary.query('SELECT pg_switch_wal()');
  await flushedAll(primary);
  const { position } = await receiver.stop();
  const border = position?.lsn ?? 1n;
  expect(border % BigInt(SEGMENT)).toBe(0n);

  writeFileSync(join(data, 'standby.signal'), '');
  giveToServer(join(data, 'standby.signal'));
  const standby = await PostgresServer.open(18, data, {
    primary_conninfo: `host=127.0.0.1 port=${primary.port} user=postgres`,
    recovery_target_lsn: target,
    recovery_target_action: 'promote',
  });
  cleanup.push(() => destroyStandby(standby));
  await standby.start();
  while ((await standby.value('SELECT pg_is_in_recovery()')) === 'true') await sleep(20);
  await primary.stop();

  const before = receiver.events.length;
  await receiver.stream(standby.port);
  const { lsn } = await receiver.waitFor('wal.timeline', ({ to }) => to === 2, before);
  expect(parseLsn(lsn)).toBe(border);
  await fill(standby);
  await flushedAll(standby);
  await receiver.stop();
  expect((await compare(receiver, systemId, 2, standby)).length).toBeGreaterThan(2);
});

test('a new primary that lacks the last WAL of the open segment: said, kept, and continued on the new timeline', async () => {
  const { primary, standby, systemId } = await pair();
  const proxy = await Proxy.listen({ port: primary.port });
  cleanup.push(() => proxy.close());
  await standby.stop();
  standby.configure({ primary_conninfo: `host=127.0.0.1 port=${proxy.port} user=postgres` });
  await standby.start();
  const receiver = receiving();
  await receiver.stream(0, { url: bothHosts(primary, standby) });
  await fill(primary);
  await caughtUp(primary, standby);
  expect(proxy.cut({ refuse: true })).toBeGreaterThan(0);
  await primary.query(`INSERT INTO filler VALUES ('only the receiver has this')`);
  await flushedAll(primary);
  await primary.kill();
  await promote(standby);
  await receiver.waitFor('wal.state', ({ state }) => state === 'TIMELINE_DIVERGED');
  await receiver.waitFor('wal.timeline', ({ to }) => to === 2);
  await fill(standby);
  await flushedAll(standby);
  await receiver.stop();
  expect((await compare(receiver, systemId, 2, standby)).length).toBeGreaterThan(2);
  const archive = receiver.repository.wal(systemId);
  const { end } = parseHistory((await archive.history(2))?.content ?? Buffer.alloc(0), 'history')[0] ?? { end: 0n };
  const tail = await archive.tail(segmentName(1, end / BigInt(SEGMENT), SEGMENT));
  expect(Buffer.from(tail ?? []).includes('only the receiver has this')).toBe(true);
});

test('a fork before the open segment stops the receiver with TIMELINE_DIVERGED, until it is accepted', async () => {
  const { primary, standby, systemId } = await pair();
  await caughtUp(primary, standby);
  await standby.stop();
  const receiver = receiving();
  await receiver.stream(primary.port);
  await fill(primary, 3);
  await flushedAll(primary);
  await receiver.stop();
  await primary.stop();
  await standby.start();
  await promote(standby);
  await fill(standby);

  await receiver.start(standby.port);
  const failure = await receiver.failure();
  expect({ code: failure.code, exitCode: failure.exitCode }).toEqual({ code: 'TIMELINE_DIVERGED', exitCode: 4 });
  expect(receiver.states.at(-1)).toBe('TIMELINE_DIVERGED');
  expect([...(await receiver.archived(systemId)).keys()].some((name) => /^00000002.{16}$/.test(name))).toBe(false);

  const before = receiver.events.length;
  await receiver.stream(standby.port, { acceptTimeline: 2 });
  await fill(standby);
  await flushedAll(standby);
  await receiver.stop();
  expect(receiver.events.slice(before).some(({ name }) => name === 'wal.gap')).toBe(false);
  const names = await compare(receiver, systemId, 2, standby);
  expect(names.length).toBeGreaterThan(3);

  // From now on it is the history of the archive.
  await receiver.stream(standby.port);
  await receiver.stop();

  // The former primary is another branch now.
  await primary.start();
  await receiver.start(primary.port);
  expect((await receiver.failure()).code).toBe('TIMELINE_DIVERGED');
});

test('a server that goes on beside a newer timeline that is held has diverged too; accepted once, it stays so', async () => {
  const { primary, standby, systemId } = await pair();
  const receiver = receiving();
  await receiver.stream(primary.port);
  await fill(primary);
  await flushedAll(primary);
  await receiver.stop();
  await caughtUp(primary, standby);
  await primary.stop();
  await promote(standby);
  await receiver.stream(standby.port);
  await fill(standby);
  await flushedAll(standby);
  await receiver.stop();

  // The former primary is promoted as well: timeline 3 from 1.
  copyFileSync(join(standby.data, 'pg_wal/00000002.history'), join(primary.data, 'pg_wal/00000002.history'));
  writeFileSync(join(primary.data, 'standby.signal'), '');
  for (const name of ['pg_wal/00000002.history', 'standby.signal']) giveToServer(join(primary.data, name));
  primary.configure({ recovery_target_timeline: 'current' });
  await primary.start();
  await promote(primary);
  await fill(primary);
  expect((await receiver.repository.wal(systemId).timelines()).includes(2)).toBe(true);
  await receiver.start(primary.port);
  expect((await receiver.failure()).code).toBe('TIMELINE_DIVERGED');

  await receiver.stream(primary.port, { acceptTimeline: 3 });
  await receiver.waitFor('wal.timeline', ({ from, to }) => from === 1 && to === 3);
  await flushedAll(primary);
  await receiver.stop();
  await receiver.stream(primary.port);
  await fill(primary);
  await flushedAll(primary);
  await receiver.stop();
  expect((await compare(receiver, systemId, 3, primary)).length).toBeGreaterThan(3);
});

test('H-02 with remote acknowledgement, what the storage had of the old timeline says nothing of the new one', async () => {
  const { primary, standby } = await pair();
  const proxy = await Proxy.listen({ port: primary.port });
  cleanup.push(() => proxy.close());
  await standby.stop();
  standby.configure({ primary_conninfo: `host=127.0.0.1 port=${proxy.port} user=postgres` });
  await standby.start();
  const held: string[] = [];
  const receiver = receiving({
    config: { ack: 'remote', tail: 50, statusInterval: 100 },
    storage: (storage) =>
      withPut(storage, async (key, body, options) => {
        if (!/\/wal\/00000002\/.*-/.test(key) || key.includes('.history')) return storage.put(key, body, options);
        held.push(key);
        throw new ArchiveError('STORAGE_UNAVAILABLE', 'down');
      }),
  });
  await receiver.stream(0, { url: bothHosts(primary, standby) });
  await primary.query('CREATE TABLE filler (a text)');
  await primary.query('SELECT pg_switch_wal()');
  await primary.query('CHECKPOINT');
  await flushedAll(primary);
  await caughtUp(primary, standby);
  proxy.cut({ refuse: true });
  await primary.query(`INSERT INTO filler SELECT repeat('x', 200) FROM generate_series(1, 1500)`);
  await flushedAll(primary);
  await primary.kill();
  await promote(standby);
  await receiver.waitFor('wal.timeline', ({ to }) => to === 2);
  await standby.query('INSERT INTO filler VALUES (1)');
  const reported = async (): Promise<string> =>
    standby.value(`SELECT coalesce(bool_and(write_lsn >= pg_current_wal_flush_lsn()), false)
      FROM pg_stat_replication WHERE application_name = 'pgark'`);
  while ((await reported()) !== 'true') await sleep(20);
  while (held.length < 2) await sleep(20);
  await sleep(300); // several reports
  const { lsn: fork } = await receiver.waitFor('wal.timeline', ({ to }) => to === 2);
  const flush = await standby.value(`SELECT flush_lsn FROM pg_stat_replication WHERE application_name = 'pgark'`);
  expect(parseLsn(flush)).toBeLessThanOrEqual(parseLsn(fork));
});

test('a standby that is behind what is held is waited for', async () => {
  const { primary, standby, systemId } = await pair();
  await standby.stop();
  const receiver = receiving();
  await receiver.stream(primary.port);
  await fill(primary, 3, { force: false });
  await flushedAll(primary);
  await receiver.stop();
  const proxy = await Proxy.listen({ port: primary.port });
  cleanup.push(() => proxy.close());
  proxy.cut({ refuse: true });
  standby.configure({ primary_conninfo: `host=127.0.0.1 port=${proxy.port} user=postgres` });
  await standby.start();
  await receiver.start(standby.port);
  await receiver.waitFor('wal.state', ({ state }) => state === 'TIMELINE_DIVERGED');
  const before = receiver.events.length;
  proxy.resume();
  await receiver.waitFor('wal.state', ({ state }) => state === 'streaming', before, 60);
  await fill(primary, 2, { force: false });
  await caughtUp(primary, standby);
  await receiver.stop();
  expect((await compare(receiver, systemId, 1, primary)).length).toBeGreaterThan(3);
});
