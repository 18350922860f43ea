import type { PostgresServer } from './postgres.ts';

/** Fills so many segments of 1 MB and switches after each; a row more stands behind the last switch. */
export async function fill(server: PostgresServer, segments: number, rows = 3000): Promise<void> {
  await server.query('CREATE TABLE IF NOT EXISTS filler (a text)');
  for (let count = 0; count < segments; count++) {
    await server.query(`INSERT INTO filler SELECT repeat('x', 100) FROM generate_series(1, ${rows})`);
    await server.query('SELECT pg_switch_wal()');
  }
  await server.query('INSERT INTO filler VALUES (1)');
}
