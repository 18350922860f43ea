/** `pgark receive` into two repositories, of which one is away: the other has all the time everything, and the first gets it later. */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { formatLsn, parseLsn } from '../../core/src/postgres/lsn.ts';
import { TestArchive } from '../support/archive.ts';
import { FaultyRepository } from '../support/faulty-repository.ts';
import { giveToServer, PostgresServer } from '../support/postgres.ts';
import { flushedAll, hashes, Receiving, repositoryHashes } from '../support/receiving.ts';
import { systemIdOf } from '../support/ship-wal.ts';
import { until } from '../support/until.ts';

const SEGMENT = 1024 * 1024;

let server: PostgresServer;
let systemId: string;
beforeAll(async () => {
  // What no slot keeps is removed by a checkpoint.
  const settings = { wal_keep_size: '0', min_wal_size: '2MB', max_wal_size: '2MB', checkpoint_timeout: '1h' };
  server = await PostgresServer.start({ segmentMegabytes: 1, settings });
  systemId = await systemIdOf(server);
  await server.query('CREATE TABLE filler (a text)');
});
afterAll(async () => server.destroy());

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const undo of cleanup.splice(0).toReversed()) await undo();
  await setSynchronous('');
  for (const { slot_name: slot } of await server.query<{ slot_name: string }>(
    'SELECT slot_name FROM pg_replication_slots',
  )) {
    await until(
      'the slot is free',
      async () => (await server.value(`SELECT count(*) FROM pg_replication_slots WHERE active`)) === '0',
    );
    await server.query(`SELECT pg_drop_replication_slot('${slot}')`);
  }
});

async function setSynchronous(names: string): Promise<void> {
  await server.query(`ALTER SYSTEM SET synchronous_standby_names = '${names}'`);
  await server.query('SELECT pg_reload_conf()');
  await until('the setting', async () => (await server.value('SHOW synchronous_standby_names')) === names);
}

interface Two {
  readonly receiver: Receiving;
  readonly a: FaultyRepository;
  readonly b: FaultyRepository;
}

function two(options: ConstructorParameters<typeof Receiving>[0] = {}): Two {
  const places: FaultyRepository[] = [];
  const receiver = new Receiving({
    ...options,
    receive: {
      get repositories() {
        return places.map(({ repository }) => repository);
      },
      stopTimeout: () => 5000,
    },
  });
  cleanup.push(async () => {
    for (const place of places) place.state = 'works';
    await receiver.destroy();
  });
  const [a, b] = [new FaultyRepository('a', receiver.folder), new FaultyRepository('b', receiver.folder)];
  places.push(a, b);
  return { receiver, a, b };
}

async function fill(segments: number): Promise<void> {
  for (let count = 0; count < segments; count++) {
    await server.query(`INSERT INTO filler SELECT repeat('x', 100) FROM generate_series(1, 500)`);
    await server.query('SELECT pg_switch_wal()');
  }
  await server.query('INSERT INTO filler VALUES (1)');
}

/** The name of the last segment that is complete. */
const lastSegment = (): Promise<string> =>
  server.value(
    `SELECT pg_walfile_name((pg_current_wal_flush_lsn() - '0/0'::pg_lsn - ${SEGMENT})::numeric + '0/0'::pg_lsn)`,
  );

const whole = ({ receiver }: Two): readonly string[] =>
  [...receiver.spooled(systemId).keys()].filter((name) => !name.endsWith('.partial'));

/** Waits until all that the server has is received, and shipped into both. */
async function shipped(receiver: Receiving): Promise<void> {
  await flushedAll(server);
  await receiver.shipped(systemId);
}

/** Waits until a place has the segments that the server has completed. */
async function has(place: FaultyRepository, receiver: Receiving): Promise<void> {
  const name = await lastSegment();
  await until(
    `${name} in ${place.name}`,
    async () => (await place.archived(systemId)).has(name),
    () => receiver.report(),
  );
}

