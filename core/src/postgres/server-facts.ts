/** What `pgark init` and `pgark check` want to know of a server, asked with plain SQL. */
import type { Client } from 'pg';
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import { openSession } from './connect.ts';
import type { ConnectionTarget } from './target.ts';

export interface SlotFact {
  readonly name: string;
  readonly type: string;
  readonly active: boolean;
  /** As `pg_replication_slots.wal_status`: reserved, extended, unreserved, lost; null before the first use. */
  readonly walStatus: string | null;
}

export interface ServerFacts {
  /** `host:port` that answered. */
  readonly host: string;
  readonly user: string;
  /** 64-bit number as text. */
  readonly systemId: string;
  /** As `SHOW server_version`. */
  readonly version: string;
  /** As `server_version_num`. */
  readonly versionNumber: number;
  readonly inRecovery: boolean;
  /** Text of the setting, by name; settings that this version does not have are absent. */
  readonly settings: ReadonlyMap<string, string>;
  readonly slots: readonly SlotFact[];
  /** Connections of the replication protocol that are in use. */
  readonly walSenders: number;
  readonly tablespaces: number;
  /** Whether the role may use the replication protocol. */
  readonly mayReplicate: boolean;
  /** Bytes of all databases, unless the role may not ask. */
  readonly size?: number;
  /** Why a replication connection fails, if it does. */
  readonly replicationProblem?: string;
  /** Milliseconds that its clock is ahead of this one at least: what the time of the answer could explain is taken off. */
  readonly clockAhead: number;
}

const SETTINGS = [
  'wal_level',
  'wal_segment_size',
  'max_wal_senders',
  'max_replication_slots',
  'max_slot_wal_keep_size',
  'archive_mode',
  'archive_command',
  'archive_library',
  'data_checksums',
  'full_page_writes',
  'fsync',
  'synchronous_standby_names',
];

/**
 * Asks the server. Errors: `SERVER_*`.
 */
export async function readServerFacts(
  target: ConnectionTarget,
  options: { readonly signal?: AbortSignal } = {},
): Promise<ServerFacts> {
  const { client, host } = await openAnyDatabase(target, options);
  try {
    const settings = new Map(
      (
        await client.query<{ name: string; setting: string }>(
          'SELECT name, current_setting(name) AS setting FROM pg_settings WHERE name = ANY ($1)',
          [SETTINGS],
        )
      ).rows.map(({ name, setting }) => [name, setting]),
    );
    const [facts] = (
      await client.query<{
        version: string;
        system: string;
        number: string;
        recovery: boolean;
        replicate: boolean;
        tablespaces: number;
      }>(
        `SELECT current_setting('server_version') AS version, (SELECT system_identifier::text FROM pg_control_system()) AS system, current_setting('server_version_num') AS number,
                pg_is_in_recovery() AS recovery, rolsuper OR rolreplication AS replicate,
                (SELECT count(*)::int FROM pg_tablespace WHERE oid NOT IN (1663, 1664)) AS tablespaces
           FROM pg_roles WHERE rolname = current_user`,
      )
    ).rows;
    if (facts === undefined)
      throw new ArchiveError('SERVER_ERROR', `${host} does not know its own role "${target.user}"`);
    const slots = (
      await client.query<SlotFact>(
        'SELECT slot_name::text AS name, slot_type AS type, active, wal_status AS "walStatus" FROM pg_replication_slots ORDER BY slot_name',
      )
    ).rows;
    const senders = await client.query<{ count: number }>('SELECT count(*)::int AS count FROM pg_stat_replication');
    const size = await databaseSize(client);
    const clockAhead = await aheadOf(client);
    const problem = await replicationProblem(target, options);
    return {
      host,
      user: target.user,
      systemId: facts.system,
      version: facts.version,
      versionNumber: Number(facts.number),
      inRecovery: facts.recovery,
      settings,
      slots,
      walSenders: senders.rows[0]?.count ?? 0,
      tablespaces: facts.tablespaces,
      mayReplicate: facts.replicate,
      clockAhead,
      ...(size === undefined ? {} : { size }),
      ...(problem === undefined ? {} : { replicationProblem: problem }),
    };
  } finally {
    await client.end();
  }
}

/** A URL for replication needs no database, and libpq's default, one of the user's name, is often not there. */
export async function openAnyDatabase(
  target: ConnectionTarget,
  options: { readonly signal?: AbortSignal },
): Promise<Awaited<ReturnType<typeof openSession>>> {
  try {
    return await openSession(target, { replication: false, ...options });
  } catch (error) {
    const missing = isArchiveError(error) && error.details['sqlstate'] === '3D000';
    if (!missing || target.database !== target.user) throw error;
    return openSession({ ...target, database: 'postgres' }, { replication: false, ...options });
  }
}

async function aheadOf(client: Client): Promise<number> {
  const before = Date.now();
  const { rows } = await client.query<{ now: string }>('SELECT extract(epoch FROM clock_timestamp())::text AS now');
  const now = Number(rows[0]?.now) * 1000;
  const after = Date.now();
  return now < before ? now - before : now > after ? now - after : 0;
}

/** Undefined when the role may not connect to every database, which the function wants. */
async function databaseSize(client: Client): Promise<number | undefined> {
  const { rows } = await client.query<{ size: string | null }>(
    `SELECT CASE WHEN bool_and(has_database_privilege(oid, 'CONNECT')) THEN sum(pg_database_size(oid)) END::text AS size
       FROM pg_database`,
  );
  const size = rows[0]?.size;
  return size === null || size === undefined ? undefined : Number(size);
}

/** The role and pg_hba.conf decide about replication apart from SQL: only trying tells. */
async function replicationProblem(
  target: ConnectionTarget,
  options: { readonly signal?: AbortSignal },
): Promise<string | undefined> {
  try {
    const { client } = await openSession(target, { replication: true, ...options });
    await client.end();
    return undefined;
  } catch (error) {
    if (isArchiveError(error) && error.code !== 'ABORTED') return error.message;
    throw error;
  }
}
