/** The server of a drill: a child of this process that does not outlive it. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Client } from 'pg';
import { ArchiveError, isArchiveError, throwIfAborted } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { openClient } from '../postgres/connect.ts';
import { resolveTarget } from '../postgres/target.ts';
import type { Owner } from '../restore/owner.ts';
import { PORT, sessionOptions } from './server-config.ts';
import { deathOf, isOfTheHost, sqlstateOf, type LogLine } from './verdict.ts';

export interface ScratchServerOptions {
  /** The program `postgres`. */
  readonly program: string;
  readonly data: string;
  /** Folder of the socket and of the configuration. */
  readonly run: string;
  /** As whom root runs it. */
  readonly owner: Owner | undefined;
  readonly env: NodeJS.ProcessEnv;
  /** A superuser of the cluster. */
  readonly role: string;
  /** Milliseconds without progress, and the most that a statement may take. */
  readonly timeout: number;
  readonly onLog?: (line: LogLine) => void;
}

/** Lines of the log that are kept. */
const KEPT = 200;
/** Milliseconds that the server has to end in, after each signal. */
const FAST = 60_000;
const IMMEDIATE = 10_000;
/** Milliseconds between two looks at the server. */
const TICK = 20;

const SETPRIV = '/usr/bin/setpriv';
const run = promisify(execFile);

export class ScratchServer {
  readonly #options: ScratchServerOptions;
  readonly #child: ChildProcess;
  readonly #log: LogLine[] = [];
  #said = performance.now();
  #rest = '';
  #ended: { readonly signal: string | undefined } | undefined;
  #failure: Error | undefined;

