/** `pgark agent` for the benchmarks, and the archive that it works with. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { PostgresServer } from '../support/postgres.ts';
import { pgark, type Archive } from './cluster.ts';
import { Watched } from './measure.ts';

/**
 * Makes the archive of the server; wal-push does not. A receiver does it, and ends before anything is measured: a backup would wait for
 * WAL that nobody archives yet.
 */
export async function makeArchive({ config, slot }: Archive, server: PostgresServer): Promise<void> {
  const receiver = new Watched({ ...pgark(config, ['receive']), asServer: true });
  const streaming = `SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'`;
  for (const end = performance.now() + 60_000; (await server.value(streaming)) === '0'; await sleep(50))
    if (performance.now() > end) throw new Error(`the archive was not made:\n${receiver.errors}`);
  await receiver.stop('SIGINT');
  await server.query('SELECT pg_drop_replication_slot($1)', [slot]);
}

/** Starts an agent, and waits until it listens. */
export async function startAgent({ config }: Archive): Promise<Watched> {
  const agent = new Watched({ ...pgark(config, ['agent']), asServer: true });
  for (const end = performance.now() + 60_000; !agent.errors.includes('the agent listens'); await sleep(20))
    if (performance.now() > end || agent.child.exitCode !== null)
      throw new Error(`the agent does not listen:\n${agent.errors}`);
  return agent;
}
