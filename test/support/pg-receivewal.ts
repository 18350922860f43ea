/** Debian's pg_receivewal and pgbench, run beside pgark. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder, type PostgresServer } from './postgres.ts';
import { tool } from './tools.ts';

/** A running pg_receivewal with a slot of its own. */
export class PgReceivewal {
  readonly folder: string;
  readonly #child: ChildProcess;
  #output = '';

  private constructor(folder: string, child: ChildProcess) {
    this.folder = folder;
    this.#child = child;
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#output += text));
  }

  /** Starts it on a slot that exists. */
  static start(server: PostgresServer, slot: string): PgReceivewal {
    const folder = join(temporaryFolder('pg-receivewal'), 'wal');
    mkdirSync(folder);
    const child = spawn(
      tool('pg_receivewal') ?? 'pg_receivewal',
      ['-D', folder, '--slot', slot, '--synchronous', '-h', '127.0.0.1', '-p', String(server.port), '-U', 'postgres'],
      { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, PGAPPNAME: slot } },
    );
    return new PgReceivewal(folder, child);
  }

  get output(): string {
    return this.#output;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGINT');
    await ended;
  }
}

/** Runs pgbench to its end, or to that of its server; gives whether it succeeded. */
export async function pgbench(server: PostgresServer, args: readonly string[]): Promise<boolean> {
  const child = spawn(
    tool('pgbench') ?? 'pgbench',
    ['-h', '127.0.0.1', '-p', String(server.port), '-U', 'postgres', '-n', ...args, 'postgres'],
    { stdio: 'ignore' },
  );
  const [code] = (await once(child, 'exit')) as [number | null];
  return code === 0;
}
