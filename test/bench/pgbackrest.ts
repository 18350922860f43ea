/**
 * pgBackRest on the same server, as the server's user: two processes, zstd 1, a repository in a local folder.
 *
 * It is let off waiting for the WAL of its backup (`archive-check=n`), for which `pgark backup` does wait: its archive_command would
 * have to run for the other peers as well. All else is its default; both have their files synced when they end.
 */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { giveToServer, type PostgresServer } from '../support/postgres.ts';
import { runCommand, type Command } from './measure.ts';

const PROCESSES = 2;
/** Bytes that its archive-get may hold ahead: what the agent of pgark does by default. */
const AHEAD = '256MiB';

export interface PgBackRestOptions {
  /** Whether archive-push and archive-get work ahead through the spool (`archive-async=y`). Default false. */
  readonly asynchronous?: boolean;
}

export class PgBackRest {
  /** As a figure calls it. */
  static readonly title: string = `pgBackRest, zstd 1, ${PROCESSES} processes`;
  readonly #folder: string;
  readonly #config: string;

  constructor(server: PostgresServer, { asynchronous = false }: PgBackRestOptions = {}) {
    this.#folder = join(server.folder, 'pgbackrest');
    this.#config = join(this.#folder, 'pgbackrest.conf');
    this.#makeFolder('');
    for (const name of ['log', 'lock', 'spool']) this.#makeFolder(name);
    const settings = {
      'repo1-path': join(this.#folder, 'repository'),
      'log-path': join(this.#folder, 'log'),
      'lock-path': join(this.#folder, 'lock'),
      'spool-path': join(this.#folder, 'spool'),
      'log-level-console': 'warn',
      'compress-type': 'zst',
      'compress-level': 1,
      'process-max': PROCESSES,
      'start-fast': 'y',
      'archive-check': 'n',
      // What is measured is the backup, and not the deletion of older ones.
      'expire-auto': 'n',
      ...(asynchronous && { 'archive-async': 'y', 'archive-get-queue-max': AHEAD }),
    };
    const lines = (values: object): string =>
      Object.entries(values)
        .map(([name, value]) => `${name}=${value}\n`)
        .join('');
    const stanza = {
      'pg1-path': server.data,
      'pg1-port': server.port,
      'pg1-socket-path': server.folder,
      'pg1-user': 'postgres',
    };
    writeFileSync(this.#config, `[global]\n${lines(settings)}\n[bench]\n${lines(stanza)}`);
  }

  /** A full backup into the repository, which must be empty. */
  get backup(): Command {
    return this.#command(['--type=full', 'backup']);
  }

  /** The newest backup into an empty folder. */
  restore(folder: string): Command {
    return this.#command([`--pg1-path=${folder}`, 'restore']);
  }

  /** One segment into the repository, as `archive_command` does it without `archive-async`. */
  archivePush(path: string): Command {
    return this.#command(['archive-push', path]);
  }

  /** What goes into postgresql.conf of the server. */
  get archiveCommand(): string {
    return shellText(this.#command(['archive-push'])) + ' "%p"';
  }

  /** What goes into postgresql.conf of a cluster in this folder that recovers from the archive. */
  restoreCommand(folder: string): string {
    return shellText(this.#command([`--pg1-path=${folder}`, 'archive-get'])) + ' %f "%p"';
  }

  /** Segments in the repository. */
  get archived(): readonly string[] {
    return readdirSync(join(this.#folder, 'repository', 'archive'), { recursive: true, encoding: 'utf8' }).flatMap(
      (path) => /\/([0-9A-F]{24})-[0-9a-f]{40}/.exec(path)?.[1] ?? [],
    );
  }

  /** An empty repository. */
  async renew(): Promise<void> {
    await this.emptySpool();
    rmSync(join(this.#folder, 'repository'), { recursive: true, force: true });
    this.#makeFolder('repository');
    await runCommand(this.#command(['stanza-create']));
  }

  /** Waits for the processes that work ahead, and takes away what they hold. */
  async emptySpool(): Promise<void> {
    const locks = join(this.#folder, 'lock');
    for (const end = performance.now() + 60_000; readdirSync(locks).length > 0; await sleep(20))
      if (performance.now() > end) throw new Error(`pgbackrest does not end: ${readdirSync(locks).join(', ')}`);
    rmSync(join(this.#folder, 'spool'), { recursive: true, force: true });
    this.#makeFolder('spool');
  }

  #command(args: readonly string[]): Command {
    return {
      program: 'pgbackrest',
      args: [`--config=${this.#config}`, '--stanza=bench', ...args],
      asServer: true,
      family: true,
    };
  }

  #makeFolder(name: string): void {
    const path = join(this.#folder, name);
    mkdirSync(path, { recursive: true });
    giveToServer(path);
  }
}

/** None of the paths here has a character that a shell reads. */
function shellText({ program, args }: Command): string {
  return [program, ...args].join(' ');
}
