/** The configuration of a drill's server: none of the old server's is read, so that nothing of it can act outside. */
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { settingValue } from '../restore/quoting.ts';
import type { Setting } from '../restore/recovery-settings.ts';

/** Number of the socket in the folder `run`. */
export const PORT = 5432;

const MEBIBYTE = 1 << 20;
/** A drill replays and scans: more than this gains little, and the host may have a server of its own. */
const MOST_BUFFERS = 512;
/** Transactions that were prepared after the backup need a place when the recovery ends. */
const LEAST_PREPARED = 100;

export interface ServerConfigOptions {
  /** Folder of the socket and of this file. */
  readonly run: string;
  /** As `server_version_num`. */
  readonly serverVersion: number;
  /** Settings that recovery needs at least as high as on the old server, by `pg_control`. */
  readonly limits: readonly (readonly [name: string, value: number])[];
  readonly preload: readonly string[];
  /** Whether files are made durable. */
  readonly durable: boolean;
}

/** The text of `postgresql.conf`. */
export function serverConfig({ run, serverVersion, limits, preload, durable }: ServerConfigOptions): string {
  const buffers = Math.max(16, Math.min(MOST_BUFFERS, Math.floor(totalmem() / MEBIBYTE / 16)));
  const settings: Setting[] = [
    ['listen_addresses', ''],
    ['port', String(PORT)],
    ['unix_socket_directories', run],
    ['unix_socket_permissions', '0700'],
    ['hba_file', join(run, 'pg_hba.conf')],
    ['ident_file', join(run, 'pg_ident.conf')],
    // Nothing that acts outside: no archiving, no replication, no jobs, no code of extensions at the start.
    ['archive_mode', 'off'],
    ['archive_command', ''],
    ['archive_library', ''],
    ['primary_conninfo', ''],
    ['primary_slot_name', ''],
    ['synchronous_standby_names', ''],
    ['max_logical_replication_workers', '0'],
    ['shared_preload_libraries', preload.join(',')],
    ['session_preload_libraries', ''],
    ['local_preload_libraries', ''],
    ...(serverVersion >= 170_000 ? ([['event_triggers', 'off']] as const) : []),
    ['autovacuum', 'off'],
    // The old server may have been larger than this host.
    ['shared_buffers', `${buffers}MB`],
    ['huge_pages', 'off'],
    ['jit', 'off'],
    ...limits.map(([name, value]): Setting => [
      name,
      String(name === 'max_prepared_transactions' ? Math.max(value, LEAST_PREPARED) : value),
    ]),
    // It takes connections when the recovery has ended, and not before: the log says how far it is.
    ['hot_standby', 'off'],
    ['log_startup_progress_interval', '1s'],
    ['log_line_prefix', '%e|'],
    ['log_destination', 'stderr'],
    ['logging_collector', 'off'],
    ['log_min_messages', 'warning'],
    ['log_min_error_statement', 'panic'],
    ['log_checkpoints', 'off'],
    ['lc_messages', 'C'],
    ['log_timezone', 'UTC'],
    ['timezone', 'UTC'],
    ['restart_after_crash', 'off'],
    ['full_page_writes', 'off'],
    ['fsync', durable ? 'on' : 'off'],
  ];
  return settings.map(([name, value]) => `${name} = ${settingValue(value)}\n`).join('');
}

/** `pg_hba.conf`: only by the socket, which lies in a folder that only the user of the server may enter. */
export const HBA = 'local all all trust\n';

/** `postgresql.auto.conf`: only what the recovery needs. What `ALTER SYSTEM` left there would overrule the file above. */
export function recoveryConfig(settings: readonly Setting[]): string {
  return settings.map(([name, value]) => `${name} = ${settingValue(value)}\n`).join('');
}

/**
 * Options of each connection: `ALTER DATABASE` and `ALTER ROLE` overrule every file, and may load libraries or make the checks wait. No
 * value holds a space.
 */
export function sessionOptions(timeout: number): string {
  const settings = {
    session_preload_libraries: '',
    local_preload_libraries: '',
    statement_timeout: String(timeout),
    default_transaction_read_only: 'off',
  };
  return Object.entries(settings)
    .map(([name, value]) => `-c ${name}=${value}`)
    .join(' ');
}
