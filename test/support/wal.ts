/** Real WAL: servers that keep it, their segments, and a short way to read them. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseWalFileName, segmentNumberOf } from '../../core/src/postgres/wal-file.ts';
import type { WalRecord } from '../../core/src/postgres/wal-record-data.ts';
import { readWalRecords, type WalEnd, type WalReadOptions } from '../../core/src/postgres/wal-records.ts';
import { PostgresServer, type Major } from './postgres.ts';

/** A server that keeps all of its WAL and the times of its commits. */
export async function startWalServer(major: Major, segmentMegabytes: number): Promise<PostgresServer> {
  return PostgresServer.start({
    major,
    segmentMegabytes,
    settings: {
      track_commit_timestamp: 'on',
      max_prepared_transactions: '20',
      wal_keep_size: '4GB',
      min_wal_size: `${2 * segmentMegabytes}MB`,
      max_wal_size: '4GB',
      autovacuum: 'off',
    },
  });
}

/** One segment of `pg_wal`. */
export interface Segment {
  readonly name: string;
  readonly start: bigint;
  readonly bytes: Buffer;
}

/** The segments of a stopped server's `pg_wal`, ascending; of two timelines with one number the newer. */
export function segmentsOf(server: PostgresServer, segmentSize: number): Segment[] {
  const folder = join(server.data, 'pg_wal');
  const byNumber = new Map<bigint, Segment>();
  for (const name of readdirSync(folder).sort()) {
    const file = parseWalFileName(name);
    if (file?.kind !== 'segment') continue;
    const number = segmentNumberOf(file, segmentSize);
    byNumber.set(number, { name, start: number * BigInt(segmentSize), bytes: readFileSync(join(folder, name)) });
  }
  return [...byNumber.values()].sort((a, b) => Number(a.start - b.start));
}

/** Reads these pieces of WAL to their end. */
export async function readWal(
  chunks: Iterable<Uint8Array>,
  options: WalReadOptions,
): Promise<{ records: WalRecord[]; end: WalEnd }> {
  const records: WalRecord[] = [];
  for await (const item of readWalRecords(toAsync(chunks), options)) {
    if (item.kind === 'end') return { records, end: item };
    records.push(item);
  }
  throw new Error('the reader gave no end');
}

async function* toAsync(chunks: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* chunks;
}
