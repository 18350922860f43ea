/** WAL in amounts that a test wants, on a server with segments of 1 MB, and the segments that a folder holds as a repository. */
import { readdirSync } from 'node:fs';
import { basename } from 'node:path';
import type { PostgresServer } from './postgres.ts';
import { until } from './until.ts';

/** Writes so many MiB at once. */
export async function writeWal(server: PostgresServer, mebibytes: number): Promise<void> {
  await server.query(
    `SELECT count(pg_logical_emit_message(true, 'test', repeat('x', 1048000))) FROM generate_series(1, $1::int)`,
    [mebibytes],
  );
}

/** Fills so many segments, and waits until they are in the repository. */
export async function shipSegments(server: PostgresServer, repository: string, count: number): Promise<void> {
  let name = '';
  for (let turn = 0; turn < count; turn += 1) {
    await server.query(`SELECT pg_logical_emit_message(true, 'test', 'x')`);
    name = await server.value('SELECT pg_walfile_name(pg_switch_wal() - 1)');
  }
  await until(`${name} is shipped`, () => segmentsIn(repository).some((path) => basename(path).startsWith(name)));
}

/** Whole segments, ascending; paths below the folder. */
export function segmentsIn(repository: string): readonly string[] {
  return readdirSync(repository, { recursive: true, encoding: 'utf8' })
    .filter((path) => /^[0-9A-F]{24}-[0-9a-f]{32}/.test(basename(path)))
    .sort();
}