async function expectSame({ a, b }: Two, atLeast: number): Promise<void> {
  const [inA, inB] = [await a.archived(systemId), await b.archived(systemId)];
  expect(inA.size).toBeGreaterThanOrEqual(atLeast);
  expect(inB).toEqual(inA);
  // No segment is missing among them.
  const numbers = [...inA.keys()]
    .filter((name) => name.length === 24)
    .map((name) => Number.parseInt(name.slice(8), 16))
    .toSorted((x, y) => x - y);
  expect((numbers.at(-1) ?? 0) - (numbers[0] ?? 0)).toBe(numbers.length - 1);
}

test('H-04 H-13 a repository is down from the start, and again in the middle: the other has everything, the spool keeps everything, then it catches up', async () => {
  const at = two();
  const { receiver, a, b } = at;
  b.state = 'fails';
  await receiver.stream(server.port);
  expect(receiver.logs).toContainEqual(expect.stringMatching(/^warn: where to begin is decided without repository b/));
  await fill(4);
  await flushedAll(server);
  await has(a, receiver);
  expect(whole(at)).toHaveLength((await a.archived(systemId)).size);
  expect(readdirSync(b.folder)).toEqual([]);
  const first = whole(at).length;
  b.state = 'works';
  await receiver.shipped(systemId);
  await expectSame(at, first);

  for (const state of ['fails', 'hangs'] as const) {
    const [held, faults] = [(await b.archived(systemId)).size, b.faults];
    b.state = state;
    await fill(5);
    await flushedAll(server);
    await has(a, receiver);
    await until('a call that meets the fault', () => b.faults > faults);
    expect((await b.archived(systemId)).size).toBe(held);
    expect(whole(at)).toHaveLength(5);
    b.state = 'works';
    await receiver.shipped(systemId);
    await expectSame(at, held + 5);
  }
  const { unshipped, unshippedBy } = await receiver.stop();
  expect({ unshipped, unshippedBy }).toEqual({ unshipped: 0, unshippedBy: { a: 0, b: 0 } });
  expect(receiver.events.filter(({ name }) => name === 'wal.gap')).toEqual([]);
  expect(receiver.states).not.toContain('REPOSITORY_BEHIND');
});

test('the receiver is stopped and started while a repository is down: it says who lacks what, new WAL goes to the other at once, and nothing is lost', async () => {
  const at = two();
  const { receiver, a, b } = at;
  await receiver.stream(server.port);
  await fill(1);
  await shipped(receiver);
  b.state = 'fails';
  await fill(4);
  await flushedAll(server);
  await has(a, receiver);
  const { unshipped, unshippedBy } = await receiver.stop();
  expect({ unshipped, unshippedBy }).toEqual({ unshipped: 4, unshippedBy: { a: 0, b: 4 } });
  expect(receiver.logs).toContain('warn: repository b lacks 4 files of the spool');
  await receiver.stream(server.port);
  await fill(2);
  await flushedAll(server);
  await has(a, receiver);
  expect(whole(at)).toHaveLength(6);
  b.state = 'works';
  await receiver.shipped(systemId);
  expect((await receiver.stop()).unshipped).toBe(0);
  await expectSame(at, 7);
  expect(existsSync(join(receiver.spool, 'main', 'repositories.json'))).toBe(true);
});

