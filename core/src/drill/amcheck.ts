import type { Client } from 'pg';
import { ask, refusal, type Answer, type CheckOptions } from './checks.ts';
import type { DrillCheck } from './drill-result.ts';
import type { ScratchServer } from './scratch-server.ts';
import { sqlstateOf } from './verdict.ts';

/** Damaged relations that a result names. */
const NAMED = 5;

interface Relation {
  readonly oid: number;
  readonly name: string;
  readonly isIndex: boolean;
}

/** What says that files are damaged or missing; anything else, such as an index of a kind that cannot be checked, does not. */
const DAMAGE = /^(?:XX...|58P01)$/;

const RELATIONS = `SELECT c.oid, c.oid::pg_catalog.regclass::text AS name, c.relkind = 'i' AS "isIndex"
  FROM pg_catalog.pg_class c
  LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
  LEFT JOIN pg_catalog.pg_am a ON a.oid = c.relam
 WHERE c.relpersistence = 'p'
   AND ((c.relkind = 'i' AND a.amname = 'btree' AND i.indisready AND i.indisvalid)
     OR (c.relkind IN ('r', 't', 'm') AND a.amname = 'heap'))
 ORDER BY c.oid`;

/** Whether text sorts on this host as it did on the old one: an index that was made with another order is not damaged. */
const OTHER_ORDER = `SELECT EXISTS (SELECT FROM pg_catalog.pg_database
    WHERE datname = pg_catalog.current_database() AND datcollversion <> pg_catalog.pg_database_collation_actual_version(oid))
  OR EXISTS (SELECT FROM pg_catalog.pg_collation
    WHERE collversion <> pg_catalog.pg_collation_actual_version(oid)) AS other`;

interface Found {
  tables: number;
  indexes: number;
  damaged: { readonly relation: Relation; readonly answer: Answer }[];
}

/**
 * Checks every table and B-tree index of the databases with the extension `amcheck`. An index that seems damaged is no verdict where the
 * collations of this host have another version than on the old server.
 */
export async function checkRelations(
  server: ScratchServer,
  databases: readonly string[],
  options: CheckOptions,
): Promise<DrillCheck> {
  const name = 'amcheck';
  const found: Found = { tables: 0, indexes: 0, damaged: [] };
  for (const database of databases) {
    const answer = await ask(server, database, options, (client) => checkDatabase(client, database, found, options));
    if (answer.outcome !== 'passed') return { name, ...answer };
    if (found.damaged.length >= NAMED) break;
  }
  const { tables, indexes, damaged } = found;
  const seen = `${tables} tables and ${indexes} indexes in ${databases.length} databases`;
  if (damaged.length === 0) return { name, outcome: 'passed', detail: seen };
  // Names and what amcheck says are shown and not stored: they are not for those who may read the archive but not decrypt it.
  const oids = damaged.map(({ relation }) => relation.oid).join(', ');
  const more = damaged.length >= NAMED ? ' and perhaps more' : '';
  return {
    name,
    outcome: damaged.some(({ answer }) => answer.outcome === 'failed') ? 'failed' : 'inconclusive',
    detail: `${damaged[0]?.answer.detail ?? ''}: OID ${oids}${more}`,
    said: damaged.map(({ relation, answer }) => `${relation.name}: ${answer.said ?? ''}`).join('; '),
  };
}

async function checkDatabase(client: Client, database: string, found: Found, options: CheckOptions): Promise<Answer> {
  const { rows: available } = await client.query(
    `SELECT FROM pg_catalog.pg_available_extensions WHERE name = 'amcheck'`,
  );
  if (available.length === 0)
    return { outcome: 'skipped', detail: 'the server of the drill does not have the extension amcheck' };
  await client.query('CREATE EXTENSION IF NOT EXISTS amcheck');
  // A cluster that was upgraded may have that of an old version, which knows nothing of tables.
  await client.query('ALTER EXTENSION amcheck UPDATE');
  const { rows: place } = await client.query<{ schema: string }>(
    `SELECT pg_catalog.quote_ident(nspname) AS schema FROM pg_catalog.pg_extension e
       JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE extname = 'amcheck'`,
  );
  const schema = place[0]?.schema ?? 'public';
  const { rows: order } = await client.query<{ other: boolean }>(OTHER_ORDER);
  const { rows: relations } = await client.query<Relation>(RELATIONS);
  for (const [at, relation] of relations.entries()) {
    options.onProgress(`database ${database}: ${at + 1} of ${relations.length} tables and indexes`);
    const answer = await checkRelation(client, schema, relation);
    if (relation.isIndex) found.indexes++;
    else found.tables++;
    if (answer === undefined) continue;
    const otherOrder = relation.isIndex && order[0]?.other === true;
    found.damaged.push({
      relation,
      answer: otherOrder
        ? {
            ...answer,
            outcome: 'inconclusive',
            detail: 'collations have another version on this host; damaged or sorted otherwise',
          }
        : answer,
    });
    if (found.damaged.length >= NAMED) break;
  }
  return { outcome: 'passed', detail: '' };
}

/** What is wrong with a table or an index; undefined when nothing is. */
async function checkRelation(client: Client, schema: string, { oid, isIndex }: Relation): Promise<Answer | undefined> {
  try {
    if (isIndex) {
      await client.query(`SELECT ${schema}.bt_index_check($1::oid)`, [oid]);
      return undefined;
    }
    const { rows } = await client.query<{ said: string }>(
      `SELECT pg_catalog.format('block %s: %s', blkno, msg) AS said FROM ${schema}.verify_heapam($1::oid) LIMIT 3`,
      [oid],
    );
    if (rows.length === 0) return undefined;
    return { outcome: 'failed', detail: 'damaged', said: rows.map(({ said }) => said).join(', ') };
  } catch (error) {
    const answer = refusal(error);
    if (answer.outcome !== 'failed') return answer;
    const isDamage = DAMAGE.test(sqlstateOf(error) ?? '');
    return { ...answer, ...(isDamage ? { detail: 'damaged' } : { outcome: 'inconclusive' }) };
  }
}
