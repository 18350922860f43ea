/**
 * Two receivers on one slot: one streams, the other stands by and takes over. The one that streams is killed, cut off or silenced at
 * random while commits wait for it. `PGARK_TEST_OUTAGE` is how many seconds that lasts, `PGARK_TEST_SEED` replays.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { ArchiveError } from '../../core/src/contracts/errors.ts';
import { parseLsn } from '../../core/src/postgres/lsn.ts';
import { ReplicationConnection } from '../../core/src/postgres/replication/connection.ts';
import { resolveTarget } from '../../core/src/postgres/target.ts';
import { isSegmentSize, parseWalFileName, segmentNumberOf } from '../../core/src/postgres/wal-file.ts';
import { ensureSlot } from '../../core/src/receive/slot.ts';
import { fill } from '../support/fill.ts';
import { TestArchive } from '../support/archive.ts';
import { fsRepository } from '../support/fs-repository.ts';
import { later } from '../support/later.ts';
import { ledger, Writers } from '../support/load.ts';
import { PostgresServer } from '../support/postgres.ts';
import { randomFrom } from '../support/random.ts';
import { flushedAll, hashes, Receiving, repositoryHashes, withPut } from '../support/receiving.ts';
import { PairMember } from '../support/receiver-pair.ts';
import { restoredAlone } from '../support/restoring.ts';
import { systemIdOf } from '../support/ship-wal.ts';
import { until } from '../support/until.ts';

const SECONDS = Number(process.env['PGARK_TEST_OUTAGE'] ?? 12);
const SEED = Number(process.env['PGARK_TEST_SEED'] ?? Date.now() % 1_000_000);
/** A recovery starts a process for each segment: after minutes of load there would be a thousand of 1 MB. */
const MEGABYTES = SECONDS > 30 ? 16 : 1;
const FAULTS = ['kill', 'cut', 'silence', 'kill the other'] as const;

/** The segments that an archive holds have no hole and are byte for byte those of the server. */
async function expectWhole(repository: string, server: PostgresServer, megabytes: number): Promise<number> {
  const size = megabytes * 1024 * 1024;
  expect(isSegmentSize(size)).toBe(true);
  const archived = await repositoryHashes(repository, await systemIdOf(server));
  const theirs = hashes(join(server.data, 'pg_wal'), /^[0-9A-F]{24}$/);
  const numbers: bigint[] = [];
  for (const [name, hash] of archived) {
    expect(theirs.get(name), name).toBe(hash);
    const file = parseWalFileName(name);
    if (file?.kind === 'segment') numbers.push(segmentNumberOf(file, size));
  }
  numbers.forEach((number, at) => expect(number, 'a hole').toBe((numbers[0] ?? 0n) + BigInt(at)));
  return numbers.length;
}