test('a killed receiver and a repository whose folder is a file: the other is whole, and after the folder is back so is the first', async () => {
  const repositories = ['a', 'b'];
  const archive = new TestArchive(server, { receive: { slot: 'pgark' } });
  cleanup.push(() => archive.destroy());
  const folders = repositories.map((name) => join(archive.folder, name));
  for (const folder of folders) {
    mkdirSync(folder);
    giveToServer(folder);
  }
  const [inA = '', inB = ''] = folders;
  const config = {
    cluster: 'main',
    postgres: { url: server.url() },
    repositories: folders.map((path, index) => ({ name: repositories[index], storage: { use: 'fs', path } })),
    receive: { slot: 'pgark', spool: archive.spool },
  };
  writeFileSync(archive.config, JSON.stringify(config));
  const archived = async (name: string): Promise<void> =>
    until(`${name} in a`, async () => (await repositoryHashes(inA, systemId)).has(name));
  const spooled = (): number => hashes(join(archive.spool, 'main', systemId), /^[0-9A-F]{24}$/).size;

  const first = await archive.receive(server);
  cleanup.push(() => first.kill());
  await fill(1);
  await archived(await lastSegment());
  await until('both have it', () => spooled() === 0);
  renameSync(inB, `${inB}.away`);
  writeFileSync(inB, '');
  await fill(3);
  await archived(await lastSegment());
  await first.cli.waitFor(/shipping is stuck: .*repository=b /);
  await first.kill();
  expect(spooled()).toBe(3);

  const second = await archive.receive(server);
  cleanup.push(() => second.kill());
  await fill(2);
  await archived(await lastSegment());
  expect(spooled()).toBe(5);
  rmSync(inB);
  renameSync(`${inB}.away`, inB);
  // At its end everything that waits is tried once more.
  expect(await second.stop()).toBe(0);
  expect(spooled(), second.output).toBe(0);
  const [a, b] = [await repositoryHashes(inA, systemId), await repositoryHashes(inB, systemId)];
  expect(a.size).toBeGreaterThanOrEqual(6);
  expect(b).toEqual(a);
});

test('with remote acknowledgement commits go on while one repository is down, whichever it is, and wait while both are', async () => {
  const at = two({ config: { ack: 'remote', tail: 200 } });
  const { receiver, a, b } = at;
  b.state = 'fails';
  await receiver.stream(server.port);
  await setSynchronous('pgark');
  const client = await server.client();
  cleanup.push(() => client.end());
  let last = 0n;
  const commit = async (): Promise<void> => {
    await client.query('INSERT INTO filler VALUES (2)');
    const flushed = parseLsn(
      await server.value(`SELECT flush_lsn FROM pg_stat_replication WHERE application_name = 'pgark'`),
    );
    expect(flushed, `${formatLsn(flushed)} before ${formatLsn(last)}`).toBeGreaterThanOrEqual(last);
    last = flushed;
  };
  for (const [down, up] of [
    [b, a],
    [a, b],
  ] as const) {
    up.state = 'works';
    const { faults } = down;
    down.state = 'fails';
    await commit();
    await fill(2);
    await commit();
    await until('a call that meets the fault', () => down.faults > faults);
  }
  b.state = 'hangs';
  a.state = 'works';
  await commit();
  // The slice of what comes next meets two that are down.
  a.state = 'fails';
  const { faults } = a;
  let committed = false;
  const waiting = commit().then(() => (committed = true));
  await until('tries of the slice', () => a.faults > faults + 3);
  expect(committed).toBe(false);
  b.state = 'works';
  await waiting;
  a.state = 'works';
  await setSynchronous('');
  await receiver.shipped(systemId);
  await receiver.stop();
  await expectSame(at, 4);
  // Both have the open segment too, up to the last commit.
  const [open = ''] = [...receiver.spooled(systemId).keys()];
  const name = open.replace('.partial', '');
  const [tailA, tailB] = await Promise.all([a, b].map(({ repository }) => repository.wal(systemId).tail(name)));
  expect(tailA?.byteLength).toBeGreaterThan(0);
  expect(Buffer.from(tailB ?? []).equals(Buffer.from(tailA ?? []))).toBe(true);
});

/** Lets the server remove all WAL before its present segment. */
async function forget(): Promise<void> {
  await server.query(`SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots`);
  const end = await server.value('SELECT pg_walfile_name(pg_current_wal_lsn())');
  await until('the removal of WAL', async () => {
    await fill(1);
    await server.query('CHECKPOINT');
    return (await server.value(`SELECT count(*) FROM pg_ls_waldir() WHERE name = '${end}'`)) === '0';
  });
}

