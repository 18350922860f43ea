import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { parseLsn } from '../../core/src/postgres/lsn.ts';
import { parseWalFileName, segmentNumberOf } from '../../core/src/postgres/wal-file.ts';
import { fill } from '../support/fill.ts';
import { PostgresServer, type Major } from '../support/postgres.ts';
import { flushedAll, Receiving } from '../support/receiving.ts';
import { systemIdOf } from '../support/ship-wal.ts';

const SEGMENT = 1024 * 1024;
/** A server that keeps no more WAL than it must. */
const FORGETFUL = { wal_keep_size: '0', min_wal_size: '2MB', max_wal_size: '2MB', checkpoint_timeout: '1h' };

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const undo of cleanup.splice(0).toReversed()) await undo();
});

interface Scene {
  readonly server: PostgresServer;
  readonly systemId: string;
  readonly receiver: Receiving;
  /** Where the receiver was when it was stopped, as the start of a segment. */
  readonly position: bigint;
}

/** A server and a receiver that has archived some WAL and is stopped. */
async function scene(
  options: { readonly major?: Major; readonly settings?: Record<string, string> } = {},
  receiving: ConstructorParameters<typeof Receiving>[0] = {},
): Promise<Scene> {
  const server = await PostgresServer.start({
    segmentMegabytes: 1,
    major: options.major ?? 18,
    settings: { ...FORGETFUL, ...options.settings },
  });
  cleanup.push(() => server.destroy());
  const receiver = new Receiving(receiving);
  cleanup.push(() => receiver.destroy());
  await receiver.stream(server.port);
  await fill(server, 3, 500);
  await flushedAll(server);
  const { position } = await receiver.stop();
  const lsn = position?.lsn ?? 0n;
  return { server, systemId: await systemIdOf(server), receiver, position: lsn - (lsn % BigInt(SEGMENT)) };
}

/** Writes and removes WAL until the server has nothing of the segment that begins at `lsn`. */
async function forget(server: PostgresServer, lsn: bigint): Promise<void> {
  for (let round = 0; round < 20; round++) {
    await fill(server, 3, 500);
    await server.query('CHECKPOINT');
    const oldest = await server.value(
      `SELECT min(name) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$' AND modification >= (SELECT modification FROM pg_ls_waldir() WHERE name = pg_walfile_name(pg_current_wal_lsn())) - interval '1 hour'`,
    );
    const file = parseWalFileName(oldest);
    if (file?.kind === 'segment' && segmentNumberOf(file, SEGMENT) * BigInt(SEGMENT) > lsn) return;
  }
  throw new Error('the server still has its WAL');
}

/** The numbers of the archived segments of timeline 1. */
async function archivedNumbers({ receiver, systemId }: Scene): Promise<readonly bigint[]> {
  const names = [...(await receiver.archived(systemId)).keys()].sort();
  return names.flatMap((name) => {
    const file = parseWalFileName(name);
    return file?.kind === 'segment' ? [segmentNumberOf(file, SEGMENT)] : [];
  });
}

function holes(numbers: readonly bigint[]): readonly (readonly [bigint, bigint])[] {
  return numbers.flatMap((number, index) => {
    const next = numbers[index + 1];
    return next === undefined || next === number + 1n ? [] : [[number + 1n, next] as const];
  });
}

async function goOn({ server, receiver }: Scene): Promise<void> {
  await receiver.stream(server.port);
  await fill(server, 2, 500);
  await flushedAll(server);
  await receiver.stop();
}

/** The gap is an event, a fact in the archive, an error in the log, and exactly the hole that the archive has. */
async function expectGap(at: Scene): Promise<void> {
  const gaps = at.receiver.events.filter(({ name }) => name === 'wal.gap').map(({ data }) => data);
  expect(gaps).toHaveLength(1);
  const [from, to] = [parseLsn(String(gaps[0]?.['from'])), parseLsn(String(gaps[0]?.['to']))];
  expect(from).toBe(at.position);
  expect(to).toBeGreaterThan(from);
  expect(holes(await archivedNumbers(at))).toEqual([[from / BigInt(SEGMENT), to / BigInt(SEGMENT)]]);
  const facts = await at.receiver.repository.facts(at.systemId).list('wal');
  expect(facts.map(({ kind, data }) => [kind, data['from'], data['to']])).toEqual([
    ['gap', gaps[0]?.['from'], gaps[0]?.['to']],
  ]);
  expect(at.receiver.logs.filter((line) => line.startsWith('error: WAL is lost'))).toHaveLength(1);
  expect(at.receiver.states).toContain('WAL_GAP');
}

