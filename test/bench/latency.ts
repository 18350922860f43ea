/**
 * How long one client waits for a synchronous commit (p99), with pgark as the synchronous standby beside `pg_receivewal --synchronous`:
 * once while nothing else runs, and once while backups are taken and WAL is shipped at full speed on the same machine.
 *
 * The load is the same for both. Backups go one after the other into an archive of their own, which has a receiver of its own. The WAL to
 * ship was written before, so that no writer competes with the client: a slot is put back to its beginning. pgark's synchronous receiver
 * ships it itself; beside pg_receivewal, which ships nothing, another receiver of pgark does.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { giveToServer, type PostgresServer } from '../support/postgres.ts';
import { removeBackups, takeBackup } from './backup.ts';
import { archive, encrypted, pgark, TOOLS, type Archive } from './cluster.ts';
import { runCommand, Watched, type Command, type Figure } from './measure.ts';

export interface LatencyOptions {
  readonly rounds: number;
  readonly seconds: number;
  /** Megabytes of WAL for each second of a run: more than is shipped in that time. */
  readonly backlogRate?: number;
}

export interface LatencyResult {
  readonly figures: readonly Figure[];
  readonly peaks: Readonly<Record<string, number>>;
  readonly leftOut: readonly string[];
}

/** Most slowing down that is acceptable. */
const MOST = 1.25;
const SEGMENT_BYTES = 16 * 1024 * 1024;
const SYNCHRONOUS = 'bench_synchronous';
const SOURCE_SLOT = 'latency_source';
const READY = 120_000;

interface Side {
  readonly quiet: number[];
  readonly busy: number[];
}

export async function benchLatency(server: PostgresServer, options: LatencyOptions): Promise<LatencyResult> {
  const bench = new LatencyBench(server, options);
  await bench.prepare();
  const ours: Side = { quiet: [], busy: [] };
  const peer: Side = { quiet: [], busy: [] };
  const runs = [
    async () => ours.quiet.push(await bench.run('ours', false)),
    async () => peer.quiet.push(await bench.run('peer', false)),
    async () => ours.busy.push(await bench.run('ours', true)),
    async () => peer.busy.push(await bench.run('peer', true)),
  ];
  await bench.run('ours', false); // warms up, and does not count
  for (let round = 0; round < options.rounds; round++)
    for (const run of round % 2 === 0 ? runs : runs.toReversed()) await run();
  await bench.end();

  const shared = { better: 'less', peerName: 'pg_receivewal --synchronous' } as const;
  const slowdown = ({ quiet, busy }: Side): number[] => busy.map((value, at) => value / (quiet[at] ?? Number.NaN));
  const figures: Figure[] = [
    { ...shared, name: 'commit p99, nothing else runs', unit: 'ms', ours: ours.quiet, peer: peer.quiet },
    {
      ...shared,
      name: 'commit p99, backups and uploads run',
      unit: 'ms',
      ours: ours.busy,
      peer: peer.busy,
      note: bench.note,
    },
    {
      ...shared,
      name: 'commit p99, times slower with them',
      unit: 'times',
      ours: slowdown(ours),
      peer: slowdown(peer),
      target: { value: MOST },
    },
  ];
  return { figures, peaks: { 'receive, beside backups': bench.peakBytes }, leftOut: [] };
}

class LatencyBench {
  readonly #server: PostgresServer;
  readonly #options: LatencyOptions;
  readonly #segments: number;
  #backups = 0;
  #busyRuns = 0;
  #runs = 0;
  peakBytes = 0;

  constructor(server: PostgresServer, options: LatencyOptions) {
    this.#server = server;
    this.#options = options;
    const { seconds, backlogRate = 400 } = options;
    this.#segments = Math.ceil((seconds * backlogRate * 1e6) / SEGMENT_BYTES);
  }

  get note(): string {
    return `${(this.#backups / Math.max(1, this.#busyRuns)).toFixed(1)} backups were finished in a run`;
  }

  /** The table of the client, and WAL that a slot keeps. */
  async prepare(): Promise<void> {
    const server = this.#server;
    await server.query('CREATE TABLE latency_probe (n int)');
    await server.query('CREATE TABLE latency_source (n bigint, line text)');
    await server.query(`SELECT pg_create_physical_replication_slot('${SOURCE_SLOT}', true)`);
    const from = await server.value('SELECT pg_current_wal_lsn()');
    const done = `SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '${from}') > ${this.#segments * SEGMENT_BYTES}`;
    while ((await server.value(done)) !== 'true') {
      await server.query(
        `INSERT INTO latency_source SELECT n, md5(n::text) || ' of customer ' || n % 100003 FROM generate_series(1, 500000) n`,
      );
    }
    await server.query('DROP TABLE latency_source');
    await server.query('CHECKPOINT');
  }

  async end(): Promise<void> {
    await this.#server.query(`SELECT pg_drop_replication_slot('${SOURCE_SLOT}')`);
  }

