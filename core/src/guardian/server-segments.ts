/** Whole segments from a server that still has them, without a slot: nothing is acknowledged. */
import { rmSync } from 'node:fs';
import { ArchiveError } from '../contracts/errors.ts';
import { ReplicationConnection } from '../postgres/replication/connection.ts';
import type { ConnectionTarget } from '../postgres/target.ts';
import { SegmentWriter } from '../receive/segment-writer.ts';
import { guard } from '../receive/spool-error.ts';
import type { WalHole } from './holes.ts';

export interface ServerSegmentsOptions {
  readonly systemId: string;
  readonly segmentSize: number;
  /** An existing, empty folder. */
  readonly folder: string;
  readonly signal: AbortSignal;
}

/** Milliseconds without a byte after which a server that still answers is taken for one that has no more. */
const STILL = 60_000;
/** The most segments that lie in the folder at once. */
const BATCH = 8n;

/**
 * Receives segments of a hole into the folder, each of which is whole and durable when `take` gets its name; what it has taken is
 * removed. Errors: `WAL_GAP` when the server no longer has the first one, `TIMELINE_DIVERGED`, `SYSTEM_MISMATCH`, `SERVER_*`, `SPOOL_*`,
 * `ABORTED`, and what `take` throws.
 */
export async function serverSegments(
  target: ConnectionTarget,
  { timeline, first, last }: WalHole,
  options: ServerSegmentsOptions,
  take: (name: string) => Promise<void>,
): Promise<void> {
  const { systemId, segmentSize, folder, signal } = options;
  const connection = await ReplicationConnection.open(target, { signal });
  const finished: string[] = [];
  const writer = new SegmentWriter({
    folder,
    segmentSize,
    onOpened: () => undefined,
    onFinished: (name) => finished.push(name),
  });
  try {
    const system = await connection.identifySystem();
    if (system.systemId !== systemId)
      throw new ArchiveError(
        'SYSTEM_MISMATCH',
        `${connection.host} is system ${system.systemId}, expected ${systemId}`,
      );
    const size = BigInt(segmentSize);
    for (let next = first; next <= last; next += BATCH) {
      const end = (next + BATCH - 1n < last ? next + BATCH : last + 1n) * size;
      writer.begin(timeline, next * size);
      // As its messages say; 0 before the first one.
      let serverEnd = 0n;
      let moved = performance.now();
      let asked = false;
      const stream = connection.startReplication(
        { lsn: next * size, timeline },
        {
          data: (start, walEnd, chunk) => {
            serverEnd = walEnd;
            moved = performance.now();
            asked = false;
            const room = Number(end - start);
            writer.write(start, chunk.byteLength > room ? chunk.subarray(0, room) : chunk);
            if (writer.written >= end) stream.stop();
          },
          keepalive: (walEnd, replyRequested) => {
            // It has sent all that it has, and would go on waiting for more.
            const isAtEnd = walEnd <= writer.written && serverEnd > 0n && serverEnd <= writer.written;
            if (isAtEnd || performance.now() - moved > STILL) stream.stop();
            // A flush position of 0 acknowledges nothing, also where any standby counts as synchronous.
            if (replyRequested) stream.status({ write: 0n, flush: 0n });
          },
          drained: () => {
            // Whether that is all it says in half a minute by itself, or at once when it is asked.
            if (asked || serverEnd === 0n || writer.written < serverEnd || writer.written >= end) return;
            asked = true;
            stream.status({ write: 0n, flush: 0n }, { requestReply: true });
          },
        },
      );
      const { reason } = await stream.ended;
      for (const name of finished.splice(0)) {
        await take(name);
        guard(folder, () => {
          rmSync(`${folder}/${name}`, { force: true });
        });
      }
      if (writer.written < end || reason !== 'stopped') {
        throw new ArchiveError('WAL_GAP', `${connection.host} has no more of timeline ${timeline}`);
      }
    }
  } finally {
    await writer.close();
    await connection.close();
  }
}
