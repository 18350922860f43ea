/**
 * What WAL commands are there for: a backlog that goes into the archive by archive_command, and a recovery that takes it out again.
 * pgark through its agent, asked by `pgark-wal`, beside pgBackRest with `archive-async`, both with zstd 1, a local folder and a spool; the recovery beside
 * `cp` of plain segments, too, which is what PostgreSQL can do at best.
 */
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { SCRIPT } from '../support/agent.ts';
import { makeArchive, startAgent } from './agent.ts';
import { archive, pgark, type Archive } from './cluster.ts';
import { installed } from './machine.ts';
import { median, type Figure } from './measure.ts';
import { PgBackRest } from './pgbackrest.ts';
import { WalBacklog, type BacklogOptions } from './wal-backlog.ts';

export interface WalRatesOptions extends BacklogOptions {
  readonly rounds: number;
}

export interface WalRatesResult {
  readonly figures: readonly Figure[];
  readonly peaks: Readonly<Record<string, number>>;
  readonly leftOut: readonly string[];
  readonly bytes: number;
}

const PEER = 'pgbackrest, asynchronous, zstd 1';
/** Fetching may take this much of the time of a replay. */
const BESIDE_CP = 1.15;

/** Makes a server of its own: one with `archive_mode` would keep the WAL of all that is measured later. */
export async function benchWalRates({ rounds, ...options }: WalRatesOptions): Promise<WalRatesResult> {
  const backlog = await WalBacklog.make(options);
  try {
    return await new WalRates(backlog).run(rounds);
  } finally {
    await backlog.destroy();
  }
}

type Side = 'ours' | 'rest' | 'cp';

class WalRates {
  readonly #backlog: WalBacklog;
  readonly #own: Archive;
  readonly #rest: PgBackRest | undefined;
  readonly #peaks = { archiving: 0, replay: 0 };

  constructor(backlog: WalBacklog) {
    this.#backlog = backlog;
    const { server } = backlog;
    this.#own = archive(server, 'wal_rates', [{ use: 'zstd', level: 1 }]);
    this.#rest = installed('pgbackrest') ? new PgBackRest(server, { asynchronous: true }) : undefined;
  }

