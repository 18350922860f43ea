/** The slot on every host that may become the primary, so that none has removed WAL by then that the receiver lacks. */
import { askServer } from '../postgres/slot-report.ts';
import type { Session } from '../postgres/login.ts';
import type { ConnectionTarget } from '../postgres/target.ts';
import { asArchiveError } from '../receive/messages.ts';

export interface TendSlotsOptions {
  readonly target: ConnectionTarget;
  readonly slot: string;
  readonly systemId: string;
  readonly signal: AbortSignal;
}

/** For people. */
export interface TendedSlots {
  readonly made: readonly string[];
  readonly troubles: readonly string[];
}

interface Row {
  readonly system: string;
  readonly recovery: boolean;
  readonly present: boolean;
  readonly active: boolean;
  readonly restart: string | null;
}

const LOOK = `
  SELECT (SELECT system_identifier::text FROM pg_control_system()) AS system, pg_is_in_recovery() AS recovery,
         s.slot_name IS NOT NULL AS present, coalesce(s.active, false) AS active, s.restart_lsn::text AS restart
    FROM (SELECT $1::name AS name) AS wanted LEFT JOIN pg_replication_slots s ON s.slot_name = wanted.name`;

/** Behind it the server needs no slot of a standby to keep WAL: that of the primary is there. Never beyond what it has replayed. */
const ADVANCE = `
  SELECT pg_replication_slot_advance($1, least($2::pg_lsn, pg_last_wal_replay_lsn()))
   WHERE $2::pg_lsn > $3::pg_lsn AND pg_last_wal_replay_lsn() > $3::pg_lsn`;

/**
 * Makes the slot on each host of the target that has none, with a reservation, and moves those of standbys along behind that of the
 * primary: a slot that nobody moves would keep WAL for ever. The slot of the primary is the receiver's own. What goes wrong with one host
 * holds up no other one. Of two that answer as the primary nobody knows which one the receiver has: then no slot is moved. Errors: `ABORTED`.
 */
export async function tendSlots({ target, slot, systemId, signal }: TendSlotsOptions): Promise<TendedSlots> {
  const [made, troubles]: [string[], string[]] = [[], []];
  const standbys: { readonly target: ConnectionTarget; readonly restart: string }[] = [];
  const primaries: { readonly host: string; readonly restart: string | null }[] = [];
  for (const host of target.hosts) {
    const alone: ConnectionTarget = { ...target, hosts: [host], targetSessionAttrs: 'any' };
    try {
      await askServer(alone, { signal }, async (session) => {
        const row = await look(session, slot);
        if (row.system !== systemId) {
          troubles.push(`${session.host} is system ${row.system}, not ${systemId}: no slot is made there`);
          return;
        }
        if (!row.present) {
          await session.client.query('SELECT pg_create_physical_replication_slot($1, true)', [slot]);
          made.push(`made slot "${slot}" on ${session.host}, which may become the primary`);
        }
        if (!row.recovery) primaries.push({ host: session.host, restart: row.restart });
        else if (row.restart !== null) standbys.push({ target: alone, restart: row.restart });
        else if (row.present && row.active)
          troubles.push(`slot "${slot}" on ${session.host} keeps no WAL, and is in use`);
        else if (row.present) {
          // Lost, or made without a reservation: nobody streams from it, so that nothing is lost with it.
          await session.client.query('SELECT pg_drop_replication_slot($1)', [slot]);
          await session.client.query('SELECT pg_create_physical_replication_slot($1, true)', [slot]);
          made.push(`made slot "${slot}" on ${session.host} anew: it kept no WAL`);
        }
      });
    } catch (error) {
      if (signal.aborted) throw error;
      troubles.push(
        `slot "${slot}" cannot be looked after on ${host.host}:${host.port}: ${asArchiveError(error).message}`,
      );
    }
  }
  if (primaries.length > 1) {
    const hosts = primaries.map(({ host }) => host).join(' and ');
    troubles.push(`${hosts} answer as primaries: slots of standbys stay where they are`);
  }
  const primary = primaries.length === 1 ? primaries[0]?.restart : undefined;
  if (primary == null) return { made, troubles };
  for (const standby of standbys) {
    try {
      await askServer(standby.target, { signal }, (session) =>
        session.client.query(ADVANCE, [slot, primary, standby.restart]),
      );
    } catch (error) {
      if (signal.aborted) throw error;
      troubles.push(`slot "${slot}" was not moved along on a standby: ${asArchiveError(error).message}`);
    }
  }
  return { made, troubles };
}

async function look(session: Session, slot: string): Promise<Row> {
  const { rows } = await session.client.query<Row>(LOOK, [slot]);
  return rows[0] ?? { system: '', recovery: false, present: false, active: false, restart: null };
}
