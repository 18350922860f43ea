import type { PostgresServer } from './postgres.ts';
import { until } from './until.ts';

/**
 * Waits, under load, until the server writes somewhere in the middle of a segment. A receiver may be ahead of a standby by what is under way; a
 * fork before the segment that the receiver has open is for the operator to accept, which is not what a test of a failover is about.
 */
export async function midSegment(server: PostgresServer, segmentSize: number): Promise<void> {
  await until('the middle of a segment', async () => {
    const offset = Number(await server.value(`SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') % ${segmentSize}`));
    return offset > segmentSize * 0.1 && offset < segmentSize * 0.6;
  });
}
