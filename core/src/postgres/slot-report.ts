/** What a server says, by SQL, about one of its replication slots and about itself: more than the replication protocol tells. */
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { Session } from './login.ts';
import { parseLsn } from './lsn.ts';
import { serverError } from './server-error.ts';
import { openAnyDatabase } from './server-facts.ts';
import type { ConnectionTarget } from './target.ts';

/** A slot as `pg_replication_slots` shows it. What a version does not have, or says nothing of, is absent. */
export interface SlotCondition {
  readonly active: boolean;
  readonly restartLsn?: bigint;
  /** `reserved`, `extended`, `unreserved` or `lost`. */
  readonly walStatus?: string;
  /** Bytes that can be written before the slot may lose WAL; absent without a limit, and for one that has lost it. */
  readonly safeBytes?: bigint;
  /** Why it is of no use any more, such as `wal_removed`; of version 17 and later. */
  readonly invalidation?: string;
}

export interface SlotReport {
  /** The host that was reached, `db1:5432`. */
  readonly host: string;
  /** 64-bit number as text. */
  readonly systemId: string;
  readonly inRecovery: boolean;
  /** Of a standby that of its last checkpoint. */
  readonly timeline: number;
  /** The end of its WAL: flushed, or on a standby received. */
  readonly walEnd: bigint;
  /** `max_slot_wal_keep_size` in bytes; absent without a limit. */
  readonly keepBytes?: bigint;
  /** Absent when there is none of this name. */
  readonly slot?: SlotCondition;
}

interface Row {
  readonly recovery: boolean;
  readonly system: string;
  readonly timeline: number;
  readonly end: string | null;
  readonly keep: string;
  readonly slot: Readonly<Record<string, unknown>> | null;
}

/** The columns of the view differ between versions: it is asked for whole. */
const REPORT = `
  SELECT pg_is_in_recovery() AS recovery,
         (SELECT system_identifier::text FROM pg_control_system()) AS system,
         CASE WHEN pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_control_checkpoint())
              ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END AS timeline,
         (CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
               ELSE pg_current_wal_flush_lsn() END)::text AS end,
         (SELECT setting FROM pg_settings WHERE name = 'max_slot_wal_keep_size') AS keep,
         (SELECT to_jsonb(s) FROM pg_replication_slots s WHERE slot_name = $1) AS slot`;

/** Milliseconds for the whole question. */
const DEADLINE = 15_000;

export interface AskServerOptions {
  readonly signal?: AbortSignal;
}

/** Asks the first host that matches the target. Errors: `SERVER_*`, also when the role may not ask; `ABORTED`. */
export async function readSlotReport(
  target: ConnectionTarget,
  slot: string,
  options: AskServerOptions = {},
): Promise<SlotReport> {
  return askServer(target, options, async (session) => {
    const { rows } = await session.client.query<Row>(REPORT, [slot]);
    const [row] = rows;
    if (row === undefined || row.end === null)
      throw new ArchiveError('SERVER_ERROR', `${session.host} does not say where its WAL ends`, { retriable: true });
    const megabytes = BigInt(row.keep);
    return {
      host: session.host,
      systemId: row.system,
      inRecovery: row.recovery,
      timeline: row.timeline,
      walEnd: parseLsn(row.end),
      ...(megabytes >= 0n && { keepBytes: megabytes * 1024n * 1024n }),
      ...(row.slot !== null && { slot: conditionOf(row.slot) }),
    };
  });
}

function conditionOf(row: Readonly<Record<string, unknown>>): SlotCondition {
  const text = (name: string): string | undefined => {
    const value = row[name];
    return typeof value === 'string' ? value : undefined;
  };
  const [restart, status, invalidation] = [text('restart_lsn'), text('wal_status'), text('invalidation_reason')];
  const safe = row['safe_wal_size'];
  return {
    active: row['active'] === true,
    ...(restart !== undefined && { restartLsn: parseLsn(restart) }),
    ...(status !== undefined && { walStatus: status }),
    ...(typeof safe === 'number' && { safeBytes: BigInt(safe) }),
    ...(invalidation !== undefined && { invalidation }),
  };
}

/** Opens a connection for SQL, asks, and closes it; all of that within a time. Errors: `SERVER_*`, `ABORTED`. */
export async function askServer<Value>(
  target: ConnectionTarget,
  options: AskServerOptions,
  ask: (session: Session) => Promise<Value>,
): Promise<Value> {
  const late = AbortSignal.timeout(DEADLINE);
  const signal = options.signal === undefined ? late : AbortSignal.any([options.signal, late]);
  let session: Session | undefined;
  const cut = (): void => {
    session?.socket.destroy();
  };
  try {
    session = await openAnyDatabase(target, { signal });
    signal.addEventListener('abort', cut, { once: true });
    return await ask(session);
  } catch (error) {
    if (options.signal?.aborted) throw new ArchiveError('ABORTED', 'asking the server was cancelled', { cause: error });
    const host = session?.host ?? 'the server';
    if (late.aborted)
      throw new ArchiveError('SERVER_UNREACHABLE', `${host} gave no answer in ${DEADLINE} ms`, { cause: error });
    if (isArchiveError(error)) throw error;
    const report = error as Parameters<typeof serverError>[0];
    if (/^[0-9A-Z]{5}$/.test(report.code ?? '')) throw serverError(report, { host });
    throw new ArchiveError('SERVER_UNREACHABLE', `${host}: ${report.message}`, { cause: error });
  } finally {
    signal.removeEventListener('abort', cut);
    await session?.client.end().catch(() => undefined); // it is gone already
  }
}
