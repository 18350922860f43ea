/** Waiting for a slot that another receiver uses. */
import { isArchiveError } from '../contracts/errors.ts';
import type { ReplicationConnection } from '../postgres/replication/connection.ts';
import type { ServerState } from './start-position.ts';

/** Milliseconds between two tries of the slot, at most. */
export const TRY_AGAIN = 2000;

/**
 * Throws `SLOT_BUSY` while another receiver uses the slot. A physical connection cannot ask: the slot is tried, with a stream from the
 * end of the server's WAL that is ended at once and acknowledges nothing. So no repository is asked for anything while this one
 * stands by, and where to begin is decided when the slot is free, by what the archive holds then.
 */
export async function trySlot(
  connection: ReplicationConnection,
  slot: string,
  { flushLsn, timeline }: Pick<ServerState, 'flushLsn' | 'timeline'>,
): Promise<void> {
  const stream = connection.startReplication(
    { slot, lsn: flushLsn, timeline },
    { data: () => undefined, keepalive: () => undefined, drained: () => undefined },
  );
  stream.stop();
  try {
    await stream.ended;
  } catch (error) {
    // Whatever else is wrong, with the slot, the position or the connection, shows on the usual way, which has a name for it.
    if (isArchiveError(error, 'SLOT_BUSY') || isArchiveError(error, 'ABORTED')) throw error;
  }
}
