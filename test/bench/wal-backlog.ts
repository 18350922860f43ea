/**
 * A server with a backup and, behind it, WAL that waits for archive_command: made once, archived and replayed as often as wanted. A slot
 * keeps the segments, and the marks of the archiver are put back before each run.
 */
import { cpSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { giveToServer, PostgresServer } from '../support/postgres.ts';
import { benchServer, fill, TOOLS } from './cluster.ts';
import { runCommand } from './measure.ts';

export interface BacklogOptions {
  /** Of the cluster when the backup is taken; see `fill`. */
  readonly scale: number;
  readonly segments: number;
}

const SLOT = 'bench_backlog';
/** Milliseconds after which a run counts as hung. */
const LIMIT = 600_000;
const REDO = /redo done at \S+ system usage: .*elapsed: ([\d.]+) s/;

export class WalBacklog {
  readonly server: PostgresServer;
  /** The segments of the backlog, ascending. */
  readonly names: readonly string[];
  /** Their files in a folder of their own, for `cp`. */
  readonly copies: string;
  readonly #backup: string;

  private constructor(server: PostgresServer, names: readonly string[]) {
    this.server = server;
    this.names = names;
    this.copies = join(server.folder, 'segments');
    this.#backup = join(server.folder, 'backup');
  }

  static async make({ scale, segments }: BacklogOptions): Promise<WalBacklog> {
    // A backup from such a server waits until its WAL is archived; the marks are put back later.
    const server = await benchServer({ archive_mode: 'on', archive_command: 'true' });
    try {
      await fill(server, scale);
      await server.query(`SELECT pg_create_physical_replication_slot('${SLOT}', true)`);
      const backup = join(server.folder, 'backup');
      const flags = ['-X', 'none', '-c', 'fast', '--no-manifest', '-d', server.url()];
      await runCommand({ program: `${TOOLS}/pg_basebackup`, args: ['-D', backup, ...flags], asServer: true });
      // Replay begins with this one.
      const label = readFileSync(join(backup, 'backup_label'), 'utf8');
      const first = /\(file ([0-9A-F]{24})\)/.exec(label)?.[1] ?? '';
      const made = new WalBacklog(server, await writeSegments(server, first, segments));
      await made.#setCommand('');
      mkdirSync(made.copies);
      giveToServer(made.copies);
      for (const name of made.names) {
        cpSync(join(server.data, 'pg_wal', name), join(made.copies, name));
        giveToServer(join(made.copies, name));
      }
      return made;
    } catch (error) {
      await server.destroy();
      throw error;
    }
  }

  get bytes(): number {
    return this.names.length * 16 * 1024 * 1024;
  }

  /** Lets the server archive the backlog with a command; seconds from there until the last segment is marked as archived. */
  async archive(command: string): Promise<number> {
    this.#markReady();
    const last = join(this.#marks, `${this.names.at(-1)}.done`);
    const begin = performance.now();
    await this.#setCommand(command);
    try {
      // Looking costs next to nothing beside what is measured.
      for (; !exists(last); await sleep(10)) {
        if (performance.now() - begin > LIMIT)
          throw new Error(
            `not archived in time: ${await this.server.value('SELECT last_failed_wal FROM pg_stat_archiver')}`,
          );
      }
      return (performance.now() - begin) / 1000;
    } finally {
      await this.#setCommand('');
    }
  }

  get #marks(): string {
    return join(this.server.data, 'pg_wal', 'archive_status');
  }

  /** Exactly the backlog waits. */
  #markReady(): void {
    const wanted = new Set(this.names);
    for (const mark of readdirSync(this.#marks)) {
      const name = mark.replace(/\.(?:ready|done)$/, '');
      const state = wanted.has(name) ? 'ready' : 'done';
      if (mark !== `${name}.${state}`) renameSync(join(this.#marks, mark), join(this.#marks, `${name}.${state}`));
    }
    const ready = readdirSync(this.#marks).filter((mark) => mark.endsWith('.ready'));
    if (ready.length !== wanted.size) throw new Error(`${ready.length} of ${wanted.size} segments can be made ready`);
  }

  async #setCommand(command: string): Promise<void> {
    await this.server.query(`ALTER SYSTEM SET archive_command = '${command}'`);
    await this.server.query('SELECT pg_reload_conf()');
  }

  /**
   * Replays the backlog upon the backup, and gives the seconds that PostgreSQL says it took: from the first record to the last one, with
   * all that the command makes it wait. `command` gets the folder of the cluster.
   */
  async replay(command: (folder: string) => string): Promise<number> {
    const folder = join(this.server.folder, 'replayed');
    await runCommand({ program: 'cp', args: ['-a', this.#backup, folder] });
    writeFileSync(join(folder, 'recovery.signal'), '');
    giveToServer(join(folder, 'recovery.signal'));
    const settings = { archive_mode: 'off', fsync: 'on', hot_standby: 'off', restore_command: command(folder) };
    const clone = await PostgresServer.open(15, folder, settings);
    try {
      await clone.start({ wait: 'spawned' });
      const begin = performance.now();
      const path = join(clone.folder, 'log');
      let log = '';
      for (; !REDO.test(log); await sleep(20)) {
        const over = !clone.running || performance.now() - begin > LIMIT;
        if (exists(path)) log = readFileSync(path, 'utf8');
        if (over && !REDO.test(log)) throw new Error(`no recovery:\n${log}`);
      }
      // Whoever replayed less was not faster.
      const lacking = this.names.filter((name) => !log.includes(`restored log file "${name}"`));
      if (lacking.length > 0) throw new Error(`the recovery ended without ${lacking.join(', ')}:\n${log}`);
      return Number(REDO.exec(log)?.[1]);
    } finally {
      await clone.destroy();
      rmSync(folder, { recursive: true });
    }
  }

  async destroy(): Promise<void> {
    await this.server.destroy();
  }
}

/** Bulk loads, an index, updates and transactions of pgbench, until there are so many whole segments from `first` on; their names. */
async function writeSegments(server: PostgresServer, first: string, count: number): Promise<readonly string[]> {
  const folder = join(server.data, 'pg_wal');
  for (let turn = 0; ; turn++) {
    const current = await server.value('SELECT pg_walfile_name(pg_current_wal_insert_lsn())');
    const whole = readdirSync(folder)
      .filter((name) => /^[0-9A-F]{24}$/.test(name) && name >= first && name < current)
      .sort();
    if (whole.length >= count) return whole.slice(0, count);
    await server.query(`CREATE TABLE more_${turn} AS (SELECT n, bytes, NULL AS line FROM noise LIMIT 100000)
      UNION ALL (SELECT n, NULL, line FROM prose LIMIT 100000)`);
    await server.query(`CREATE INDEX ON more_${turn} (n)`);
    await server.query(`UPDATE more_${turn} SET line = 'changed ' || n WHERE n % 5 = 0`);
    const flags = ['-n', '-c', '4', '-j', '2', '-t', '2000'];
    await runCommand({ program: `${TOOLS}/pgbench`, args: [...flags, server.url()] });
  }
}

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}
