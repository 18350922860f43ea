/** A restored cluster whose `restore_command` can be held at a file, and tells with which exit codes it ended. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { giveToServer, PostgresServer, removeFolder, type Major } from './postgres.ts';
import { until } from './until.ts';

export interface CloneOptions {
  readonly major: Major;
  /** A restored data directory that never ran. */
  readonly template: string;
  readonly folder: string;
  /** The config in the `restore_command` of the template, and the one that it shall have. */
  readonly config: { readonly from: string; readonly to: string };
  /** What the shell runs in front of the `restore_command`. */
  readonly prefix: string;
  readonly standby: boolean;
  /** Where its WAL lies; default in the data directory. */
  readonly wal?: string;
}

export class Clone {
  readonly server: PostgresServer;
  readonly #folder: string;

  private constructor(server: PostgresServer, folder: string) {
    this.server = server;
    this.#folder = folder;
  }

  static async make({ major, template, folder, config, prefix, standby, wal }: CloneOptions): Promise<Clone> {
    mkdirSync(folder);
    giveToServer(folder);
    const data = join(folder, 'data');
    execFileSync('cp', ['-a', template, data]);
    // As a recovery that was set up by hand: the newest timeline, and no history but that of the archive.
    rmSync(join(data, 'pg_wal', '00000002.history'), { force: true });
    const path = join(data, 'postgresql.auto.conf');
    const content = readFileSync(path, 'utf8').replaceAll(config.from, config.to);
    const command = /^restore_command = '(.*)'$/m.exec(content)?.[1];
    if (command === undefined) throw new Error(`no restore_command in ${path}`);
    const held = `if mv ${folder}/hold.%f ${folder}/held.%f 2>/dev/null; then while test -e ${folder}/held.%f; do sleep 0.02; done; fi`;
    const told = `code=$?; echo "%f $code" >>${folder}/codes; exit $code`;
    const settings = [
      `restore_command = '${held}; ${prefix}${command}; ${told}'`,
      `recovery_target_timeline = 'latest'`,
    ];
    writeFileSync(path, [content, ...settings, ''].join('\n'));
    if (standby) renameSync(join(data, 'recovery.signal'), join(data, 'standby.signal'));
    if (wal !== undefined) {
      execFileSync('cp', ['-a', `${join(data, 'pg_wal')}/.`, wal]);
      removeFolder(join(data, 'pg_wal'));
      symlinkSync(wal, join(data, 'pg_wal'));
    }
    const server = await PostgresServer.open(major, data, { wal_retrieve_retry_interval: '100ms' });
    return new Clone(server, folder);
  }

  /** Lets the next request for a file wait. */
  hold(name: string): void {
    writeFileSync(join(this.#folder, `hold.${name}`), '');
    giveToServer(join(this.#folder, `hold.${name}`));
  }

  /** Waits until the request waits. */
  async held(name: string): Promise<void> {
    await until(
      `the request for ${name}`,
      () => existsSync(join(this.#folder, `held.${name}`)),
      () => this.report(),
    );
  }

  release(name: string): void {
    rmSync(join(this.#folder, `held.${name}`));
  }

  /** With which exit codes the commands for a file have ended, in order; for all files without a name. */
  codes(name?: string): readonly number[] {
    return this.#codes.flatMap(([file, code]) => (name === undefined || file === name ? [Number(code)] : []));
  }

  get #codes(): readonly (readonly string[])[] {
    const path = join(this.#folder, 'codes');
    if (!existsSync(path)) return [];
    const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1);
    return lines.map((line) => line.split(' '));
  }

  report(): string {
    return `${this.#codes.map((line) => line.join(' ')).join('\n')}\n${this.server.log}`;
  }

  async destroy(): Promise<void> {
    await this.server.destroy();
    removeFolder(this.#folder);
  }
}
