/** Runs whole processes and keeps what the operating system says of them. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { serverUser } from '../support/binaries.ts';

export interface Run {
  readonly seconds: number;
  /** Peak resident memory of the process, bytes; with {@link Command.family} the sum of the peaks of all its processes. */
  readonly peakBytes: number;
  /** CPU seconds of the same processes, user and system, to some hundredths. */
  readonly cpuSeconds: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Command {
  readonly program: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** As the user who runs PostgreSQL, when that is another one. */
  readonly asServer?: boolean;
  /** A file that the program reads from stdin through a pipe; its stdout is thrown away then. */
  readonly pipeFrom?: string;
  /** A file that takes stdout instead. */
  readonly pipeTo?: string;
  /** Whether the processes that it starts count too. Default false. */
  readonly family?: boolean;
  /** How it must end. Default 0. */
  readonly exitCode?: number;
}

/** Ticks of /proc/PID/stat per second: Linux has told user space 100 on every architecture since 2.6. */
const TICKS = 100;

/** A started process that is watched. */
export class Watched {
  readonly child: ChildProcess;
  readonly #family: boolean;
  readonly #exitCode: number;
  readonly #begin = performance.now();
  readonly #timer: NodeJS.Timeout;
  /** It has ended and all that it wrote was read; rejects when it could not be started. */
  readonly #closed: Promise<unknown>;
  #seconds = Number.NaN;
  readonly #seen = new Map<number, { readonly peakBytes: number; readonly cpuSeconds: number }>();
  #output = '';
  #errors = '';

  constructor(command: Command) {
    const { program, args } = piped(command);
    this.#family = command.family === true;
    this.#exitCode = command.exitCode ?? 0;
    this.child = spawn(program, args, {
      ...(command.asServer === true ? serverUser() : {}),
      cwd: '/',
      env: { ...process.env, ...(command.asServer === true ? { HOME: '/nonexistent' } : {}), ...command.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child.stdout?.on('data', (chunk: Buffer) => (this.#output += chunk.toString()));
    this.child.stderr?.on('data', (chunk: Buffer) => (this.#errors += chunk.toString()));
    this.#timer = setInterval(() => this.#look(), 20);
    this.child.once('exit', () => (this.#seconds = (performance.now() - this.#begin) / 1000));
    this.#closed = once(this.child, 'close').finally(() => clearInterval(this.#timer));
    this.#closed.catch(() => undefined); // told by finish()
  }

  get errors(): string {
    return this.#errors;
  }

  get output(): string {
    return this.#output;
  }

  #look(): void {
    for (const pid of this.#family ? familyOf(this.child.pid) : [this.child.pid]) {
      const now = pid === undefined ? undefined : usage(pid);
      if (pid !== undefined && now !== undefined) this.#seen.set(pid, now);
    }
  }

  /** Waits for the end; any other exit code than the one that is expected is an error. */
  async finish(): Promise<Run> {
    const run = await this.#ended();
    if (this.child.exitCode !== this.#exitCode) {
      throw new Error(
        `${this.child.spawnargs.join(' ')} ended with ${this.child.exitCode ?? this.child.signalCode}:\n${this.#errors}${this.#output}`,
      );
    }
    return run;
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Run> {
    this.#look();
    this.child.kill(signal);
    return this.finish();
  }

  /** Ends it at once, where what it would still do is of no interest. */
  async kill(): Promise<Run> {
    this.#look();
    this.child.kill('SIGKILL');
    return this.#ended();
  }

  async #ended(): Promise<Run> {
    await this.#closed;
    const sum = (value: 'peakBytes' | 'cpuSeconds'): number =>
      [...this.#seen.values()].reduce((total, each) => total + each[value], 0);
    return {
      seconds: this.#seconds,
      peakBytes: sum('peakBytes'),
      cpuSeconds: sum('cpuSeconds'),
      stdout: this.#output,
      stderr: this.#errors,
    };
  }
}

export async function runCommand(command: Command): Promise<Run> {
  return new Watched(command).finish();
}

/** The shell makes the pipe and becomes the program, so that the process that is watched is the program itself. */
function piped({ program, args, pipeFrom, pipeTo = '/dev/null' }: Command): Pick<Command, 'program' | 'args'> {
  if (pipeFrom === undefined) return { program, args };
  const script = 'from=$1 to=$2; shift 2; exec "$@" < <(exec cat "$from") >"$to"';
  return { program: 'bash', args: ['-c', script, 'bash', pipeFrom, pipeTo, program, ...args] };
}

/** A process and those that it started, as of now. */
function familyOf(pid: number | undefined): readonly number[] {
  if (pid === undefined) return [];
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').map(Number);
    return [pid, ...children.filter((child) => child > 0).flatMap(familyOf)];
  } catch {
    return []; // it is gone
  }
}

/**
 * VmHWM is the kernel's own high-water mark, and CPU time only grows: a look that comes too late loses only what came after the last
 * one.
 */
function usage(pid: number): { peakBytes: number; cpuSeconds: number } | undefined {
  try {
    const peak = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    // The fields after the name, which is in brackets and may hold anything: the 12th and 13th are user and system time (proc(5)).
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    if (peak === undefined) return undefined; // it has ended and waits to be collected
    return { peakBytes: Number(peak) * 1024, cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS };
  } catch {
    return undefined; // it is gone
  }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** What a command needs beside time. */
export interface Cost {
  /** The highest of all runs. */
  readonly peakBytes: number;
  /** Median of the runs. */
  readonly cpuSeconds: number;
}

/** One figure of the scoreboard: ours beside the peer's, run in turn; some have no peer. */
export interface Figure {
  readonly name: string;
  readonly unit: string;
  readonly better: 'more' | 'less';
  readonly ours: readonly number[];
  readonly peer?: readonly number[];
  readonly peerName?: string;
  /** What must be shown: of the ratio of ours to the peer's, of our value, or of both. */
  readonly target?: { readonly ratio?: number; readonly value?: number };
  readonly cost?: { readonly ours: Cost; readonly peer?: Cost };
  /** What the reader of the number must know. */
  readonly note?: string;
}

/** Our value beside the peer's in each pair of neighbouring runs, so that a drift of the machine cancels out. */
export function pairedRatios({ ours, peer = [] }: Figure): readonly number[] {
  return ours.slice(0, peer.length).map((value, at) => value / (peer[at] ?? Number.NaN));
}