test('H-05 a gap while a repository is down is on record in the other, receiving goes on, and the first gets the record when it is back', async () => {
  const at = two();
  const { receiver, a, b } = at;
  await receiver.stream(server.port);
  await fill(2);
  await shipped(receiver);
  await receiver.stop();
  await forget();
  b.state = 'fails';
  await receiver.stream(server.port);
  await fill(1);
  await has(a, receiver);
  const gaps = await a.gaps(systemId);
  expect(gaps).toHaveLength(1);
  // The next run has to know it, too.
  await receiver.stop();
  await receiver.stream(server.port);
  b.state = 'works';
  await receiver.shipped(systemId);
  await until('the record in b', async () => (await b.gaps(systemId)).length > 0);
  await receiver.stop();
  expect(await b.gaps(systemId)).toEqual(gaps);
  expect(receiver.events.filter(({ name }) => name === 'wal.gap')).toHaveLength(1);
  expect(receiver.states).not.toContain('REPOSITORY_BEHIND');
  expect(await b.archived(systemId)).toEqual(await a.archived(systemId));
});

/** Ends a run in which only the first repository could get these segments, with the loss of the spool; both are there again. */
async function loseSpool({ receiver, a, b }: Two, segments: number): Promise<void> {
  await fill(segments);
  await flushedAll(server);
  await has(a, receiver);
  await receiver.stop();
  rmSync(join(receiver.spool, 'main'), { recursive: true });
  b.state = 'works';
}

/** Waits until the server has removed what a place lacks and no slot keeps. */
async function removed(place: FaultyRepository): Promise<void> {
  await until('the removal of WAL', async () => {
    await server.query('CHECKPOINT');
    const needed = `'${[...(await place.archived(systemId)).keys()].toSorted().at(-1)}'`;
    return (
      (await server.value(
        `SELECT count(*) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$' AND name > ${needed} AND name < pg_walfile_name((SELECT restart_lsn FROM pg_replication_slots))`,
      )) === '0'
    );
  });
}

test('the spool is lost while a repository lacks what was in it: no WAL is called lost that the other has, and who lacks it is told', async () => {
  const at = two();
  const { receiver, a, b } = at;
  await server.query(`SELECT pg_create_physical_replication_slot('keeper', true)`);
  await receiver.stream(server.port);
  await fill(2);
  await shipped(receiver);
  b.state = 'fails';
  await loseSpool(at, 3);
  // While the server still has it, it is received again from where the one ends that is behind.
  await receiver.stream(server.port);
  await fill(1);
  await shipped(receiver);
  await receiver.stop();
  await expectSame(at, 6);

  // Once it has not: on from the end of the other one.
  b.state = 'fails';
  await receiver.stream(server.port);
  await loseSpool(at, 3);
  // Its own slot keeps no more than what the receiver has not got.
  await server.query(`SELECT pg_drop_replication_slot('keeper')`);
  const held = (await b.archived(systemId)).size;
  await removed(b);
  await receiver.stream(server.port);
  await fill(1);
  await shipped(receiver);
  await receiver.stop();
  expect(receiver.events.filter(({ name }) => name === 'wal.gap')).toEqual([]);
  expect(receiver.states.filter((state) => state === 'REPOSITORY_BEHIND')).toHaveLength(1);
  expect(receiver.logs).toContainEqual(expect.stringMatching(/^warn: repository b lacks WAL from /));
  const [inA, inB] = [await a.archived(systemId), await b.archived(systemId)];
  expect(inB.size).toBeGreaterThan(held);
  expect(inA.size - inB.size).toBe(3);
  for (const [name, hash] of inB) expect(inA.get(name)).toBe(hash);

  // And while the other one cannot say that it has it: nobody knows that it is lost, so that no gap hides what it can give.
  b.state = 'fails';
  await receiver.stream(server.port);
  await loseSpool(at, 2);
  await removed(b);
  a.state = 'fails';
  await receiver.stream(server.port);
  await fill(1);
  await has(b, receiver);
  expect(receiver.logs).toContainEqual(expect.stringMatching(/^error: .* is not known, for a did not answer: no gap/));
  a.state = 'works';
  await receiver.shipped(systemId);
  await receiver.stop();
  expect(receiver.events.filter(({ name }) => name === 'wal.gap')).toEqual([]);
  expect([await a.gaps(systemId), await b.gaps(systemId)]).toEqual([[], []]);
  expect((await a.archived(systemId)).size - (await b.archived(systemId)).size).toBe(5);
});