test.each(['local', 'remote'] as const)(
  `H-09 a pair with ack: %s survives ${SECONDS} s of random kills and cuts (seed ${SEED})`,
  async (ack) => {
    console.log(`seed ${SEED}`);
    const random = randomFrom(SEED);
    const server = later(
      await PostgresServer.start({
        major: 17,
        segmentMegabytes: MEGABYTES,
        settings: { wal_keep_size: '8GB', max_wal_size: '256MB', wal_sender_timeout: '2s' },
      }),
      (started) => started.destroy(),
    );
    const archive = later(new TestArchive(server, { codecs: [], receive: { ack, tail: '1s' } }), (made) => {
      made.destroy();
    });
    const members = [await PairMember.of(archive, server, 'left'), await PairMember.of(archive, server, 'right')];
    for (const member of members) later(member, (made) => made.destroy());
    const [left, right] = members as [PairMember, PairMember];
    const report = (): string => members.map(({ output }) => output).join('\n');
    left.start();
    await left.waitFor('streaming');
    right.start();
    await right.waitFor('standing-by');
    await archive.backup();
    await server.query(`ALTER SYSTEM SET synchronous_standby_names = '*'`);
    await server.query('SELECT pg_reload_conf()');
    const writers = await Writers.start(server, 8);
    const happened = new Map<string, number>();
    for (let round = 0, end = Date.now() + SECONDS * 1000; Date.now() < end || round < FAULTS.length; round++) {
      // Each fault comes in the first rounds, whatever the seed.
      const fault = FAULTS[round < FAULTS.length ? round : Math.floor(random() * FAULTS.length)] ?? 'kill';
      await sleep(500 + random() * 1500);
      const active = left.state === 'streaming' ? left : right;
      const other = active === left ? right : left;
      await other.waitFor('standing-by');
      const begun = writers.total;
      await until('load before the fault', () => writers.total > begun, report);
      const [takeOvers, commits] = [other.takeOvers, writers.total];
      switch (fault) {
        case 'kill':
          await active.end('SIGKILL');
          break;
        case 'cut':
          expect(active.proxy.cut({ refuse: true })).toBeGreaterThan(0);
          break;
        case 'silence':
          expect(active.proxy.open).toBeGreaterThan(0);
          active.proxy.stall();
          break;
        case 'kill the other':
          await other.end('SIGKILL');
          break;
      }
      happened.set(fault, (happened.get(fault) ?? 0) + 1);
      if (fault !== 'kill the other') {
        await until(`${other.name} takes over after a ${fault}`, () => other.takeOvers > takeOvers, report);
        expect(other.state).toBe('streaming');
      }
      await until(`commits go on after a ${fault}`, () => writers.total > commits + 8, report);
      if (fault === 'silence') active.proxy.cut();
      active.proxy.resume();
      for (const member of members) if (!member.isRunning) member.start();
    }
    const acknowledged = await writers.stop();
    // One that was silenced last may not know yet that it does not stream.
    const states = (): string =>
      members
        .map(({ state }) => state ?? '')
        .toSorted()
        .join();
    await until('one streams, and the other stands by', () => states() === 'standing-by,streaming', report);
    const active = left.state === 'streaming' ? left : right;
    const other = active === left ? right : left;
    for (let segments = 0; segments < 3; segments++) {
      await server.query(`SELECT pg_logical_emit_message(false, 'test', '')`);
      await server.query('SELECT pg_switch_wal()');
    }
    await flushedAll(server);
    await other.waitFor('standing-by');
    for (const member of [other, active]) expect(await member.end('SIGTERM'), report()).toBe(0);
    const takeOvers = left.takeOvers + right.takeOvers;
    const shipped = members.map(({ events }) => events.filter(({ event }) => event === 'wal.shipped').length);
    console.log(
      `${[...happened].map(([fault, count]) => `${fault} ${count}`).join(', ')}; ${takeOvers} take-overs, ` +
        `${writers.total} commits, ${shipped.join(' and ')} files shipped`,
    );
    expect([...happened.keys()].sort()).toEqual([...FAULTS].sort());
    expect(takeOvers).toBeGreaterThanOrEqual(3);
    for (const member of members) {
      const events = member.events.map(({ event, state }) => state ?? event);
      for (const bad of ['wal.conflict', 'WAL_CONFLICT', 'wal.gap', 'WAL_GAP', 'REPOSITORY_BEHIND'])
        expect(events, report()).not.toContain(bad);
    }
    expect(await expectWhole(archive.repository, server, MEGABYTES)).toBeGreaterThan(2);
    for (const { spool } of members) rmSync(spool, { recursive: true });
    const clone = await restoredAlone(archive, server);
    const found = await ledger(clone);
    expect(found.holes).toBe(0);
    expect(found.last).toEqual(acknowledged);
  },
  300_000 + SECONDS * 3000,
);