  /** p99 of one run, in milliseconds. */
  async run(side: 'ours' | 'peer', busy: boolean): Promise<number> {
    const server = this.#server;
    const run = `latency_${this.#runs++}`;
    const started: { readonly watched: Watched; readonly slot: string }[] = [];
    const start = (command: Command, slot: string): Watched => {
      const watched = new Watched({ ...command, asServer: true });
      started.push({ watched, slot });
      return watched;
    };
    const folders: string[] = [];
    const receive = (name: string, application: string, codecs: readonly object[]): [Archive, Watched] => {
      const made = archive(server, name, codecs);
      folders.push(made.folder);
      const command = { ...pgark(made.config, ['receive', '--json']), env: { PGAPPNAME: application } };
      return [made, start(command, `pgark_${name}`)];
    };
    const zstd = [{ use: 'zstd', level: 1 }];
    try {
      let shipping: Watched | undefined;
      let loop: BackupLoop | undefined;
      if (side === 'ours') {
        const name = `${run}_sync`;
        if (busy) await this.#backlog(`pgark_${name}`);
        [, shipping] = receive(name, SYNCHRONOUS, zstd);
      } else {
        const folder = join(server.folder, `${run}_receivewal`);
        folders.push(folder);
        mkdirSync(folder);
        giveToServer(folder);
        const slot = `${run}_receivewal`;
        await server.query(`SELECT pg_create_physical_replication_slot('${slot}', true)`);
        const url = `${server.url()}?application_name=${SYNCHRONOUS}`;
        start(
          { program: `${TOOLS}/pg_receivewal`, args: ['-D', folder, '-S', slot, '--synchronous', '-d', url] },
          slot,
        );
        if (busy) {
          await this.#backlog(`pgark_${run}_ship`);
          [, shipping] = receive(`${run}_ship`, 'bench_ship', zstd);
        }
      }
      if (busy) {
        const [company] = receive(`${run}_backup`, 'bench_backup', encrypted(server.folder) ?? zstd);
        await this.#streaming(started.map(({ watched }) => watched));
        loop = new BackupLoop(company);
      } else await this.#streaming(started.map(({ watched }) => watched));
      await this.#setSynchronous(SYNCHRONOUS);
      await this.#until(`SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'`);
      const value = await this.#commits(run);
      if (busy) this.#checkLoad(shipping, side);
      if (loop !== undefined) {
        // Taken while the client ran; what is finished later does not count.
        this.#backups += loop.finished;
        this.#busyRuns++;
        await loop.stop();
      }
      return value;
    } finally {
      await this.#setSynchronous('');
      for (const { watched, slot } of started) {
        // It would ship for half a minute more.
        const { peakBytes } = await watched.kill();
        if (side === 'ours' && slot.endsWith('_sync')) this.peakBytes = Math.max(this.peakBytes, peakBytes);
        await this.#until(`SELECT count(*) = 0 FROM pg_replication_slots WHERE slot_name = '${slot}' AND active`);
        await server.query(
          'SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1',
          [slot],
        );
      }
      for (const folder of folders) rmSync(folder, { recursive: true });
    }
  }

  async #backlog(slot: string): Promise<void> {
    await this.#server.query(`SELECT pg_copy_physical_replication_slot('${SOURCE_SLOT}', $1)`, [slot]);
  }

  /** What was received must not all be shipped when the client ends, or it ran for a while beside nothing. */
  #checkLoad(shipping: Watched | undefined, side: string): void {
    const shipped = (shipping?.output ?? '').split('"wal.shipped"').length - 1;
    if (shipped === 0 || shipped >= this.#segments) {
      throw new Error(
        `beside ${side} ${shipped} of ${this.#segments} segments were shipped before the client ended: set --backlog`,
      );
    }
  }

  async #streaming(receivers: readonly Watched[]): Promise<void> {
    const count = receivers.length;
    await this.#until(
      `SELECT count(*) = ${count} FROM pg_stat_replication WHERE state = 'streaming' AND application_name LIKE 'bench\\_%'`,
      receivers,
    );
  }

  async #until(query: string, receivers: readonly Watched[] = []): Promise<void> {
    const deadline = Date.now() + READY;
    while ((await this.#server.value(query)) !== 'true') {
      const ended = receivers.find(({ child }) => child.exitCode !== null);
      if (ended !== undefined || Date.now() > deadline)
        throw new Error(`not so in time: ${query}\n${ended?.errors ?? ''}`);
      await sleep(50);
    }
  }

  async #setSynchronous(name: string): Promise<void> {
    await this.#server.query(`ALTER SYSTEM SET synchronous_standby_names = '${name}'`);
    await this.#server.query('SELECT pg_reload_conf()');
  }

  async #commits(run: string): Promise<number> {
    const folder = join(this.#server.folder, `${run}_log`);
    mkdirSync(folder);
    const script = join(folder, 'insert.sql');
    writeFileSync(script, 'INSERT INTO latency_probe VALUES (1);\n');
    const flags = ['-n', '-c', '1', '-T', String(this.#options.seconds), '-l', `--log-prefix=${join(folder, 'log')}`];
    await runCommand({ program: `${TOOLS}/pgbench`, args: [...flags, '-f', script, this.#server.url()] });
    // Each line: client, transaction, microseconds, ... (pgbench, "Per-Transaction Logging").
    const times = readdirSync(folder)
      .filter((name) => name.startsWith('log.'))
      .flatMap((name) => readFileSync(join(folder, name), 'utf8').trim().split('\n'))
      .map((line) => Number(line.split(' ')[2]) / 1000)
      .toSorted((a, b) => a - b);
    rmSync(folder, { recursive: true });
    if (times.length < 100) throw new Error(`${times.length} commits are too few for a p99: set --seconds`);
    return times[Math.ceil(times.length * 0.99) - 1] ?? Number.NaN;
  }
}

/** Backups into one archive, one after the other. */
class BackupLoop {
  finished = 0;
  #stopping = false;
  readonly #done: Promise<void>;

  constructor(into: Archive) {
    this.#done = this.#run(into);
    this.#done.catch(() => undefined); // told by stop()
  }

  async #run(into: Archive): Promise<void> {
    while (!this.#stopping) {
      await takeBackup(into);
      this.finished++;
      removeBackups(into);
    }
  }

  /** Waits for the last one. Throws what made a backup fail. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#done;
  }
}
