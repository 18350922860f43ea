/** Runs the command line from source, as a child process of its own. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { SOURCE_FLAGS } from './source-flags.ts';

const BIN = fileURLToPath(new URL('../../core/src/cli/bin.ts', import.meta.url));

/** What starts the program: also what a test writes into `archive_command` or `restore_command`, joined by spaces. */
export const CLI: readonly [string, ...string[]] = [
  process.execPath,
  ...SOURCE_FLAGS,
  '--conditions=@pgark/source',
  BIN,
];

export interface CliOptions {
  readonly cwd?: string;
  /** Added to the environment of the tests, from which `PGARK_*` and `PG*` variables are taken out. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Given on stdin; without it stdin is empty. */
  readonly input?: string | Uint8Array;
  /** Run as another user (tests that run as root). */
  readonly uid?: number;
  readonly gid?: number;
}

export interface CliResult {
  /** Exit code; undefined when a signal ended it. */
  readonly code: number | undefined;
  readonly signal: NodeJS.Signals | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** A running command, with what it has printed so far. */
export interface CliChild {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** Resolves when it has ended. */
  readonly ended: Promise<CliResult>;
  /** Waits until stderr or stdout matches; rejects when the command ends first or after the time (default 30 s). */
  waitFor(pattern: RegExp, options?: { readonly milliseconds?: number }): Promise<RegExpExecArray>;
  kill(signal?: NodeJS.Signals): void;
}

/** Starts a command. The caller ends it. */
export function spawnCli(args: readonly string[], options: CliOptions = {}): CliChild {
  const [program, ...first] = CLI;
  const child = spawn(program, [...first, ...args], {
    cwd: options.cwd ?? process.cwd(),
    env: environment(options.env ?? {}),
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(options.uid === undefined ? {} : { uid: options.uid }),
    ...(options.gid === undefined ? {} : { gid: options.gid }),
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdin.on('error', () => undefined); // a command that reads no input may end first
  child.stdin.end(options.input);
  const ended = once(child, 'close').then(([code, signal]: (number | string | null)[]) => ({
    code: typeof code === 'number' ? code : undefined,
    signal: typeof signal === 'string' ? (signal as NodeJS.Signals) : undefined,
    stdout,
    stderr,
  }));
  const waitFor = (pattern: RegExp, { milliseconds = 30_000 } = {}): Promise<RegExpExecArray> =>
    new Promise((resolve, reject) => {
      const found = (): RegExpExecArray | null => pattern.exec(stderr) ?? pattern.exec(stdout);
      const finish = (end: () => void): void => {
        clearTimeout(timer);
        child.stdout.off('data', look);
        child.stderr.off('data', look);
        child.off('close', gone);
        end();
      };
      const look = (): void => {
        const match = found();
        if (match !== null) finish(() => resolve(match));
      };
      const fail = (what: string): void =>
        finish(() => reject(new Error(`${what} before ${String(pattern)}:\n${stdout}\n${stderr}`)));
      const gone = (): void => fail(`pgark ${args.join(' ')} ended`);
      const timer = setTimeout(() => fail(`pgark ${args.join(' ')} took ${milliseconds} ms`), milliseconds);
      child.stdout.on('data', look);
      child.stderr.on('data', look);
      child.once('close', gone);
      look();
    });
  return {
    child,
    pid: child.pid ?? 0,
    stdout: () => stdout,
    stderr: () => stderr,
    ended,
    waitFor,
    kill: (signal = 'SIGTERM') => void child.kill(signal),
  };
}

/** Runs a command to its end. */
export async function runCli(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  return spawnCli(args, options).ended;
}

function environment(more: Readonly<Record<string, string | undefined>>): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !/^(?:PGARK_|PG[A-Z]|NODE_OPTIONS$|VITEST)/.test(name));
  return { ...Object.fromEntries(own), NODE_NO_WARNINGS: '1', ...more };
}
