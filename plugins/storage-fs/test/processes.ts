/** Starts {@link file://./put-process.ts} plain, traced, limited or as another user. */
import { execFile, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { onTestFinished } from 'vitest';

const program = ['--conditions=@pgark/source', new URL('put-process.ts', import.meta.url).pathname];

/** The user `nobody`: to whom a mode of 0700 of root says no. */
const NOBODY = 65_534;

export interface Outcome {
  readonly name: string;
  readonly result?: unknown;
  readonly code?: string;
  readonly retriable?: boolean;
  readonly message?: string;
  readonly hint?: string;
}

/** A folder for one test, deleted after it. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'pgark-fs-test-'));
  chmodSync(folder, 0o755);
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Starts the process; it is killed at the end of the test if it still runs. */
export function start(args: readonly string[]): {
  readonly child: ChildProcess;
  readonly lines: AsyncIterable<string>;
} {
  const child = spawn(process.execPath, [...program, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  if (child.stdout === null) throw new Error('the process has no output');
  return { child, lines: createInterface({ input: child.stdout }) };
}

/** Kills without any chance to clean up, and waits for the end. */
export async function kill(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

/** Runs the process to its end; `through` are commands such as `strace` that start it. */
export async function run(
  args: readonly string[],
  options: { readonly through?: readonly string[]; readonly asNobody?: boolean } = {},
): Promise<readonly Outcome[]> {
  const [command = '', ...rest] = [...(options.through ?? []), process.execPath, ...program, ...args];
  const nobody = options.asNobody === true && process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
  const { stdout } = await promisify(execFile)(command, rest, { timeout: 30_000, ...nobody });
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Outcome);
}

/** Why strace cannot be used here, or undefined. */
export function noStrace(): string | undefined {
  const { status, error } = spawnSync('strace', ['-f', '-e', 'trace=none', 'true']);
  if (error !== undefined) return 'strace is not installed';
  return status === 0 ? undefined : 'this system does not allow strace';
}

/** Mounts a small file system in memory for the test, or says why it cannot. */
export function mountMemory(folder: string, megabytes: number): string | undefined {
  if (process.getuid?.() !== 0) return 'only root may mount';
  const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', folder], {
    encoding: 'utf8',
  });
  if (status !== 0) return `mounting is not allowed here: ${stderr}`;
  onTestFinished(() => unmount(folder));
  return undefined;
}

/** Lazy, since a test that failed may still hold a file; unmounting twice does nothing. */
export function unmount(folder: string): void {
  spawnSync('umount', ['--lazy', folder]);
}
