import { expect } from 'vitest';
import type { PostgresServer } from './postgres.ts';

/** Every B-tree index agrees with its table, and every heap page is well-formed. */
export async function expectClean(server: PostgresServer): Promise<void> {
  await server.query('CREATE EXTENSION IF NOT EXISTS amcheck');
  await server.query(`SELECT bt_index_check(c.oid, c.relkind = 'i' AND i.indisunique) FROM pg_class c
    JOIN pg_index i ON i.indexrelid = c.oid JOIN pg_am a ON a.oid = c.relam
    WHERE a.amname = 'btree' AND c.relkind = 'i' AND c.relpersistence = 'p' AND i.indisready AND i.indisvalid`);
  const damage = await server.query(`SELECT c.relname, v.* FROM pg_class c, verify_heapam(c.oid) v
    WHERE c.relkind IN ('r', 't', 'm') AND c.relpersistence = 'p'`);
  expect(damage).toEqual([]);
}
