/** Runs whole processes and keeps what the operating system says of them. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { serverUser } from '../support/binaries.ts';

export interface Run {
  readonly seconds: number;
  /** Peak resident memory of the process, bytes. */
  readonly peakBytes: number;
  readonly stdout: string;
}

export interface Command {
  readonly program: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** As the user who runs PostgreSQL, when that is another one. */
  readonly asServer?: boolean;
}

/** A started process whose peak memory is watched. */
export class Watched {
  readonly child: ChildProcess;
  readonly #begin = performance.now();
  readonly #timer: NodeJS.Timeout;
  #peakBytes = 0;
  #output = '';
  #errors = '';

  constructor(command: Command) {
    this.child = spawn(command.program, command.args, {
      ...(command.asServer === true ? serverUser() : {}),
      cwd: '/',
      env: { ...process.env, ...(command.asServer === true ? { HOME: '/nonexistent' } : {}), ...command.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child.stdout?.on('data', (chunk: Buffer) => (this.#output += chunk.toString()));
    this.child.stderr?.on('data', (chunk: Buffer) => (this.#errors += chunk.toString()));
    this.#timer = setInterval(() => this.#look(), 20);
  }

  get errors(): string {
    return this.#errors;
  }

  // VmHWM is the kernel's own high-water mark: a late look loses only what came after it.
  #look(): void {
    try {
      const status = readFileSync(`/proc/${this.child.pid}/status`, 'utf8');
      const peak = /^VmHWM:\s+(\d+) kB/m.exec(status)?.[1];
      if (peak !== undefined) this.#peakBytes = Number(peak) * 1024;
    } catch {
      clearInterval(this.#timer); // the process is gone
    }
  }

  /** Waits for the end; anything but exit code 0 is an error. */
  async finish(): Promise<Run> {
    if (this.child.exitCode === null && this.child.signalCode === null) await once(this.child, 'exit');
    clearInterval(this.#timer);
    const seconds = (performance.now() - this.#begin) / 1000;
    if (this.child.exitCode !== 0) {
      throw new Error(
        `${this.child.spawnargs.join(' ')} ended with ${this.child.exitCode ?? this.child.signalCode}:\n${this.#errors}`,
      );
    }
    return { seconds, peakBytes: this.#peakBytes, stdout: this.#output };
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Run> {
    this.#look();
    this.child.kill(signal);
    return this.finish();
  }
}

export async function runCommand(command: Command): Promise<Run> {
  return new Watched(command).finish();
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** One figure of the scoreboard: ours beside the peer's, run in turn. */
export interface Figure {
  readonly name: string;
  readonly unit: string;
  readonly better: 'more' | 'less';
  readonly ours: readonly number[];
  readonly peer: readonly number[];
  readonly peerName: string;
}

/** Median of the ratios of each pair of neighbouring runs, so that a drift of the machine cancels out. */
export function ratio(figure: Figure): number {
  return median(figure.ours.map((value, at) => value / (figure.peer[at] ?? Number.NaN)));
}
