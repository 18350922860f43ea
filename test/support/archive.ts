/** An archive on the file system with a config of its own, driven through the command line as an operator would. */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { serverUser } from './binaries.ts';
import { runCli, spawnCli, type CliChild } from './cli.ts';
import { giveToServer, removeFolder, temporaryFolder, type PostgresServer } from './postgres.ts';

export interface TestArchiveOptions {
  readonly codecs?: readonly object[];
  /** Further keys of the repository, such as its limits. */
  readonly repository?: Readonly<Record<string, unknown>>;
  readonly receive?: Readonly<Record<string, unknown>>;
  /** Any other section of the config. */
  readonly config?: Readonly<Record<string, unknown>>;
}

/** What `pgark backup --json` and `pgark show --json` give, as far as tests need it. */
export interface BackupFacts {
  readonly id: string;
  readonly timeline: number;
  readonly startLsn: string;
  readonly stopLsn: string;
}

export class TestArchive {
  readonly folder: string;
  readonly config: string;
  readonly repository: string;
  readonly spool: string;
  readonly #options: TestArchiveOptions;

  constructor(server: PostgresServer, options: TestArchiveOptions = {}) {
    this.#options = options;
    this.folder = temporaryFolder('archive');
    this.config = join(this.folder, 'pgark.json');
    this.repository = join(this.folder, 'repository');
    this.spool = join(this.folder, 'spool');
    for (const folder of [this.repository, this.spool]) {
      mkdirSync(folder);
      giveToServer(folder);
    }
    this.connectTo(server);
  }

  /** Points the config at a server, such as one that took over. */
  connectTo(server: PostgresServer): void {
    const content = {
      cluster: 'main',
      postgres: { url: server.url() },
      repositories: [
        {
          name: 'primary',
          storage: { use: 'fs', path: this.repository },
          codecs: this.#options.codecs ?? [{ use: 'zstd', level: 1 }],
          ...this.#options.repository,
        },
      ],
      receive: { slot: 'pgark', spool: this.spool, ...this.#options.receive },
      ...this.#options.config,
    };
    writeFileSync(this.config, JSON.stringify(content, undefined, 2));
    giveToServer(this.config);
  }

  /** Runs a command to its end; any exit code but `code` is an error. Gives what it printed on stdout. */
  async run(args: readonly string[], code = 0): Promise<string> {
    // As the user of the server, who has to read the archive in a recovery.
    const result = await runCli(['--config', this.config, ...args], { ...serverUser() });
    if (result.code !== code)
      throw new Error(
        `pgark ${args.join(' ')} ended with ${result.code}, not ${code}:\n${result.stdout}${result.stderr}`,
      );
    return result.stdout;
  }

  async json<Result>(args: readonly string[]): Promise<Result> {
    return JSON.parse(await this.run(['--json', ...args])) as Result;
  }

  /** Takes a backup, the first of which makes the archive. */
  async backup(args: readonly string[] = []): Promise<BackupFacts> {
    return this.json<BackupFacts>(['backup', '--create', ...args]);
  }

  /** Starts a command, as the user of the server. */
  start(args: readonly string[]): CliChild {
    return spawnCli(['--config', this.config, ...args], { ...serverUser() });
  }

  /** Starts `pgark receive` and waits until it streams. */
  async receive(server: PostgresServer, args: readonly string[] = []): Promise<Receiver> {
    const receiver = new Receiver(spawnCli(['--config', this.config, 'receive', ...args], { ...serverUser() }));
    const deadline = Date.now() + 90_000;
    while (
      (await server.value(
        `SELECT count(*) FROM pg_stat_replication WHERE application_name LIKE 'pgark%' AND state = 'streaming'`,
      )) === '0'
    ) {
      if (receiver.ended || Date.now() > deadline)
        throw new Error(`pgark receive does not stream:\n${receiver.output}`);
      await sleep(20);
    }
    return receiver;
  }

  /** The folder of the system identifier, for an archive that holds one. */
  get systemFolder(): string {
    const folder = this.#systemFolder();
    if (folder === undefined) throw new Error('the archive is empty');
    return folder;
  }

  #systemFolder(): string | undefined {
    const main = join(this.repository, 'main');
    if (!existsSync(main)) return undefined;
    const [system] = readdirSync(main).filter((name) => /^\d+$/.test(name));
    return system === undefined ? undefined : join(main, system);
  }

  /** Whether the archive holds a WAL file of this name. */
  holds(name: string): boolean {
    const system = this.#systemFolder();
    if (system === undefined) return false;
    const timeline = join(system, 'wal', name.slice(0, 8));
    const folder = name.endsWith('.history') ? timeline : join(timeline, name.slice(8, 16));
    return existsSync(folder) && readdirSync(folder).some((file) => file.startsWith(`${name}-`));
  }

  /** Switches to a new segment and waits until the old one is archived; gives its name. */
  async switchWal(server: PostgresServer): Promise<string> {
    // Without a record in it the present segment is not switched away from.
    await server.query(`SELECT pg_logical_emit_message(false, 'test', '')`);
    const name = await server.value('SELECT pg_walfile_name(pg_switch_wal())');
    for (const deadline = Date.now() + 60_000; !this.holds(name); await sleep(20)) {
      if (Date.now() > deadline) throw new Error(`${name} was not archived`);
    }
    return name;
  }

  destroy(): void {
    removeFolder(this.folder);
  }
}

/** A running `pgark receive`. */
export class Receiver {
  readonly cli: CliChild;

  constructor(cli: CliChild) {
    this.cli = cli;
  }

  get output(): string {
    return this.cli.stdout() + this.cli.stderr();
  }

  get ended(): boolean {
    return this.cli.child.exitCode !== null || this.cli.child.signalCode !== null;
  }

  /** Sends a signal and waits for the end; gives the exit code, undefined after a deadly signal. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | undefined> {
    this.cli.kill(signal);
    return (await this.cli.ended).code;
  }

  async kill(): Promise<void> {
    await this.stop('SIGKILL');
  }
}