test('H-22 H-04 what both have is no conflict, and the one that comes back goes on where the archive ends, not where it was', async () => {
  const server = later(
    await PostgresServer.start({ segmentMegabytes: 1, settings: { wal_keep_size: '500MB' } }),
    (started) => started.destroy(),
  );
  const systemId = await systemIdOf(server);
  const outage = { on: false, failed: 0 };
  const first = later(
    new Receiving({
      storage: (storage) =>
        withPut(storage, async (key, body, options) => {
          if (outage.on) {
            outage.failed += 1;
            throw new ArchiveError('STORAGE_UNAVAILABLE', 'the storage is down for this host');
          }
          await storage.put(key, body, options);
        }),
    }),
    (made) => made.destroy(),
  );
  const folder = join(first.folder, 'repository');
  const repositories = [await fsRepository(folder, { compressed: false })];
  const second = later(new Receiving({ receive: { repositories } }), (made) => made.destroy());
  await first.stream(server.port);
  await second.start(server.port);
  await second.waitFor('wal.state', ({ state }) => state === 'standing-by');
  await fill(server, 2);
  await first.shipped(systemId);
  outage.on = true;
  await fill(server, 5);
  await flushedAll(server);
  const { position, unshipped } = await first.stop();
  expect(outage.failed).toBeGreaterThan(0);
  expect(unshipped).toBe(5);
  // The second one takes over, from the end of the archive: it receives and ships what waits in the spool of the first.
  await second.waitFor('wal.state', ({ state }) => state === 'streaming', 0, 60);
  await fill(server, 5);
  await flushedAll(server);
  await second.shipped(systemId);
  const both = [...first.spooled(systemId).keys()].filter((name) => !name.endsWith('.partial'));
  const archived = await repositoryHashes(folder, systemId);
  for (const name of both) expect(archived.has(name), name).toBe(true);

  // The first one is back: it stands by, and what it held leaves its spool, for the archive has it.
  outage.on = false;
  const before = first.events.length;
  await first.start(server.port);
  await first.waitFor('wal.state', ({ state }) => state === 'standing-by', before);
  await first.shipped(systemId);
  await second.stop();
  await first.waitFor('wal.state', ({ state }) => state === 'streaming', before, 60);
  const { lsn } = await first.waitFor('receive.connected', undefined, before);
  expect(parseLsn(lsn)).toBeGreaterThan(position?.lsn ?? 0n);
  await fill(server, 2);
  await flushedAll(server);
  await first.shipped(systemId);
  await first.stop();
  for (const receiver of [first, second]) {
    const names = receiver.events.map(({ name }) => name);
    expect(names).not.toContain('wal.conflict');
    expect(names).not.toContain('wal.gap');
  }
  expect(await expectWhole(folder, server, 1)).toBeGreaterThan(13);
});

test('two receivers that find no slot make it at the same time: one makes it, the other uses it', async () => {
  const server = later(await PostgresServer.start({ segmentMegabytes: 1 }), (started) => started.destroy());
  const target = await resolveTarget({ url: server.url() }, { env: {}, home: '/nonexistent' });
  const connections = await Promise.all([1, 2].map(() => ReplicationConnection.open(target)));
  for (const connection of connections) later(connection, (opened) => opened.close());
  const refusals: unknown[] = [];
  for (const connection of connections) {
    const create = connection.createSlot.bind(connection);
    connection.createSlot = async (name, options) => {
      try {
        await create(name, options);
      } catch (error) {
        refusals.push(error);
        throw error;
      }
    };
  }
  for (let round = 0; round < 50 && refusals.length < 3; round++) {
    const made = await Promise.all(
      connections.map((connection) => ensureSlot(connection, 'pgark', { create: true, invalidated: false })),
    );
    for (const { state } of made) expect(state.state).toBe('reserved');
    expect(made.filter((one) => one.made === 'SLOT_MISSING')).toHaveLength(1);
    await connections[0]?.dropSlot('pgark');
  }
  // Both found none, and the server refused the second one.
  expect(refusals).not.toEqual([]);
});
