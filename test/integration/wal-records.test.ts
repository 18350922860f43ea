/** The WAL reader against WAL that real servers wrote, and against what those servers say about it. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { parseControlFile } from '../../core/src/postgres/control-file.ts';
import { formatLsn, parseLsn } from '../../core/src/postgres/lsn.ts';
import { segmentStart } from '../../core/src/postgres/wal-file.ts';
import type { WalRecord, WalTransaction } from '../../core/src/postgres/wal-record-data.ts';
import type { WalEnd } from '../../core/src/postgres/wal-records.ts';
import { MAJORS, type Major, type PostgresServer } from '../support/postgres.ts';
import { readWal, segmentsOf, startWalServer, type Segment } from '../support/wal.ts';

const PG_WALDUMP = '/usr/lib/postgresql/15/bin/pg_waldump';
const servers: PostgresServer[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) await server.destroy();
});

async function startServer(major: Major, segmentMegabytes: number): Promise<PostgresServer> {
  const server = await startWalServer(major, segmentMegabytes);
  servers.push(server);
  return server;
}

function* cut(bytes: Uint8Array, size: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size);
}

function transactions(
  records: readonly WalRecord[],
  kind: WalTransaction['kind'],
  prepared: boolean,
): WalTransaction[] {
  return records.filter((record): record is WalTransaction => record.kind === kind && record.prepared === prepared);
}

interface Truth {
  readonly committed: Map<number, bigint>;
  readonly aborted: number[];
  readonly committedPrepared: number[];
  readonly abortedPrepared: number[];
  readonly restorePoints: { readonly name: string; readonly lsn: bigint }[];
  readonly backups: { readonly start: bigint; readonly stop: bigint }[];
  readonly switches: number;
}

/** Work that leaves every kind of record behind, and what the server says about it. */
async function load(server: PostgresServer): Promise<Truth> {
  const committedXids: number[] = [];
  const aborted: number[] = [];
  const committedPrepared: number[] = [];
  const abortedPrepared: number[] = [];
  const restorePoints: { name: string; lsn: bigint }[] = [];
  const backups: { start: bigint; stop: bigint }[] = [];
  await server.query('CREATE TABLE load (id bigserial PRIMARY KEY, session int, payload text)');
  const work = async (session: number): Promise<void> => {
    const client = await server.client();
    const xid = async (): Promise<number> =>
      Number((await client.query<{ xid: string }>('SELECT pg_current_xact_id()::text AS xid')).rows[0]?.xid);
    const emit = (bytes: number): Promise<unknown> =>
      client.query(`SELECT pg_logical_emit_message(true, 'load', repeat('x', $1::int))`, [bytes]);
    try {
      for (let round = 0; round < 30; round++) {
        await client.query('BEGIN');
        await client.query(
          `INSERT INTO load (session, payload) SELECT $1::int, repeat(md5(n::text), n % 300) FROM generate_series(1, $2::int) n`,
          [session, 1 + ((round * 37) % 120)],
        );
        if (round % 3 === 0) await emit(1 + ((round * session * 7919) % 60_000));
        // Larger than a segment of 1 MB: the record spans three of them.
        if (round === 20 && session === 1) await emit(2_300_000);
        const own = await xid();
        switch (round % 5) {
          case 3:
            await client.query('SAVEPOINT one');
            await client.query('INSERT INTO load (session) VALUES (0)');
            await client.query('ROLLBACK');
            aborted.push(own);
            break;
          case 4: {
            // Subtransactions, files to delete, statistics to drop and invalidations precede the id in the record.
            const gid = `load-${session}-${round}`;
            await client.query(`CREATE TABLE made_${session}_${round} (a int PRIMARY KEY, b text)`);
            for (let sub = 0; sub < round * 20; sub++)
              await client.query(`SAVEPOINT s; INSERT INTO load (session) VALUES (${sub}); RELEASE s`);
            if (round >= 9) await client.query(`DROP TABLE IF EXISTS made_${session}_4`);
            await client.query(`PREPARE TRANSACTION '${gid}'`);
            if (round === 4 || round % 10 === 9) {
              await client.query(`COMMIT PREPARED '${gid}'`);
              committedPrepared.push(own);
            } else {
              await client.query(`ROLLBACK PREPARED '${gid}'`);
              abortedPrepared.push(own);
            }
            break;
          }
          default:
            await client.query('COMMIT');
            committedXids.push(own);
        }
        if (round % 10 === 5) {
          const name = `point ${session}/${round} ä`;
          const { rows } = await client.query<{ lsn: string }>('SELECT pg_create_restore_point($1)::text AS lsn', [
            name,
          ]);
          restorePoints.push({ name, lsn: parseLsn(rows[0]?.lsn ?? '') });
        }
        if (round === 15 && session === 2) {
          const start = await client.query<{ lsn: string }>(`SELECT pg_backup_start('x', true)::text AS lsn`);
          const stop = await client.query<{ lsn: string }>('SELECT lsn::text FROM pg_backup_stop(false)');
          backups.push({ start: parseLsn(start.rows[0]?.lsn ?? ''), stop: parseLsn(stop.rows[0]?.lsn ?? '') });
        }
        if (round === 25 && session === 3) await client.query('CHECKPOINT');
        if (round % 14 === 13 && session === 4) await client.query('SELECT pg_switch_wal()');
      }
    } finally {
      await client.end();
    }
  };
  await Promise.all([1, 2, 3, 4].map(work));
  const rows = await server.query<{ xid: string; micros: string }>(
    `SELECT x::text AS xid, (extract(epoch FROM pg_xact_commit_timestamp(x::text::xid)) * 1000000)::bigint::text AS micros
       FROM unnest($1::bigint[]) x`,
    [[...committedXids, ...committedPrepared]],
  );
  const committed = new Map(rows.map((row) => [Number(row.xid), BigInt(row.micros)]));
  return { committed, aborted, committedPrepared, abortedPrepared, restorePoints, backups, switches: 2 };
}

