/**
 * `wal-push` and `wal-fetch` as PostgreSQL runs them, the whole process with its start. One new segment of 16 MiB beside
 * `pgbackrest archive-push`, synchronous, with the same compression, both into a local folder and synced; and the answer that a file is not there.
 */
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { PostgresServer } from '../support/postgres.ts';
import { makeArchive, startAgent } from './agent.ts';
import { archive, pgark, type Archive } from './cluster.ts';
import { installed } from './machine.ts';
import { runCommand, type Figure, type Run } from './measure.ts';
import { costsOf, runPairs, type PairedRuns } from './pairs.ts';
import { PgBackRest } from './pgbackrest.ts';

const SLOT = 'bench_segments';
const CODECS = [{ use: 'zstd', level: 1 }];
/** Such a command takes a fraction of a second: more of them than of anything else make one round. */
const RUNS_PER_ROUND = 5;
const PEER = 'pgbackrest archive-push, zstd 1';

export interface WalCommandResult {
  readonly figures: readonly Figure[];
  readonly peaks: Readonly<Record<string, number>>;
  readonly leftOut: readonly string[];
}

export async function benchWalCommand(server: PostgresServer, rounds: number): Promise<WalCommandResult> {
  const rest = installed('pgbackrest') ? new PgBackRest(server) : undefined;
  await rest?.renew();
  const runs = rounds * RUNS_PER_ROUND;
  await server.query(`SELECT pg_create_physical_replication_slot('${SLOT}', true)`);
  try {
    // Each pair has a segment of its own, and each figure, the first pair, which does not count, included.
    const segments = await makeSegments(server, 2 * (runs + 1));
    const own = archive(server, 'wal_command', CODECS);
    await makeArchive(own, server);
    const pushes = (some: readonly string[]): Promise<PairedRuns> => {
      const [ours, peers] = [some.values(), some.values()];
      return runPairs({
        rounds: runs,
        ours: () => push(own, next(ours)),
        ...(rest && { peer: () => runCommand(rest.archivePush(next(peers))) }),
      });
    };
    const alone = await pushes(segments.slice(0, runs + 1));
    await rest?.renew();
    const agent = await startAgent(own);
    try {
      const through = await pushes(segments.slice(runs + 1));
      const misses = await runPairs({ rounds: runs, ours: () => miss(own, server) });
      const { peakBytes } = await agent.stop();
      rmSync(own.folder, { recursive: true });
      return {
        figures: [
          pushFigure('wal-push of a segment, through the agent', through, { ratio: 1.5 }),
          pushFigure('wal-push of a segment, by itself', alone),
          {
            name: 'wal-fetch of a file that is not there, through the agent',
            unit: 'ms',
            better: 'less',
            ours: milliseconds(misses.ours),
            target: { value: 60 },
            ...costsOf(misses),
          },
        ],
        peaks: { agent: peakBytes, 'wal-push': Math.max(...alone.ours.map((run) => run.peakBytes)) },
        leftOut: rest === undefined ? ['beside pgBackRest: pgbackrest is not installed'] : [],
      };
    } finally {
      if (agent.child.exitCode === null) await agent.kill();
    }
  } finally {
    await server.query(`SELECT pg_drop_replication_slot('${SLOT}')`);
  }
}

function pushFigure(name: string, runs: PairedRuns, target?: NonNullable<Figure['target']>): Figure {
  return {
    name,
    unit: 'ms',
    better: 'less',
    ours: milliseconds(runs.ours),
    ...(runs.peer.length > 0 && { peer: milliseconds(runs.peer), peerName: PEER, ...(target && { target }) }),
    ...costsOf(runs),
  };
}

const milliseconds = (runs: readonly Run[]): number[] => runs.map(({ seconds }) => seconds * 1000);

function next(paths: IterableIterator<string>): string {
  const { value, done } = paths.next();
  if (done === true) throw new Error('there are not enough segments');
  return value;
}

async function push({ config }: Archive, path: string): Promise<Run> {
  return runCommand({ ...pgark(config, ['wal-push', path, path.slice(-24)]), asServer: true });
}

async function miss({ config }: Archive, server: PostgresServer): Promise<Run> {
  const args = ['wal-fetch', '000000FF.history', join(server.data, 'pg_wal', 'RECOVERYHISTORY')];
  return runCommand({ ...pgark(config, args), asServer: true, exitCode: 1 });
}

/** Whole segments of the server with WAL of real tables, which a slot keeps; their paths. */
async function makeSegments(server: PostgresServer, count: number): Promise<readonly string[]> {
  const folder = join(server.data, 'pg_wal');
  const first = await server.value('SELECT pg_walfile_name(pg_switch_wal())');
  for (;;) {
    const current = await server.value('SELECT pg_walfile_name(pg_current_wal_insert_lsn())');
    const whole = readdirSync(folder)
      .filter((name) => /^[0-9A-F]{24}$/.test(name) && name > first && name < current)
      .sort();
    if (whole.length >= count) return whole.slice(0, count).map((name) => join(folder, name));
    await server.query(
      'CREATE TABLE more AS (SELECT n, bytes, NULL AS line FROM noise LIMIT 200000) UNION ALL (SELECT n, NULL, line FROM prose LIMIT 200000)',
    );
    await server.query('DROP TABLE more');
  }
}
