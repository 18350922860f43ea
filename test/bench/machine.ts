/** What a figure was measured on. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { TOOLS } from './cluster.ts';

export interface Machine {
  readonly cpu: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly node: string;
  /** What the peers say of themselves. */
  readonly tools: Readonly<Record<string, string>>;
}

const VERSIONS: Readonly<Record<string, readonly string[]>> = {
  [`${TOOLS}/pg_basebackup`]: ['--version'],
  pgbackrest: ['version'],
  zstd: ['--version'],
  gzip: ['--version'],
  lz4: ['--version'],
  age: ['--version'],
};

export function machine(): Machine {
  const tools: Record<string, string> = {};
  for (const [program, args] of Object.entries(VERSIONS)) {
    const { stdout } = spawnSync(program, args, { encoding: 'utf8' });
    const version = /\d+(?:\.\d+)+/.exec(stdout ?? '')?.[0];
    if (version !== undefined) tools[program.slice(program.lastIndexOf('/') + 1)] = version;
  }
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cpus: availableParallelism(),
    memoryBytes: totalmem(),
    node: process.version,
    tools,
  };
}

/** The share of the CPUs, 0 to 1, that is used while this program waits: by others, the hypervisor's other guests among them. */
export async function busyShare(milliseconds = 2000): Promise<number> {
  const before = cpuTicks();
  await sleep(milliseconds);
  const after = cpuTicks();
  return (after.used - before.used) / (after.total - before.total);
}

/** The first line of /proc/stat, proc(5): user nice system idle iowait irq softirq steal; what guests use is in user. */
function cpuTicks(): { used: number; total: number } {
  const [line = ''] = readFileSync('/proc/stat', 'utf8').split('\n');
  const fields = line.trim().split(/\s+/).slice(1, 9).map(Number);
  const total = fields.reduce((sum, value) => sum + value, 0);
  return { used: total - (fields[3] ?? 0) - (fields[4] ?? 0), total };
}

/** Whether a command can be found. */
export function installed(program: string): boolean {
  return spawnSync('sh', ['-c', 'command -v "$1"', 'sh', program]).status === 0;
}