const sorted = (values: Iterable<number>): number[] => [...values].sort((a, b) => a - b);

describe.each(MAJORS)('WAL of PostgreSQL %i', (major) => {
  test.each([1, 16])('in segments of %i MB reads as the server says', async (megabytes) => {
    const server = await startServer(major, megabytes);
    const segmentSize = megabytes * 1024 * 1024;
    const truth = await load(server);
    await server.stop();

    const segments = segmentsOf(server, segmentSize);
    const control = parseControlFile(readFileSync(join(server.data, 'global/pg_control')));
    const start = segments[0]?.start ?? 0n;
    const options = { start, segmentSize, timeline: 1, systemId: control.systemId };
    const { records, end } = await readWal(
      segments.map((segment) => segment.bytes),
      options,
    );

    // The chain was followed to its very end: the checkpoint of the shutdown.
    expect(records.at(-1)).toMatchObject({
      kind: 'checkpoint',
      shutdown: true,
      lsn: control.checkpointLsn,
      redo: control.checkpoint.redoLsn,
      nextXid: control.checkpoint.nextXid,
      time: control.checkpoint.time,
      timeline: 1,
    });
    expect(end).toMatchObject({ lsn: records.at(-1)?.end, reason: 'zeroes' });
    expect(control.state).toBe('shut down');

    const commits = transactions(records, 'commit', false);
    const commitsPrepared = transactions(records, 'commit', true);
    const found = new Map([...commits, ...commitsPrepared].map((record) => [record.xid, record.micros]));
    for (const [xid, micros] of truth.committed) expect([xid, found.get(xid)]).toEqual([xid, micros]);
    expect(sorted(commitsPrepared.map(({ xid }) => xid))).toEqual(sorted(truth.committedPrepared));
    expect(sorted(transactions(records, 'abort', true).map(({ xid }) => xid))).toEqual(sorted(truth.abortedPrepared));
    expect(sorted(transactions(records, 'abort', false).map(({ xid }) => xid))).toEqual(
      expect.arrayContaining(sorted(truth.aborted)),
    );
    expect(sorted(transactions(records, 'prepare', false).map(({ xid }) => xid))).toEqual(
      sorted([...truth.committedPrepared, ...truth.abortedPrepared]),
    );
    for (const commit of commits) expect(commit.time).toBe(Number(commit.micros / 1000n));

    const byLsn = (a: { lsn: bigint }, b: { lsn: bigint }): number => Number(a.lsn - b.lsn);
    const points = records.filter((record) => record.kind === 'restore-point');
    expect(points.map(({ name, end }) => ({ name, lsn: end }))).toEqual([...truth.restorePoints].sort(byLsn));
    expect(records.filter((record) => record.kind === 'backup-end')).toMatchObject(
      truth.backups.map((backup) => ({ start: backup.start, end: backup.stop })),
    );
    const switches = records.filter((record) => record.kind === 'switch');
    expect(switches.length).toBeGreaterThanOrEqual(truth.switches);
    for (const { end } of switches) expect(end).toBe(segmentStart(end, segmentSize));

    // The load did what it is for: records over pages and, in small segments, over segments.
    if (megabytes === 1) expect(segments.length).toBeGreaterThan(5);

    // The same whatever the pieces it comes in, and without checksums.
    const all = Buffer.concat(segments.map((segment) => segment.bytes));
    const mostOf = all.subarray(0, Math.min(all.byteLength, 24 * 1024 * 1024));
    const whole = await readWal([mostOf], options);
    for (const size of [777, 8192, 100_000]) expect(await readWal(cut(mostOf, size), options)).toEqual(whole);
    expect(await readWal([all], { ...options, checkCrc: false })).toEqual({ records, end });

    // From any later segment: what that segment begins with belongs to a record that is not read.
    for (const segment of segments.filter(({ start }) => start < end.lsn)) {
      const from = segments.filter(({ start }) => start >= segment.start).map(({ bytes }) => bytes);
      const later = await readWal(from, { ...options, start: segment.start });
      expect(later.records).toEqual(records.filter(({ lsn }) => lsn >= segment.start));
      expect(later.end).toEqual(end);
    }

    // From a position inside a segment.
    const middle = records[Math.floor(records.length / 2)]?.lsn ?? 0n;
    const first = segmentStart(middle, segmentSize);
    const rest = segments.filter(({ start }) => start >= first).map(({ bytes }) => bytes);
    expect((await readWal(rest, { ...options, start: middle })).records).toEqual(
      records.filter(({ lsn }) => lsn >= middle),
    );
  });
});

