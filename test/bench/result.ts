/** The scoreboard as a value: what JSON, table and pictures are made of. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Machine } from './machine.ts';
import type { Figure } from './measure.ts';
import { BUSY } from './verdict.ts';

/** What was measured in one go. */
export interface Group {
  /** `codecs`, `backup`, ...: as in `--only`. */
  readonly name: string;
  /** When it ended, ISO. */
  readonly time: string;
  /** The commit that was measured. */
  readonly commit: string;
  readonly rounds: number;
  /** Of the cluster, or of the file. */
  readonly bytes: number;
  /** The larger share of the CPUs that others used, before and after. */
  readonly busy: number;
  readonly machine: Machine;
  readonly figures: readonly Figure[];
  /** Peak memory of commands of pgark, bytes. */
  readonly peaks: Readonly<Record<string, number>>;
  /** What could not be measured, and why. */
  readonly leftOut: readonly string[];
}

export interface Result {
  readonly version: 1;
  readonly groups: readonly Group[];
}

export const ORDER: readonly string[] = [
  'codecs',
  'backup',
  'latency',
  'commits',
  'wal-command',
  'wal-rates',
  'storage',
];

/** No command may need more; with parts of a gigabyte and S3, a little more. */
const MEMORY_LIMIT = 250e6;
const PARTS_MEMORY_LIMIT = 300e6;

export function memoryLimit(command: string): number {
  return command.includes('parts') ? PARTS_MEMORY_LIMIT : MEMORY_LIMIT;
}

/** The result with this group in the place of an older one of its name. */
export function withGroup(result: Result, group: Group): Result {
  const place = ({ name }: Group): number => ORDER.indexOf(name);
  const groups = [...result.groups.filter(({ name }) => name !== group.name), group];
  return { ...result, groups: groups.toSorted((a, b) => place(a) - place(b)) };
}

/** An empty result where there is no file. */
export function readResult(path: string): Result {
  if (!existsSync(path)) return { version: 1, groups: [] };
  const result = JSON.parse(readFileSync(path, 'utf8')) as Result;
  if (result.version !== 1) throw new Error(`${path} is of another version; delete it and measure anew`);
  return result;
}

export function writeResult(path: string, result: Result): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(result, undefined, 2)}\n`);
}

/** One line on when, where and on what a group was measured. */
export function conditions(group: Group): string {
  const { machine, bytes, rounds, busy } = group;
  const tools = Object.entries(machine.tools).map(([name, version]) => `${name} ${version}`);
  return [
    `${group.time.slice(0, 10)}, commit ${group.commit}`,
    `${machine.cpus} CPUs (${machine.cpu}), ${(machine.memoryBytes / 2 ** 30).toFixed(0)} GiB`,
    `${(bytes / 1e9).toFixed(2)} GB of data, ${rounds} rounds`,
    `others used ${(busy * 100).toFixed(0)} % of the CPUs${busy > BUSY ? ', which is too much' : ''}`,
    [`Node ${machine.node.slice(1)}`, ...tools].join(', '),
  ].join('; ');
}
