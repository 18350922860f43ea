/** WAL that breaks off, forks or is damaged, written by real servers. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { parseControlFile } from '../../core/src/postgres/control-file.ts';
import { parseLsn } from '../../core/src/postgres/lsn.ts';
import type { WalRecord } from '../../core/src/postgres/wal-record-data.ts';
import type { WalEnd } from '../../core/src/postgres/wal-records.ts';
import { giveToServer, MAJORS, type Major, type PostgresServer } from '../support/postgres.ts';
import { readWal, segmentsOf, startWalServer } from '../support/wal.ts';

const servers: PostgresServer[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) await server.destroy();
});

async function startServer(major: Major, segmentMegabytes: number): Promise<PostgresServer> {
  const server = await startWalServer(major, segmentMegabytes);
  servers.push(server);
  return server;
}

describe.each(MAJORS)('WAL of PostgreSQL %i that does not simply go on', (major) => {
  test('a record that a crash left without its rest is passed over', async () => {
    const server = await startServer(major, 1);
    await server.query('CREATE TABLE before (a int)');
    // As PostgreSQL's own test 026_overwrite_contrecord: the segment with the rest of a record is lost in a crash.
    const [row] = await server.query<{ first: string; last: string; pid: number }>(
      `WITH first AS MATERIALIZED (SELECT pg_walfile_name(pg_current_wal_insert_lsn()) AS name),
            emit AS MATERIALIZED (SELECT pg_logical_emit_message(true, 'lost', repeat('x', 1500000)) FROM first)
       SELECT first.name AS first, pg_walfile_name(pg_current_wal_insert_lsn()) AS last FROM first, emit`,
    );
    expect(row?.last).not.toBe(row?.first);
    await server.stop('immediate');
    rmSync(join(server.data, 'pg_wal', row?.last ?? ''));
    await server.start();
    await server.query('CREATE TABLE after (a int)');
    const point = parseLsn(await server.value(`SELECT pg_create_restore_point('after')`));
    await server.stop();

    const segmentSize = 1024 * 1024;
    const segments = segmentsOf(server, segmentSize);
    // The flag XLP_FIRST_IS_OVERWRITE_CONTRECORD, which the server sets on the page from which it went on.
    expect(segments.some(({ bytes }) => (bytes.readUInt16LE(2) & 0x0008) !== 0)).toBe(true);
    const { records, end } = await readWal(
      segments.map(({ bytes }) => bytes),
      { start: segments[0]?.start ?? 0n, segmentSize, timeline: 1 },
    );
    expect(records.find((record) => record.kind === 'restore-point')?.end).toBe(point);
    const control = parseControlFile(readFileSync(join(server.data, 'global/pg_control')));
    expect(records.at(-1)).toMatchObject({ kind: 'checkpoint', shutdown: true, lsn: control.checkpointLsn });
    expect(end.reason).toBe('zeroes');
  });

  test('reads across a promotion, and not beyond the timeline that is asked for', async () => {
    const server = await startServer(major, 1);
    await server.query('CREATE TABLE one AS SELECT 1 AS a');
    await server.stop();
    writeFileSync(join(server.data, 'standby.signal'), '');
    giveToServer(join(server.data, 'standby.signal'));
    await server.start();
    expect(await server.value('SELECT pg_promote()')).toBe('true');
    await server.query('CREATE TABLE two AS SELECT 2 AS a');
    const point = parseLsn(await server.value(`SELECT pg_create_restore_point('two')`));
    await server.stop();

    const segmentSize = 1024 * 1024;
    const segments = segmentsOf(server, segmentSize);
    const chunks = segments.map(({ bytes }) => bytes);
    const start = segments[0]?.start ?? 0n;
    const { records } = await readWal(chunks, { start, segmentSize, timeline: 2 });
    const promotion = records.find((record) => record.kind === 'end-of-recovery');
    expect(promotion).toMatchObject({ timeline: 2, previousTimeline: 1 });
    expect(Math.abs((promotion?.kind === 'end-of-recovery' ? promotion.time : 0) - Date.now())).toBeLessThan(600_000);
    expect(records.find((record) => record.kind === 'restore-point')).toMatchObject({ name: 'two', end: point });
    expect(records.at(-1)).toMatchObject({ kind: 'checkpoint', shutdown: true, timeline: 2 });

    const old = await readWal(chunks, { start, segmentSize, timeline: 1 });
    expect(old.end.reason).toBe('timeline');
    expect(old.records.length).toBeGreaterThan(0);
    expect(old.records).toEqual(records.slice(0, old.records.length));
    // A page bears the timeline it was begun on: the rest of the page of the switch is still given.
    expect(old.end.lsn - (promotion?.lsn ?? 0n)).toBeLessThanOrEqual(8192n);
    expect(old.records.some((record) => record.kind === 'restore-point')).toBe(false);
  });
});

test('damaged or shortened WAL gives the records before the damage and nothing else', async () => {
  const server = await startServer(18, 1);
  await server.query('CREATE TABLE load (a text)');
  await server.query(`SELECT pg_create_restore_point('first')`);
  for (let round = 0; round < 40; round++)
    await server.query(`INSERT INTO load SELECT repeat(md5(n::text), 20) FROM generate_series(1, 150) n`);
  await server.stop();
  const segmentSize = 1024 * 1024;
  const segments = segmentsOf(server, segmentSize);
  const options = { start: segments[0]?.start ?? 0n, segmentSize, timeline: 1 };
  const all = Buffer.concat(segments.map(({ bytes }) => bytes));
  const { records, end } = await readWal([all], options);
  const valid = Number(end.lsn - options.start);
  expect(records.filter(({ kind }) => kind === 'commit').length).toBeGreaterThan(40);

  const before = (result: { records: WalRecord[]; end: WalEnd }, offset: number): void => {
    const at = options.start + BigInt(offset);
    expect(result.records).toEqual(records.slice(0, result.records.length));
    // The up to 7 bytes between two records may be missing.
    expect(result.end.lsn).toBeLessThanOrEqual(at + 7n);
    // Whatever ended before the damage is there.
    expect(result.records.length).toBe(records.filter((record) => record.end <= result.end.lsn).length);
  };
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: valid - 1 }), async (length) => {
      const result = await readWal([all.subarray(0, length)], options);
      expect(result.end.reason).toBe('source-end');
      before(result, length);
    }),
    { numRuns: 60 },
  );
  let stopped = 0;
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: valid - 1 }), fc.integer({ min: 0, max: 7 }), async (offset, bit) => {
      runs++;
      all[offset] = (all[offset] ?? 0) ^ (1 << bit);
      try {
        const result = await readWal([all], options);
        if (result.end.lsn === end.lsn) {
          // Bytes that no checksum covers, and that say nothing: padding, and the rest of a page header.
          expect(result.records).toEqual(records);
        } else {
          stopped++;
          expect(result.end.reason).not.toBe('source-end');
          before(result, offset);
        }
      } finally {
        all[offset] = (all[offset] ?? 0) ^ (1 << bit);
      }
    }),
    { numRuns: 120 },
  );
  expect(stopped).toBeGreaterThan(runs / 2);
});
