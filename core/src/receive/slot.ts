import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { ReplicationConnection, SlotState } from '../postgres/replication/connection.ts';

export interface EnsureSlotOptions {
  /** Whether a slot may be made, and one that reserves nothing be replaced. */
  readonly create: boolean;
  /** The server has refused the slot as invalidated. */
  readonly invalidated: boolean;
}

export interface EnsuredSlot {
  readonly state: SlotState;
  /** Why the slot was made in this call; undefined when it was there. */
  readonly made?: 'SLOT_MISSING' | 'SLOT_INVALIDATED';
}

/**
 * The state of the slot, which is made with a reservation of WAL when there is none (H-06).
 *
 * A slot that reserves nothing is replaced: it never did, or it was invalidated, which servers up to 17 let a receiver
 * use without a word although it keeps no WAL any more. Another receiver that does the same at the same time is no failure. Throws
 * `SLOT_MISSING` when the slot may not be made, `SLOT_BUSY` for one that reserves nothing and is in use.
 */
export async function ensureSlot(
  connection: ReplicationConnection,
  name: string,
  { create, invalidated }: EnsureSlotOptions,
): Promise<EnsuredSlot> {
  const state = await connection.readSlot(name);
  const usable = state.state === 'reserved' && !invalidated;
  if (usable || (!create && state.state !== 'missing')) return { state };
  if (!create) {
    throw new ArchiveError('SLOT_MISSING', `${connection.host} has no replication slot "${name}"`, {
      hint: `Run "SELECT pg_create_physical_replication_slot('${name}', true)" on the server, or set receive.createSlot.`,
    });
  }
  if (state.state !== 'missing') await unlessDone('42704', connection.dropSlot(name));
  const isOurs = await unlessDone('42710', connection.createSlot(name));
  if (!isOurs) return { state: await connection.readSlot(name) };
  const made = state.state === 'missing' ? 'SLOT_MISSING' : 'SLOT_INVALIDATED';
  return { state: await connection.readSlot(name), made };
}

/** Whether this receiver did it: false when the server says, with this SQLSTATE, that another one was faster. */
async function unlessDone(sqlstate: string, work: Promise<void>): Promise<boolean> {
  try {
    await work;
    return true;
  } catch (error) {
    if (isArchiveError(error) && error.details['sqlstate'] === sqlstate) return false;
    throw error;
  }
}
