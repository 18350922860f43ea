/** Real PostgreSQL servers of the embedded kind, each a child of this process, in a folder of its own. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  chownSync,
  createWriteStream,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { freePort } from './free-port.ts';
import { serverHome, serverUser, type Major } from './binaries.ts';

export { MAJORS, type Major } from './binaries.ts';

/** A temporary folder that the server's user may enter and that {@link removeFolder} deletes. */
export function temporaryFolder(name: string): string {
  const folder = mkdtempSync(join(tmpdir(), `pgark-${name}-`));
  giveToServer(folder);
  return folder;
}

/** Makes a file or folder the server user's own. */
export function giveToServer(path: string): void {
  const user = serverUser();
  if (user !== undefined) chownSync(path, user.uid, user.gid);
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}

export interface InitOptions {
  readonly major?: Major;
  /** Megabytes, a power of two from 1 to 1024; default 16. */
  readonly segmentMegabytes?: number;
  readonly dataChecksums?: boolean;
  /** More `initdb` arguments. */
  readonly initArguments?: readonly string[];
  /** Lines of postgresql.conf. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** A data directory and, while it runs, its postmaster. */
export class PostgresServer {
  readonly major: Major;
  /** Folder that holds `data`, the socket and the log. */
  readonly folder: string;
  readonly data: string;
  readonly port: number;
  #process: ChildProcess | undefined;

  constructor(major: Major, folder: string, data: string, port: number) {
    this.major = major;
    this.folder = folder;
    this.data = data;
    this.port = port;
  }

  /** Makes a new cluster; superuser `postgres`, trust on loopback, fsync off (tests kill processes, not machines). */
  static async create(options: InitOptions = {}): Promise<PostgresServer> {
    const major = options.major ?? 18;
    const folder = temporaryFolder(`pg${major}`);
    const data = join(folder, 'data');
    const checksums =
      options.dataChecksums === false ? (major >= 18 ? ['--no-data-checksums'] : []) : ['--data-checksums'];
    run(major, 'initdb', [
      '-D',
      data,
      '-U',
      'postgres',
      '-A',
      'trust',
      '-E',
      'UTF8',
      '--locale=C',
      '--no-sync',
      `--wal-segsize=${options.segmentMegabytes ?? 16}`,
      ...checksums,
      ...(options.initArguments ?? []),
    ]);
    const server = new PostgresServer(major, folder, data, await freePort());
    server.configure({
      fsync: 'off',
      max_wal_senders: '10',
      max_replication_slots: '10',
      wal_level: 'replica',
      hot_standby: 'on',
      ...options.settings,
    });
    return server;
  }

  /** Makes a new cluster and starts it. */
  static async start(options: InitOptions = {}): Promise<PostgresServer> {
    const server = await PostgresServer.create(options);
    await server.start();
    return server;
  }

  /** A server for a data directory that exists already, such as a restored one; with a port of its own. */
  static async open(
    major: Major,
    data: string,
    settings: Readonly<Record<string, string>> = {},
  ): Promise<PostgresServer> {
    const server = new PostgresServer(major, temporaryFolder(`pg${major}`), data, await freePort());
    server.configure({ fsync: 'off', ...settings });
    return server;
  }

  get log(): string {
    return readFileSync(join(this.folder, 'log'), 'utf8');
  }

  /** Appends settings to postgresql.conf. */
  configure(settings: Readonly<Record<string, string>>): void {
    const lines = {
      listen_addresses: '127.0.0.1',
      port: String(this.port),
      unix_socket_directories: this.folder,
      ...settings,
    };
    const text = Object.entries(lines).map(([name, value]) => `${name} = '${value.replaceAll("'", "''")}'\n`);
    appendFileSync(join(this.data, 'postgresql.conf'), text.join(''));
  }

  /** Replaces pg_hba.conf. */
  setHba(lines: readonly string[]): void {
    writeFileSync(join(this.data, 'pg_hba.conf'), lines.map((line) => `${line}\n`).join(''));
  }