test.skipIf(!existsSync(PG_WALDUMP)).each([1, 16])(
  'WAL of PostgreSQL 15 in segments of %i MB reads as pg_waldump reads it',
  async (megabytes) => {
    const server = await startServer(15, megabytes);
    const segmentSize = megabytes * 1024 * 1024;
    await load(server);
    await server.stop();
    const segments = segmentsOf(server, segmentSize);
    const { records, end } = await readWal(
      segments.map(({ bytes }) => bytes),
      { start: segments[0]?.start ?? 0n, segmentSize, timeline: 1 },
    );
    const theirs = waldump(server, segments, end);
    expect(theirs.length).toBeGreaterThan(100);
    expect(
      records.map((record) => `${formatLsn(record.lsn)} ${record.kind}${'xid' in record ? ` ${record.xid}` : ''}`),
    ).toEqual(theirs);
  },
);

/** LSN, kind and transaction of every record of these kinds that pg_waldump prints. */
function waldump(server: PostgresServer, segments: readonly Segment[], end: WalEnd): string[] {
  const first = segments[0]?.name ?? '';
  const last = segments.findLast(({ start }) => start < end.lsn)?.name ?? '';
  const output = execFileSync(
    PG_WALDUMP,
    ['-p', join(server.data, 'pg_wal'), '-e', formatLsn(end.lsn), '-r', 'Transaction', '-r', 'XLOG', first, last],
    { encoding: 'utf8', maxBuffer: 1 << 30 },
  );
  const kinds: Readonly<Record<string, string>> = {
    COMMIT: 'commit',
    COMMIT_PREPARED: 'commit',
    ABORT: 'abort',
    ABORT_PREPARED: 'abort',
    PREPARE: 'prepare',
    RESTORE_POINT: 'restore-point',
    CHECKPOINT_SHUTDOWN: 'checkpoint',
    CHECKPOINT_ONLINE: 'checkpoint',
    SWITCH: 'switch',
    BACKUP_END: 'backup-end',
  };
  const theirs: string[] = [];
  for (const line of output.split('\n')) {
    const match =
      /^rmgr: (\w+)\s+len .*, tx:\s+(\d+), lsn: ([0-9A-F/]+), prev [0-9A-F/]+, desc: (\w+)(?: (\d+): | gid .*?: )?/.exec(
        line,
      );
    const kind = kinds[match?.[4] ?? ''];
    if (match === null || kind === undefined) continue;
    const xid = match[4]?.endsWith('_PREPARED') ? match[5] : match[2];
    theirs.push(`${formatLsn(parseLsn(match[3] ?? ''))} ${kind}${match[1] === 'Transaction' ? ` ${xid}` : ''}`);
  }
  return theirs;
}