  async run(rounds: number): Promise<WalRatesResult> {
    await makeArchive(this.#own, this.#backlog.server);
    // What the receiver had begun lies behind the backlog: a recovery would take what is between them for a hole.
    rmSync(join(this.#own.folder, 'spool', 'bench'), { recursive: true });
    const rest: readonly Side[] = this.#rest === undefined ? [] : ['rest'];
    // The last ones leave behind what is replayed.
    const archived = await inTurn(['ours', ...rest], rounds, (side) => this.#archive(side));
    const replayed = await inTurn(['ours', ...rest, 'cp'], rounds, (side) => this.#replay(side));
    const megabytes = this.#backlog.bytes / 1e6;
    const rates = (side: Side): readonly number[] => archived[side].map((seconds) => megabytes / seconds);
    const { bytes, names } = this.#backlog;
    return {
      bytes,
      figures: [
        {
          name: `archiving of ${names.length} segments`,
          unit: 'MB/s',
          better: 'more',
          ours: rates('ours'),
          ...(rest.length > 0 && { peer: rates('rest'), peerName: PEER, target: { ratio: 1.5 } }),
        },
        {
          name: `replay of ${names.length} segments`,
          unit: 's',
          better: 'less',
          ours: replayed.ours,
          ...(rest.length > 0 && { peer: replayed.rest, peerName: PEER, target: { ratio: 1 } }),
        },
        {
          name: 'the same replay, beside cp',
          unit: 's',
          better: 'less',
          ours: replayed.ours,
          peer: replayed.cp,
          peerName: 'cp of plain segments',
          target: { ratio: BESIDE_CP },
          note: `of ${(median(replayed.ours) / names.length).toFixed(3)} s for a segment, cp needs ${(median(replayed.cp) / names.length).toFixed(3)} s`,
        },
      ],
      peaks: { 'agent, archiving': this.#peaks.archiving, 'agent, replay': this.#peaks.replay },
      leftOut: rest.length > 0 ? [] : ['beside pgBackRest: pgbackrest is not installed'],
    };
  }

  /** Seconds. */
  async #archive(side: Side): Promise<number> {
    const { names } = this.#backlog;
    if (side !== 'ours') {
      await this.#pgBackRest.renew();
      const seconds = await this.#backlog.archive(this.#pgBackRest.archiveCommand);
      checkThat(this.#pgBackRest.archived, names);
      return seconds;
    }
    const cluster = join(this.#own.folder, 'repository', 'bench');
    // Its marker stays: the archive is there, and empty.
    for (const entry of readdirSync(cluster).filter((name) => /^\d+$/.test(name)))
      rmSync(join(cluster, entry), { recursive: true });
    const seconds = await this.#withAgent('archiving', (socket) =>
      this.#backlog.archive(this.#command(socket, ['wal-push', '"%p"', '"%f"'])),
    );
    checkThat(segmentsIn(cluster), names);
    return seconds;
  }

  /** Seconds. */
  async #replay(side: Side): Promise<number> {
    if (side === 'cp') return this.#backlog.replay(() => `cp "${this.#backlog.copies}/%f" "%p"`);
    if (side === 'ours')
      return this.#withAgent('replay', (socket) =>
        this.#backlog.replay(() => this.#command(socket, ['wal-fetch', '"%f"', '"%p"'])),
      );
    await this.#pgBackRest.emptySpool();
    return this.#backlog.replay((folder) => this.#pgBackRest.restoreCommand(folder));
  }

  get #pgBackRest(): PgBackRest {
    if (this.#rest === undefined) throw new Error('pgbackrest is not installed');
    return this.#rest;
  }

  #command(socket: string, args: readonly string[]): string {
    const command = pgark(this.#own.config, ['--agent-socket', socket, ...args]);
    return [SCRIPT, command.program, ...command.args].join(' ');
  }

  /** The agent is a service that runs all the time; a new one each time knows nothing of the run before. */
  async #withAgent(what: 'archiving' | 'replay', work: (socket: string) => Promise<number>): Promise<number> {
    const agent = await startAgent(this.#own);
    try {
      const seconds = await work(/\(socket=(\S+)\)/.exec(agent.errors)?.[1] ?? '');
      const { peakBytes } = await agent.stop();
      this.#peaks[what] = Math.max(this.#peaks[what], peakBytes);
      return seconds;
    } finally {
      if (agent.child.exitCode === null) await agent.kill();
    }
  }
}

/** Each side once without counting, then in turn; who goes first changes from round to round. Seconds of each. */
async function inTurn(
  sides: readonly Side[],
  rounds: number,
  run: (side: Side) => Promise<number>,
): Promise<Readonly<Record<Side, readonly number[]>>> {
  const seconds: Record<Side, number[]> = { ours: [], rest: [], cp: [] };
  for (let round = 0; round <= rounds; round++) {
    for (const side of round % 2 === 0 ? sides : sides.toReversed()) {
      const took = await run(side);
      if (round > 0) seconds[side].push(took);
      console.error(`${side}: ${took.toFixed(2)} s`);
    }
  }
  return seconds;
}

function segmentsIn(cluster: string): readonly string[] {
  return readdirSync(cluster, { recursive: true, encoding: 'utf8' }).flatMap(
    (path) => /\/([0-9A-F]{24})-[0-9a-f]{32}/.exec(path)?.[1] ?? [],
  );
}

/** Whoever archived less was not faster. */
function checkThat(archived: readonly string[], wanted: readonly string[]): void {
  const there = new Set(archived);
  const lacking = wanted.filter((name) => !there.has(name));
  if (lacking.length > 0) throw new Error(`not archived: ${lacking.join(', ')}`);
}
