/** Connections of the replication protocol, and what their streams hand over. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ReplicationConnection, type ReplicationOptions } from '../../core/src/postgres/replication/connection.ts';
import type { WalHandlers } from '../../core/src/postgres/replication/wal-stream.ts';
import { resolveTarget } from '../../core/src/postgres/target.ts';
import type { PostgresServer } from './postgres.ts';

export async function connect(port: number, options: ReplicationOptions = {}): Promise<ReplicationConnection> {
  const target = await resolveTarget(
    { url: `postgres://postgres@127.0.0.1:${port}/?sslmode=disable` },
    { env: {}, home: '/nonexistent' },
  );
  return ReplicationConnection.open(target, options);
}

/** Keeps what a stream hands over. */
export class Recorder implements WalHandlers {
  readonly chunks: Buffer[] = [];
  start: bigint | undefined;
  end = 0n;
  keepalives = 0;
  drains = 0;
  /** Set when data came after the last `drained`. */
  dirty = false;
  onKeepalive: ((replyRequested: boolean) => void) | undefined;

  data(start: bigint, walEnd: bigint, chunk: Uint8Array): void {
    this.start ??= start;
    if (this.end !== 0n && start !== this.end) throw new Error('a hole in the stream');
    this.chunks.push(Buffer.from(chunk));
    this.end = start + BigInt(chunk.length);
    this.dirty = true;
    if (walEnd < this.end) throw new Error('beyond the WAL of the server');
  }

  keepalive(_: bigint, replyRequested: boolean): void {
    this.keepalives += 1;
    this.onKeepalive?.(replyRequested);
  }

  drained(): void {
    this.drains += 1;
    this.dirty = false;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }

  async until(lsn: bigint): Promise<void> {
    while (this.end < lsn || this.dirty) await sleep(10);
  }
}

export async function flushLsn(server: PostgresServer): Promise<bigint> {
  return BigInt(await server.value("SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn"));
}

export async function load(server: PostgresServer, rows = 20_000): Promise<void> {
  await server.query(`CREATE TABLE IF NOT EXISTS filler (number int, filler text)`);
  await server.query(`INSERT INTO filler SELECT n, repeat('x', 100) FROM generate_series(1, ${rows}) n`);
}
