/** Questions that a restored cluster is asked. */
import type { Client } from 'pg';
import type { DrillCheckConfig } from '../config/config.ts';
import { throwIfAborted } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { checkName, type DrillCheck } from './drill-result.ts';
import type { ScratchServer } from './scratch-server.ts';
import { isOfTheHost, sqlstateOf } from './verdict.ts';

export interface CheckOptions extends CallOptions {
  readonly onProgress: (text: string) => void;
}

/** What a check comes to, without its name. */
export type Answer = Omit<DrillCheck, 'name'>;

/** Opens every database and reads its catalogs; gives the databases that can be asked further. */
export async function checkDatabases(
  server: ScratchServer,
  admin: Client,
  options: CheckOptions,
): Promise<{ readonly check: DrillCheck; readonly databases: readonly string[] }> {
  const { rows } = await admin.query<{ name: string }>(
    'SELECT datname AS name FROM pg_database WHERE datallowconn ORDER BY datname',
  );
  let relations = 0;
  for (const { name } of rows) {
    options.onProgress(`database ${name}`);
    const answer = await ask(server, name, options, async (client) => {
      for (const catalog of CATALOGS) await client.query(`SELECT count(c::text) FROM pg_catalog.${catalog} AS c`);
      const { rows: found } = await client.query<{ count: string }>(
        'SELECT count(pg_catalog.pg_relation_size(oid))::text AS count FROM pg_catalog.pg_class',
      );
      relations += Number(found[0]?.count ?? 0);
      return { outcome: 'passed', detail: '' };
    });
    if (answer.outcome !== 'passed')
      return { check: { ...answer, name: 'databases', detail: `a database: ${answer.detail}` }, databases: [] };
  }
  const detail = `${rows.length} opened, ${relations} relations in their catalogs`;
  return { check: { name: 'databases', outcome: 'passed', detail }, databases: rows.map(({ name }) => name) };
}

/** Read whole: what everything else is found by. */
const CATALOGS = [
  'pg_class',
  'pg_attribute',
  'pg_type',
  'pg_proc',
  'pg_index',
  'pg_constraint',
  'pg_namespace',
  'pg_depend',
];

/** Values as the server writes them. */
const AS_TEXT = { getTypeParser: () => (value: string | Buffer) => String(value) } as const;

/** Runs the statements of the config, each on a connection of its own. */
export async function checkStatements(
  server: ScratchServer,
  checks: readonly DrillCheckConfig[],
  options: CheckOptions,
): Promise<readonly DrillCheck[]> {
  const results: DrillCheck[] = [];
  for (const [at, check] of checks.entries()) {
    const name = checkName(check, at);
    options.onProgress(name);
    const answer = await ask(server, check.database, options, async (client): Promise<Answer> => {
      const result = await client.query<(string | null)[]>({ text: check.sql, rowMode: 'array', types: AS_TEXT });
      // Several statements in one text give several results: the last one counts.
      const last = Array.isArray(result) ? (result as (typeof result)[]).at(-1) : result;
      if (check.expect === undefined) return { outcome: 'passed', detail: 'succeeded' };
      const given = last?.rows[0]?.[0] ?? undefined;
      if (given === check.expect) return { outcome: 'passed', detail: 'gave what is expected' };
      return {
        outcome: 'failed',
        detail: 'did not give what is expected',
        said: `it gave ${given === undefined ? 'nothing' : `"${given}"`}, not "${check.expect}"`,
      };
    });
    results.push({ name, ...answer });
  }
  return results;
}

/** Asks one database. What the server refuses is the answer; a server that is gone is an error. */
export async function ask(
  server: ScratchServer,
  database: string,
  options: CallOptions,
  question: (client: Client) => Promise<Answer>,
): Promise<Answer> {
  throwIfAborted(options.signal, 'the drill');
  let client: Client | undefined;
  const cancel = (): void => void client?.end().catch(() => undefined);
  try {
    client = await server.connect(database, options);
    options.signal?.addEventListener('abort', cancel);
    return await question(client);
  } catch (error) {
    throwIfAborted(options.signal, 'the drill');
    return refusal(error);
  } finally {
    options.signal?.removeEventListener('abort', cancel);
    await client?.end().catch(() => undefined); // it is gone already
  }
}

/** What an error of a statement or of connecting means. Only the code is kept: the message may hold values. */
export function refusal(error: unknown): Answer {
  const said = error instanceof Error ? error.message : String(error);
  const sqlstate = sqlstateOf(error);
  if (sqlstate === undefined) throw error;
  const outcome = isOfTheHost({ sqlstate, text: said }) ? 'inconclusive' : 'failed';
  return { outcome, detail: `the server refused it with SQLSTATE ${sqlstate}`, said };
}
