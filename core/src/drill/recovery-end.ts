/** The first questions to a restored server: who may ask, and where its recovery ended. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from 'pg';
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { parseLsn } from '../postgres/lsn.ts';
import { parseHistory } from '../postgres/timeline.ts';
import { historyName } from '../postgres/wal-file.ts';
import { restoreError } from '../restore/restore-error.ts';
import type { RecoveryEnd } from './reached.ts';
import type { ScratchServer } from './scratch-server.ts';

/** The first connection. Errors: `DRILL_INCONCLUSIVE` when the role is none that may ask everything. */
export async function connectAsSuperuser(server: ScratchServer, role: string, options: CallOptions): Promise<Client> {
  const hint = `Name a superuser of the restored cluster with drill.role; "${role}" is none.`;
  let client: Client;
  try {
    client = await server.connect('postgres', options).catch((error: unknown) => {
      // A cluster need not have the database; this one it has.
      if (isArchiveError(error) && error.details['sqlstate'] === '3D000') return server.connect('template1', options);
      throw error;
    });
  } catch (error) {
    if (!isArchiveError(error, 'SERVER_AUTH')) throw error;
    throw new ArchiveError('DRILL_INCONCLUSIVE', error.message, { hint, cause: error });
  }
  const { rows } = await client.query<{ super: string }>(`SELECT pg_catalog.current_setting('is_superuser') AS super`);
  if (rows[0]?.super === 'on') return client;
  await client.end();
  throw new ArchiveError('DRILL_INCONCLUSIVE', `role "${role}" is no superuser of the restored cluster`, { hint });
}

/** Where the recovery ended, and the `server_version_num`. Errors: `DRILL_FAILED`, those of reading the history file. */
export async function readRecoveryEnd(
  client: Client,
  data: string,
): Promise<RecoveryEnd & { readonly serverVersion: number }> {
  const { rows } = await client.query<{ lsn: string | null; micros: string | null; file: string; version: string }>(
    `SELECT pg_catalog.pg_last_wal_replay_lsn()::text AS lsn, pg_catalog.current_setting('server_version_num') AS version,
            (extract(epoch FROM pg_catalog.pg_last_xact_replay_timestamp()) * 1000000)::int8::text AS micros,
            pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()) AS file`,
  );
  const [row] = rows;
  if (row === undefined || row.lsn === null)
    throw new ArchiveError('DRILL_FAILED', 'the restored server started without a recovery');
  // It began a timeline of its own, whose history file says which one it left.
  const name = historyName(Number.parseInt(row.file.slice(0, 8), 16));
  const history = parseHistory(await readRestored(join(data, 'pg_wal', name)), name);
  return {
    lsn: parseLsn(row.lsn),
    timeline: history.at(-1)?.timeline ?? 0,
    micros: row.micros === null ? undefined : BigInt(row.micros),
    serverVersion: Number(row.version),
  };
}

/** A file of the restored cluster. Errors: `RESTORE_FAILED`. */
export async function readRestored(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    throw restoreError(error, `reading ${path}`);
  }
}