  /** Starts the postmaster and waits until it accepts connections (`ready`) or until its process runs (`spawned`). */
  async start(options: { readonly wait?: 'ready' | 'spawned'; readonly seconds?: number } = {}): Promise<void> {
    if (this.#process !== undefined) throw new Error('the server runs already');
    const child = spawn(join(serverHome(this.major), 'bin', 'postgres'), ['-D', this.data], {
      ...serverUser(),
      cwd: this.folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' },
    });
    const log = createWriteStream(join(this.folder, 'log'), { flags: 'a' });
    child.stdout.pipe(log, { end: false });
    child.stderr.pipe(log, { end: false });
    this.#process = child;
    child.once('exit', () => {
      if (this.#process === child) this.#process = undefined;
    });
    if (options.wait === 'spawned') return;
    const deadline = Date.now() + (options.seconds ?? 60) * 1000;
    for (;;) {
      if (child.exitCode !== null || child.signalCode !== null)
        throw new Error(`PostgreSQL ${this.major} did not start:\n${this.log}`);
      try {
        await this.query('SELECT 1');
        return;
      } catch (error) {
        if (Date.now() > deadline)
          throw new Error(`PostgreSQL ${this.major} did not become ready:\n${this.log}`, { cause: error });
        await sleep(50);
      }
    }
  }

  /** Waits until recovery has ended: a hot standby answers before. Throws when the server ends instead. */
  async recovered(): Promise<void> {
    while (this.running) {
      if ((await this.value('SELECT pg_is_in_recovery()').catch(() => 'true')) === 'false') return;
      await sleep(20);
    }
    throw new Error(`PostgreSQL ${this.major} ended in recovery:\n${this.log}`);
  }

  /** Whether the postmaster runs. */
  get running(): boolean {
    return this.#process !== undefined;
  }

  /** Process id of the postmaster. */
  get pid(): number {
    const pid = this.#process?.pid;
    if (pid === undefined) throw new Error('the server does not run');
    return pid;
  }

  /** Waits until the postmaster has ended by itself; gives its exit code (undefined after a signal). */
  async exited(): Promise<number | undefined> {
    const child = this.#process;
    if (child === undefined) return undefined;
    const [code] = (await once(child, 'exit')) as [number | null];
    return code ?? undefined;
  }

  /** Stops the server: fast (SIGINT), smart (SIGTERM) or immediate (SIGQUIT). */
  async stop(mode: 'fast' | 'smart' | 'immediate' = 'fast'): Promise<void> {
    await this.#signal({ fast: 'SIGINT', smart: 'SIGTERM', immediate: 'SIGQUIT' }[mode] as NodeJS.Signals);
  }

  /** `kill -9` of the postmaster and all its children. */
  async kill(): Promise<void> {
    const child = this.#process;
    if (child?.pid === undefined) return;
    const children = spawnSync('ps', ['--ppid', String(child.pid), '-o', 'pid='], { encoding: 'utf8' })
      .stdout.split('\n')
      .map(Number)
      .filter((pid) => pid > 0);
    await this.#signal('SIGKILL');
    for (const pid of children) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        continue; // it ended with its parent
      }
    }
    // A new postmaster refuses to start while an old backend holds the shared memory.
    for (const pid of children) while (alive(pid)) await sleep(5);
  }

  async #signal(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    if (child === undefined) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }

  /** Stops the server and deletes its folder. */
  async destroy(): Promise<void> {
    await this.stop('immediate');
    removeFolder(this.folder);
  }

  url(user = 'postgres', database = 'postgres'): string {
    return `postgres://${user}@127.0.0.1:${this.port}/${database}`;
  }

  /** A connected client that the caller ends. */
  async client(database = 'postgres'): Promise<Client> {
    const client = new Client({ connectionString: this.url('postgres', database) });
    client.on('error', () => undefined); // a killed server is what tests are about; queries report it
    await client.connect();
    return client;
  }

  /** Runs one statement on a connection of its own and gives its rows. */
  async query<Row extends object = Record<string, unknown>>(
    sql: string,
    values: readonly unknown[] = [],
  ): Promise<Row[]> {
    const client = await this.client();
    try {
      const result = await client.query<Row>(sql, [...values]);
      return result.rows;
    } finally {
      await client.end();
    }
  }

  /** Runs a statement that gives one value. */
  async value(sql: string, values: readonly unknown[] = []): Promise<string> {
    const [first] = await this.query(sql, values);
    return String(Object.values(first ?? {})[0]);
  }
}

/** Whether a process runs: one that has ended, and that nobody has collected yet, does not. */
export function alive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** Runs a program of the embedded server to its end, as the server's user. */
export function run(major: Major, program: 'initdb' | 'pg_ctl' | 'postgres', args: readonly string[]): string {
  const result = spawnSync(join(serverHome(major), 'bin', program), args, {
    ...serverUser(),
    cwd: tmpdir(),
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' },
  });
  if (result.status !== 0)
    throw new Error(`${program} failed: ${result.stderr || result.stdout || String(result.error)}`);
  return result.stdout;
}
