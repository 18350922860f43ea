import type { ReplicationConnection } from '../postgres/replication/connection.ts';

/**
 * How many milliseconds the server's clock is ahead of this machine's, to within the time of one round trip.
 *
 * A replication connection knows no SQL, but each message of a WAL stream carries the time at which it was sent: so a stream is
 * begun at the end of the WAL, asked for a sign of life, and stopped. It reports no positions, and so counts for no slot and
 * for no synchronous commit. Undefined when the stream ended before it said anything.
 */
export async function serverClockOffset(connection: ReplicationConnection): Promise<number | undefined> {
  const { timeline, flushLsn } = await connection.identifySystem();
  let offset: number | undefined;
  const seen = (sentAt: number): void => {
    offset ??= sentAt - Date.now();
    stream.stop();
  };
  let asked = false;
  const stream = connection.startReplication(
    { lsn: flushLsn, timeline },
    {
      data: () => undefined,
      keepalive: (_walEnd, _replyRequested, sentAt) => seen(sentAt),
      drained: () => {
        if (asked) return;
        asked = true;
        stream.status({ write: 0n, flush: 0n }, { requestReply: true });
      },
    },
  );
  await stream.ended;
  return offset;
}
