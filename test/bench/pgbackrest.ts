/**
 * pgBackRest on the same server, as the server's user: two processes, zstd 1, a repository in a local folder.
 *
 * It is let off waiting for the WAL of its backup (`archive-check=n`), for which `pgark backup` does wait: its archive_command would
 * have to run for the other peers as well. All else is its default; both have their files synced when they end.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { giveToServer, type PostgresServer } from '../support/postgres.ts';
import { runCommand, type Command } from './measure.ts';

const PROCESSES = 2;

export class PgBackRest {
  /** As a figure calls it. */
  static readonly title: string = `pgBackRest, zstd 1, ${PROCESSES} processes`;
  readonly #folder: string;
  readonly #config: string;

  constructor(server: PostgresServer) {
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

  /** An empty repository. */
  async renew(): Promise<void> {
    rmSync(join(this.#folder, 'repository'), { recursive: true, force: true });
    this.#makeFolder('repository');
    await runCommand(this.#command(['stanza-create']));
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
