/**
 * `npm run bench`: figures of pgark beside its peers, run in turn, medians and ratios; see docs/how-to/measure.md.
 *
 *   --only codecs,backup,latency,commits,wal-command,wal-rates,storage   some of the groups; what was measured of the others before is kept
 *   --quick                                        a look: small data, one round, no claims
 *   --rounds N --scale N --seconds N --megabytes N --backlog N --segments N
 *   --from FILE                                    measures nothing, takes an earlier result
 *   --publish                                      writes the page and the pictures to docs/bench
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { PostgresServer } from '../support/postgres.ts';
import { benchBackup } from './backup.ts';
import { benchServer, fill, ROOT, TOOLS } from './cluster.ts';
import { benchCodecs } from './codecs.ts';
import { benchCommits } from './commits.ts';
import { benchLatency } from './latency.ts';
import { busyShare, machine } from './machine.ts';
import { publish } from './publish.ts';
import { ORDER, readResult, withGroup, writeResult, type Group } from './result.ts';
import { writeSample } from './sample.ts';
import { benchStorage } from './storage.ts';
import { scoreboard } from './table.ts';
import { benchWalCommand } from './wal-command.ts';
import { benchWalRates } from './wal-rates.ts';

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    rounds: { type: 'string' },
    scale: { type: 'string' },
    seconds: { type: 'string' },
    megabytes: { type: 'string' },
    backlog: { type: 'string' },
    segments: { type: 'string' },
    from: { type: 'string' },
    publish: { type: 'boolean', default: false },
  },
});

/** Where results go: the folder in which the bench was asked for, which may not be that of the copy that runs. */
const HOME = process.env['BENCH_HOME'] ?? ROOT;
const RESULT = join(HOME, '.bench/result.json');

const rounds = Number(values.rounds ?? (values.quick ? 1 : 5));
const scale = Number(values.scale ?? (values.quick ? 10 : 60));
const seconds = Number(values.seconds ?? (values.quick ? 5 : 15));
const megabytes = Number(values.megabytes ?? (values.quick ? 100 : 1000));
const segments = Number(values.segments ?? (values.quick ? 12 : 60));
const wanted = values.only?.split(',') ?? ORDER;

type Found = Pick<Group, 'figures' | 'peaks'> & { readonly leftOut?: readonly string[]; readonly bytes?: number };

const GROUPS: Readonly<Record<string, (server: PostgresServer) => Promise<Found>>> = {
  codecs: async (server) => {
    const folder = join(server.folder, 'codecs');
    mkdirSync(folder);
    const sample = await writeSample(server, join(folder, 'sample'), megabytes * 1e6);
    const found = await benchCodecs(folder, sample, rounds);
    rmSync(folder, { recursive: true });
    return { ...found, bytes: sample.bytes };
  },
  backup: (server) => benchBackup(server, rounds),
  latency: (server) =>
    benchLatency(server, {
      rounds,
      seconds,
      ...(values.backlog === undefined ? {} : { backlogRate: Number(values.backlog) }),
    }),
  commits: async (server) => {
    const figures = [];
    let peak = 0;
    for (const clients of [1, 8]) {
      const { figure, peakBytes } = await benchCommits(server, { rounds, seconds, clients });
      figures.push(figure);
      peak = Math.max(peak, peakBytes);
      await server.query(`SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active`);
    }
    return { figures, peaks: { receive: peak } };
  },
  'wal-command': (server) => benchWalCommand(server, rounds),
  'wal-rates': () => benchWalRates({ rounds, scale: Math.ceil(scale / 6), segments }),
  storage: (server) => benchStorage(server, rounds),
};

async function measure(): Promise<void> {
  if (!existsSync(`${TOOLS}/pg_basebackup`))
    throw new Error(`the peers are missing: install postgresql-15 (looked in ${TOOLS})`);
  const unknown = wanted.find((name) => GROUPS[name] === undefined);
  if (unknown !== undefined) throw new Error(`--only takes ${ORDER.join(', ')}, and not ${unknown}`);
  const { stdout } = spawnSync('git', ['-C', HOME, 'describe', '--always', '--dirty'], { encoding: 'utf8' });
  const commit = stdout?.trim() || 'unknown';
  const server = await benchServer();
  try {
    const clusterBytes = await fill(server, scale);
    console.error(`cluster of ${(clusterBytes / 1e9).toFixed(2)} GB, ${rounds} rounds`);
    for (const name of ORDER.filter((name) => wanted.includes(name))) {
      try {
        await measureGroup(name, server, { commit, clusterBytes });
      } catch (error) {
        // The others can be measured all the same.
        console.error(`${name} failed:`, error);
        process.exitCode = 1;
      }
    }
  } finally {
    await server.destroy();
  }
}

async function measureGroup(
  name: string,
  server: PostgresServer,
  { commit, clusterBytes }: { readonly commit: string; readonly clusterBytes: number },
): Promise<void> {
  const begin = performance.now();
  const before = await busyShare();
  const { bytes = clusterBytes, leftOut = [], ...found } = await GROUPS[name]!(server);
  const busy = Math.max(before, await busyShare());
  const time = new Date().toISOString();
  const group: Group = { name, time, commit, rounds, bytes, busy, machine: machine(), ...found, leftOut };
  writeResult(RESULT, withGroup(readResult(RESULT), group));
  console.error(`${name}: ${((performance.now() - begin) / 1000).toFixed(0)} s`);
}

if (values.from === undefined) await measure();
const result = readResult(values.from ?? RESULT);
console.log(scoreboard(result));
// What failed would stand there as an earlier run left it.
if (values.publish && process.exitCode === undefined) await publish(result, join(HOME, 'docs/bench'));
