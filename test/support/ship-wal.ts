/** Puts the segments that a server has completed into an archive, in place of a receiver. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseLsn } from '../../core/src/postgres/lsn.ts';
import { parseWalFileName, segmentNumber, segmentNumberOf } from '../../core/src/postgres/wal-file.ts';
import type { Repository } from '../../core/src/repository/repository.ts';
import type { PostgresServer } from './postgres.ts';

/** The server's system identifier, decimal. */
export async function systemIdOf(server: PostgresServer): Promise<string> {
  return server.value('SELECT system_identifier FROM pg_control_system()');
}

/** Settings of a server whose WAL is shipped from here: nothing is removed or used again while it is read. */
export const KEEP_WAL: Readonly<Record<string, string>> = { wal_keep_size: '1GB', wal_recycle: 'off' };

/**
 * Archives every completed segment and history file that is in `pg_wal` now, without the segments before `from`; gives the names that were
 * new. Without `from` the server must keep all its WAL: one that is removed between two looks is an error.
 */
export async function shipWal(
  server: PostgresServer,
  repository: Repository,
  from?: string,
): Promise<readonly string[]> {
  if ((await server.value('SHOW wal_keep_size')) === '0') throw new Error('the server needs the settings KEEP_WAL');
  const archive = repository.wal(await systemIdOf(server));
  const segmentSize = Number(await server.value(`SELECT setting FROM pg_settings WHERE name = 'wal_segment_size'`));
  const end = parseLsn(
    await server.value(
      'SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_flush_lsn() END',
    ),
  );
  const stored: string[] = [];
  for (const name of readdirSync(join(server.data, 'pg_wal')).sort()) {
    const file = parseWalFileName(name);
    if (file === undefined) continue;
    // Segments from the current one on are not complete, or recycled ones that wait for their turn.
    if (file.kind === 'segment' && segmentNumberOf(file, segmentSize) >= segmentNumber(end, segmentSize)) continue;
    if (file.kind !== 'segment' && file.kind !== 'history') continue;
    if (file.kind === 'segment' && from !== undefined && name < from) continue;
    if ((await archive.push(name, { path: join(server.data, 'pg_wal', name) })) === 'stored') stored.push(name);
  }
  return stored;
}

/** Ships all the time until stopped. */
export class Shipper {
  #stopped = false;
  readonly #running: Promise<void>;

  constructor(server: PostgresServer, repository: Repository) {
    this.#running = this.#run(server, repository);
    this.#running.catch(() => undefined); // stop() tells
  }

  async #run(server: PostgresServer, repository: Repository): Promise<void> {
    await repository.open({ create: true });
    while (!this.#stopped) {
      await shipWal(server, repository);
      await sleep(100);
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }
}
