/** The daemon as a process of its own that can be killed, with a faster clock for its jobs, and what it tells. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Run } from '../../core/src/schedule/run.ts';
import { serverUser } from './binaries.ts';
import { SOURCE_FLAGS } from './source-flags.ts';

const PROGRAM = fileURLToPath(new URL('../week/daemon.ts', import.meta.url));

/** What its process takes up, megabytes. */
export interface DaemonMemory {
  readonly resident: number;
  readonly heapUsed: number;
  readonly heapTotal: number;
  readonly external: number;
}

/** What the program writes. */
interface Line {
  readonly run?: Run;
  readonly event?: string;
  readonly log?: string;
  readonly message?: string;
  readonly fields?: Readonly<Record<string, unknown>>;
  readonly memory?: DaemonMemory;
}

export interface DaemonProcessOptions {
  /** The path of its config. */
  readonly config: string;
  /** So many times as fast as that of the host its clock goes. */
  readonly factor: number;
  /** Since when, epoch milliseconds; the same for one that comes after it. */
  readonly from: number;
  /** How Node is begun, beside what running from source takes. */
  readonly flags?: readonly string[];
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
}

export class DaemonProcess {
  /** Runs as they began and ended. */
  readonly told: Run[] = [];
  /** Names of events. */
  readonly events: string[] = [];
  /** Second by second. */
  readonly memory: DaemonMemory[] = [];
  /** Ids of runs that its log speaks of. */
  readonly spoken = new Set<string>();
  readonly #log: string[] = [];
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;

  constructor({ config, factor, from, flags = [], env = {} }: DaemonProcessOptions) {
    const program = [PROGRAM, config, String(factor), String(from)];
    this.#child = spawn(process.execPath, [...SOURCE_FLAGS, '--conditions=@pgark/source', ...flags, ...program], {
      ...serverUser(),
      env: { ...process.env, ...env },
      cwd: '/',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#closed = once(this.#child, 'close');
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => this.#log.push(text.trim()));
    if (this.#child.stdout !== null)
      createInterface({ input: this.#child.stdout }).on('line', (line) => this.#take(line));
  }

  /** What it said last. */
  get report(): string {
    return this.#log.slice(-80).join('\n');
  }

  says(pattern: RegExp): boolean {
    return this.#log.some((line) => pattern.test(line));
  }

  /** Runs that have begun and not ended, as far as it has told. */
  get running(): readonly Run[] {
    const ended = new Set(this.ended.map(({ id }) => id));
    return this.told.filter(({ id, state }) => state === 'running' && !ended.has(id));
  }

  /** Runs that have ended, in that order. */
  get ended(): readonly Run[] {
    return this.told.filter(({ state }) => state !== 'running');
  }

  /** Ends it by a signal; gives the signal or the exit code when all that it wrote is read. */
  async end(signal: NodeJS.Signals): Promise<string | number | null> {
    this.#child.kill(signal);
    await this.#closed;
    return this.#child.signalCode ?? this.#child.exitCode;
  }

  #take(text: string): void {
    // A kill may cut the last one short.
    const line = parsed(text);
    if (line?.memory !== undefined) {
      this.memory.push(line.memory);
      return;
    }
    this.#log.push(text);
    if (line?.event !== undefined) this.events.push(line.event);
    if (line?.run !== undefined) this.told.push(line.run);
    const id = line?.fields?.['run'] ?? line?.run?.id;
    if (typeof id === 'string') this.spoken.add(id);
  }
}

function parsed(text: string): Line | undefined {
  try {
    return JSON.parse(text) as Line;
  } catch {
    return undefined;
  }
}
