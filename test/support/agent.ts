/** A running `pgark agent`, as the user of the server. */
import { realpathSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { SHELL_SUFFIX } from '../../core/src/agent/shell-server.ts';
import { agentKey, runtimeFolders, socketIn } from '../../core/src/agent/place.ts';
import type { TestArchive } from './archive.ts';
import { serverUser } from './binaries.ts';
import { spawnCli, type CliChild } from './cli.ts';

/** Asks the agent for a command that stands behind it. */
export const SCRIPT = fileURLToPath(new URL('../../core/bin/pgark-wal', import.meta.url));

export class RunningAgent {
  readonly #cli: CliChild;
  readonly #sockets: readonly string[];

  private constructor(cli: CliChild, sockets: readonly string[]) {
    this.#cli = cli;
    this.#sockets = sockets;
  }

  /** Starts one for the archive and waits until it listens. */
  static async start(archive: Pick<TestArchive, 'config'>): Promise<RunningAgent> {
    const user = serverUser();
    const cli = spawnCli(['--config', archive.config, '--log-level', 'debug', 'agent'], { ...user });
    const keys = ['', 'main'].map((cluster) => agentKey(realpathSync(archive.config), cluster));
    const folders = runtimeFolders(user?.uid ?? process.getuid?.() ?? 0);
    const agent = new RunningAgent(
      cli,
      folders.flatMap((folder) => keys.map((key) => socketIn(folder, key))),
    );
    await cli.waitFor(/the agent listens/);
    return agent;
  }

  get log(): string {
    return this.#cli.stderr();
  }

  /** Where it listens. */
  get socket(): string {
    return /the agent listens \(socket=(\S+)\)/.exec(this.log)?.[1] ?? '';
  }

  #files(pattern: RegExp): readonly string[] {
    return [...this.log.matchAll(pattern)].map(([, file]) => file ?? '');
  }

  /** Files that a command has asked for, in order, each time. */
  asked(command: 'wal-push' | 'wal-fetch'): readonly string[] {
    return this.#files(new RegExp(`a command asks \\(command=${command} file=(\\S+)\\)`, 'g'));
  }

  /** Those that were answered. */
  answered(command: 'wal-push' | 'wal-fetch'): readonly string[] {
    return this.#files(new RegExp(`it is answered \\(command=${command} file=(\\S+) exitCode`, 'g'));
  }

  /** Segments that were ready when a recovery asked for them. */
  get fetchedAhead(): readonly string[] {
    return this.#files(/was fetched ahead \(file=(\S+)\)/g);
  }

  /** Whether a command waits for an answer, as far as the log has arrived. */
  isBusyWith(command: 'wal-push' | 'wal-fetch'): boolean {
    return this.asked(command).length > this.answered(command).length;
  }

  signal(signal: NodeJS.Signals): void {
    this.#cli.kill(signal);
  }

  /** Ends it; gives its exit code. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | undefined> {
    this.#cli.kill(signal);
    return (await this.#cli.ended).code;
  }

  /** Ends it however it is, and removes what a killed one leaves. */
  async destroy(): Promise<void> {
    await this.stop('SIGKILL');
    for (const socket of this.#sockets)
      for (const suffix of ['', SHELL_SUFFIX]) rmSync(socket + suffix, { force: true });
  }
}
