/** Load whose every acknowledged commit is remembered, so that a restore can be held to it. */
import type { Client } from 'pg';
import type { PostgresServer } from './postgres.ts';

/** One table, several sessions, one row a transaction: `(session, number)` counts up without holes. */
export class Writers {
  readonly #acknowledged: number[];
  readonly #running: Promise<void>[] = [];
  #stopped = false;

  private constructor(sessions: number) {
    this.#acknowledged = Array.from({ length: sessions }, () => 0);
  }

  /** Makes the table when it is not there and begins to write behind what it holds. */
  static async start(server: PostgresServer, sessions = 4): Promise<Writers> {
    await server.query(
      'CREATE TABLE IF NOT EXISTS ledger (session int, number int, at timestamptz DEFAULT clock_timestamp(), filler text, PRIMARY KEY (session, number))',
    );
    const writers = new Writers(sessions);
    for (let session = 0; session < sessions; session++) {
      const last = Number(await server.value(`SELECT coalesce(max(number), 0) FROM ledger WHERE session = ${session}`));
      const client = await server.client();
      writers.#acknowledged[session] = last;
      writers.#running.push(writers.#write(client, session, last));
    }
    return writers;
  }

  async #write(client: Client, session: number, last: number): Promise<void> {
    try {
      for (let number = last + 1; !this.#stopped; number++) {
        await client.query(`INSERT INTO ledger (session, number, filler) VALUES ($1, $2, repeat('x', 200))`, [
          session,
          number,
        ]);
        this.#acknowledged[session] = number;
      }
    } catch {
      return; // the server was killed: what it acknowledged until then is what counts
    } finally {
      client.end().catch(() => undefined);
    }
  }

  /** How many commits were acknowledged, by session. */
  get acknowledged(): readonly number[] {
    return [...this.#acknowledged];
  }

  get total(): number {
    return this.#acknowledged.reduce((sum, count) => sum + count, 0);
  }

  /** Ends the sessions, if they have not ended with their server, and gives what was acknowledged. */
  async stop(): Promise<readonly number[]> {
    this.#stopped = true;
    await Promise.all(this.#running);
    return this.acknowledged;
  }
}

/** What a cluster holds of the ledger: the last number of each session, and whether there are holes below it. */
export async function ledger(
  server: PostgresServer,
): Promise<{ readonly last: readonly number[]; readonly holes: number }> {
  const rows = await server.query<{ session: number; last: number; count: string }>(
    'SELECT session, max(number) AS last, count(*) AS count FROM ledger GROUP BY session ORDER BY session',
  );
  return { last: rows.map((row) => row.last), holes: rows.reduce((sum, row) => sum + row.last - Number(row.count), 0) };
}
