/** What to do when the server no longer has the WAL that comes next. */
import { randomBytes } from 'node:crypto';
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import { formatLsn } from '../postgres/lsn.ts';
import type { ReplicationConnection, SlotState } from '../postgres/replication/connection.ts';
import type { Gap } from './messages.ts';
import type { WalPosition } from './spool.ts';
import { firstPosition, type ServerState } from './start-position.ts';

/**
 * Finds where to go on: at the slot's restart position if that lies behind `from`, else at the oldest WAL that the server
 * can still promise, which is what a new slot reserves.
 *
 * Throws `WAL_GAP` (retriable) when that is no progress: then the server contradicts itself, and only time can help.
 */
export async function measureGap(
  connection: ReplicationConnection,
  server: ServerState,
  slot: { readonly name: string; readonly state: SlotState },
  from: WalPosition,
): Promise<Gap> {
  const bySlot = slot.state.state === 'reserved' ? firstPosition(slot.state, server) : undefined;
  const to =
    bySlot !== undefined && bySlot.lsn > from.lsn
      ? bySlot
      : firstPosition(
          await freshReservation(connection, `${slot.name.slice(0, 46)}_gap_${randomBytes(6).toString('hex')}`),
          server,
        );
  const where = `timeline ${from.timeline} from ${formatLsn(from.lsn)}`;
  if (to.lsn <= from.lsn) {
    throw new ArchiveError('WAL_GAP', `${server.host} has neither WAL of ${where} nor any later`, { retriable: true });
  }
  return { from, to, reason: `${server.host} no longer has WAL of ${where} to ${formatLsn(to.lsn)}` };
}

async function freshReservation(connection: ReplicationConnection, name: string): Promise<SlotState> {
  try {
    await connection.createSlot(name, { temporary: true });
  } catch (error) {
    // No slot is free: what is left is the server's present segment.
    if (isArchiveError(error) && error.details['sqlstate'] !== undefined) return { state: 'missing' };
    throw error;
  }
  const state = await connection.readSlot(name);
  await connection.dropSlot(name);
  return state;
}

/** What is said of a gap; with the repositories that did not answer, which may hold the WAL. */
export function gapText({ reason }: Gap, unasked: readonly string[]): string {
  if (unasked.length === 0) return reason;
  return `${reason}; whether it is lost is not known, for ${unasked.join(', ')} did not answer: no gap is recorded`;
}

/** The error for a gap that must not be stepped over. */
export function gapError(gap: Gap, unasked: readonly string[]): ArchiveError {
  const { from, to } = gap;
  return new ArchiveError('WAL_GAP', gapText(gap, unasked), {
    ...(unasked.length > 0 && { hint: `Start the receiver again when ${unasked.join(', ')} can be reached.` }),
    details: { timeline: from.timeline, from: formatLsn(from.lsn), to: formatLsn(to.lsn) },
  });
}
