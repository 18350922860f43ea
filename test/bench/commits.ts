/** Synchronous commits per second with pgark as the synchronous standby, beside `pg_receivewal --synchronous`. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { giveToServer, type PostgresServer } from '../support/postgres.ts';
import { archive, pgark, streaming, TOOLS } from './cluster.ts';
import { runCommand, Watched, type Command, type Figure } from './measure.ts';

export interface CommitOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly clients: number;
}

export async function benchCommits(
  server: PostgresServer,
  options: CommitOptions,
): Promise<{ figure: Figure; peakBytes: number }> {
  const { config } = archive(server, 'commits', [{ use: 'zstd', level: 1 }]);
  const folder = join(server.folder, 'receivewal');
  await server.query(`SELECT pg_create_physical_replication_slot('receivewal', true)`);
  // The same application name for both, so that the server's setting need not change between the runs.
  const name = 'bench';
  const ours: Command = { ...pgark(config, ['receive']), env: { PGAPPNAME: name }, asServer: true };
  const peer: Command = {
    program: `${TOOLS}/pg_receivewal`,
    args: ['-D', folder, '-S', 'receivewal', '--synchronous', '-d', `${server.url()}?application_name=${name}`],
    asServer: true,
  };
  const rates: { ours: number[]; peer: number[] } = { ours: [], peer: [] };
  let peakBytes = 0;
  const runs = [
    async () => {
      rates.ours.push(await rate(server, ours, options, (bytes) => (peakBytes = Math.max(peakBytes, bytes))));
    },
    async () => {
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(folder);
      giveToServer(folder);
      rates.peer.push(await rate(server, peer, options, () => undefined));
    },
  ];
  for (let round = 0; round < options.rounds; round++) {
    for (const run of round % 2 === 0 ? runs : runs.toReversed()) {
      // After a checkpoint the first change of each page brings the whole page into the WAL: each run has its own.
      await server.query('CHECKPOINT');
      await run();
    }
  }
  const figure: Figure = {
    name: `synchronous commits, ${options.clients} clients`,
    unit: '1/s',
    better: 'more',
    ...rates,
    peerName: 'pg_receivewal --synchronous',
  };
  return { figure, peakBytes };
}

async function rate(
  server: PostgresServer,
  command: Command,
  options: CommitOptions,
  peak: (bytes: number) => void,
): Promise<number> {
  const receiver = new Watched(command);
  try {
    await streaming(server, [receiver]);
    await server.query(`ALTER SYSTEM SET synchronous_standby_names = '*'`);
    await server.query('SELECT pg_reload_conf()');
    while ((await server.value(`SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'`)) === '0')
      await sleep(50);
    const load = await runCommand({
      program: `${TOOLS}/pgbench`,
      args: ['-n', '-N', '-T', String(options.seconds), '-c', String(options.clients), server.url()],
    });
    const tps = Number(/tps = ([\d.]+)/.exec(load.stdout)?.[1]);
    if (!(tps > 0)) throw new Error(`pgbench gave no rate: ${load.stdout}`);
    return tps;
  } finally {
    await server.query(`ALTER SYSTEM SET synchronous_standby_names = ''`);
    await server.query('SELECT pg_reload_conf()');
    peak((await receiver.stop('SIGINT')).peakBytes);
  }
}