test('H-05 the slot was dropped and the WAL removed: a gap, loud and on record, and on with what there is', async () => {
  const at = await scene();
  await at.server.query(`SELECT pg_drop_replication_slot('pgark')`);
  await forget(at.server, at.position);
  await goOn(at);
  await expectGap(at);
  expect(at.receiver.states).toContain('SLOT_MISSING');
  // The next start finds a history without any new gap, also when only the archive can tell.
  rmSync(join(at.receiver.spool, 'main'), { recursive: true });
  await goOn(at);
  expect(at.receiver.events.filter(({ name }) => name === 'wal.gap')).toHaveLength(1);
  expect(holes(await archivedNumbers(at))).toHaveLength(1);
});

test('H-05 the spool is lost and so is the slot: the archive tells where to go on, and what is missing', async () => {
  const at = await scene();
  await at.server.query(`SELECT pg_drop_replication_slot('pgark')`);
  rmSync(join(at.receiver.spool, 'main'), { recursive: true });
  await forget(at.server, at.position);
  await goOn(at);
  await expectGap(at);
});

test('H-05 the spool is lost, the slot went on, and the server still has the WAL: received from the end of the archive, no gap', async () => {
  const at = await scene({ settings: { wal_keep_size: '200MB' } });
  rmSync(join(at.receiver.spool, 'main'), { recursive: true });
  await fill(at.server, 3);
  await at.server.query(`SELECT pg_replication_slot_advance('pgark', pg_current_wal_flush_lsn())`);
  expect(
    parseLsn(await at.server.value('SELECT restart_lsn FROM pg_replication_slots')) > at.position + BigInt(SEGMENT),
  ).toBe(true);
  await goOn(at);
  expect(at.receiver.events.filter(({ name }) => name === 'wal.gap')).toEqual([]);
  expect(holes(await archivedNumbers(at))).toEqual([]);
});

test('the slot was dropped, but the server still has the WAL: the slot is made anew, said, and nothing is lost', async () => {
  const at = await scene({ settings: { wal_keep_size: '200MB' } });
  await at.server.query(`SELECT pg_drop_replication_slot('pgark')`);
  await fill(at.server, 3);
  await goOn(at);
  expect(at.receiver.states).toContain('SLOT_MISSING');
  expect(at.receiver.states).not.toContain('WAL_GAP');
  expect(holes(await archivedNumbers(at))).toEqual([]);
  expect(await at.server.value('SELECT count(*) FROM pg_replication_slots')).toBe('1');
});

test('with onGap: stop a gap is told and ends the receiver; nothing is on record before it is stepped over, and then once', async () => {
  const at = await scene({}, { config: { onGap: 'stop' } });
  await at.server.query(`SELECT pg_drop_replication_slot('pgark')`);
  await forget(at.server, at.position);
  for (const run of [1, 2]) {
    await at.receiver.start(at.server.port);
    const failure = await at.receiver.failure();
    expect({ code: failure.code, exitCode: failure.exitCode }).toEqual({ code: 'WAL_GAP', exitCode: 4 });
    expect(await at.receiver.repository.facts(at.systemId).list('wal')).toEqual([]);
    expect(at.receiver.events.filter(({ name }) => name === 'wal.gap')).toHaveLength(run);
  }
});

test('with createSlot: false a missing slot ends the receiver', async () => {
  const at = await scene();
  await at.server.query(`SELECT pg_drop_replication_slot('pgark')`);
  const receiver = new Receiving({ config: { createSlot: false } });
  cleanup.push(() => receiver.destroy());
  await receiver.start(at.server.port);
  const failure = await receiver.failure();
  expect({ code: failure.code, exitCode: failure.exitCode }).toEqual({ code: 'SLOT_MISSING', exitCode: 2 });
});

describe.each([15, 17, 18] as const)('an invalidated slot on PostgreSQL %i', (major) => {
  test('H-09 is a named state; the gap is on record and streaming goes on with a usable slot', async () => {
    const at = await scene({ major, settings: { max_slot_wal_keep_size: '2MB' } });
    await forget(at.server, at.position);
    expect(await at.server.value('SELECT wal_status FROM pg_replication_slots')).toBe('lost');
    await goOn(at);
    await expectGap(at);
    expect(at.receiver.states).toContain('SLOT_INVALIDATED');
    expect(await at.server.value('SELECT wal_status FROM pg_replication_slots')).toBe('reserved');
  });
});