  private constructor(options: ScratchServerOptions, child: ChildProcess) {
    this.#options = options;
    this.#child = child;
    child.stderr?.setEncoding('utf8').on('data', (text: string) => this.#take(text));
    child.once('error', (error) => (this.#failure = error));
    // `close` comes when its last words have been read.
    child.once('close', (_, signal) => (this.#ended = { signal: signal ?? undefined }));
  }

  static async start(options: ScratchServerOptions): Promise<ScratchServer> {
    const { program, data, run, owner, env } = options;
    const [first, ...rest] = [
      ...(await mortal(owner)),
      program,
      '-D',
      data,
      '-c',
      `config_file=${run}/postgresql.conf`,
    ];
    const child = spawn(first ?? program, rest, {
      cwd: data,
      env: { ...env, LC_ALL: 'C', TZ: 'UTC' },
      stdio: ['ignore', 'ignore', 'pipe'],
      ...(owner === undefined || first === SETPRIV ? {} : { uid: owner.uid, gid: owner.gid }),
    });
    return new ScratchServer(options, child);
  }

  /** The last lines of its log. */
  get log(): readonly LogLine[] {
    return this.#log;
  }

  /**
   * Waits until the recovery has ended and the server takes connections. Errors: `DRILL_FAILED` and `DRILL_INCONCLUSIVE` when it ends
   * by itself, or nothing is heard of it for too long; `ABORTED`.
   */
  async ready({ signal }: CallOptions): Promise<void> {
    const { timeout } = this.#options;
    while (!this.#log.some(({ text }) => text.includes('database system is ready to accept connections'))) {
      throwIfAborted(signal, 'the drill');
      this.#throwIfEnded();
      if (performance.now() - this.#said > timeout)
        throw new ArchiveError(
          'DRILL_INCONCLUSIVE',
          `the recovery makes no progress for ${timeout / 1000} s; last: ${this.#log.at(-1)?.text ?? 'nothing'}`,
          { hint: 'Look at the storage and the disk of the drill, or raise drill.timeout.' },
        );
      await sleep(TICK);
    }
  }

  /** A connection to a database, which the caller ends. Errors: those of connecting; of a server that has ended, why. */
  async connect(database: string, { signal }: CallOptions): Promise<Client> {
    const { run, role, timeout } = this.#options;
    const target = await resolveTarget({}, { env: {}, home: '/', applicationName: 'pgark drill' });
    try {
      return await openClient(
        { ...target, hosts: [{ host: run, port: PORT }], user: role, database, options: sessionOptions(timeout) },
        { replication: false, ...(signal === undefined ? {} : { signal }) },
      );
    } catch (error) {
      this.#throwIfEnded();
      throw error;
    }
  }

  /** What an error that came from asking the server means: that it has ended, or what it said. */
  async explain(error: unknown): Promise<unknown> {
    const sqlstate = sqlstateOf(error);
    const text = error instanceof Error ? error.message : String(error);
    if (sqlstate !== undefined) {
      const code = isOfTheHost({ sqlstate, text }) ? 'DRILL_INCONCLUSIVE' : 'DRILL_FAILED';
      return isArchiveError(error) ? error : new ArchiveError(code, `the restored server: ${text}`, { cause: error });
    }
    if (isArchiveError(error) && !error.code.startsWith('SERVER_')) return error;
    // Its connections break a moment before it is known to have ended.
    for (const deadline = Date.now() + IMMEDIATE; this.#ended === undefined && Date.now() < deadline;)
      await sleep(TICK);
    return this.#ended === undefined ? error : deathOf(this.#log, this.#ended.signal);
  }

  /** Stops it cleanly, so that its files can be looked at. Errors: `DRILL_INCONCLUSIVE` when it had to be killed. */
  async stop(): Promise<void> {
    if (await this.#end('SIGINT', FAST)) return;
    await this.kill();
    throw new ArchiveError('DRILL_INCONCLUSIVE', `the server of the drill did not stop within ${FAST / 1000} s`);
  }

  /** Ends it at once. */
  async kill(): Promise<void> {
    if (await this.#end('SIGQUIT', IMMEDIATE)) return;
    await this.#end('SIGKILL', IMMEDIATE);
  }

  async #end(signal: NodeJS.Signals, milliseconds: number): Promise<boolean> {
    if (this.#ended !== undefined || this.#child.pid === undefined) return true;
    const closed = once(this.#child, 'close').then(() => true);
    this.#child.kill(signal);
    const cancel = new AbortController();
    const late = sleep(milliseconds, false, { signal: cancel.signal }).catch(() => false);
    try {
      return await Promise.race([closed, late]);
    } finally {
      cancel.abort();
    }
  }

  #throwIfEnded(): void {
    if (this.#failure !== undefined)
      throw new ArchiveError('DRILL_INCONCLUSIVE', `cannot run ${this.#options.program}: ${this.#failure.message}`, {
        cause: this.#failure,
      });
    if (this.#ended !== undefined) throw deathOf(this.#log, this.#ended.signal);
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      const match = /^([0-9A-Z]{5})\|([A-Z]+\d?): {2}(.*)$/.exec(line);
      // What programs of the server say, such as the restore_command, has no prefix.
      const entry: LogLine =
        match === null
          ? { severity: 'OUTPUT', sqlstate: '00000', text: line }
          : { sqlstate: match[1] ?? '', severity: match[2] ?? '', text: match[3] ?? '' };
      this.#said = performance.now();
      this.#log.push(entry);
      if (this.#log.length > KEPT) this.#log.shift();
      this.#options.onLog?.(entry);
    }
  }
}

/** What starts a program so that it dies with this process (prctl(2), PR_SET_PDEATHSIG) and is another user with all of its groups. */
async function mortal(owner: Owner | undefined): Promise<readonly string[]> {
  if (!existsSync(SETPRIV)) return [];
  const { stdout } = await run(SETPRIV, ['--help']).catch(() => ({ stdout: '' }));
  const death = stdout.includes('--pdeathsig') ? ['--pdeathsig=QUIT'] : [];
  const user = owner === undefined ? [] : [`--reuid=${owner.uid}`, `--regid=${owner.gid}`, '--init-groups'];
  return death.length === 0 && user.length === 0 ? [] : [SETPRIV, ...death, ...user, '--'];
}
