/** Drills with the command line. */
import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { DrillRecord } from '../../core/src/drill/drill-result.ts';
import type { TestArchive } from './archive.ts';
import { serverHome, serverUser, type Major } from './binaries.ts';
import { runCli, spawnCli, type CliChild, type CliResult } from './cli.ts';

/** What `pgark drill --json` prints. */
export interface DrillDocument extends DrillRecord {
  readonly backup: string;
  readonly recorded: boolean;
  readonly warnings: readonly string[];
}

/** The folder of the drills of an archive. */
export function drillFolder(archive: TestArchive): string {
  return join(archive.folder, 'drill');
}

export function drillSection(
  major: Major,
  more: Readonly<Record<string, unknown>> = {},
): Readonly<Record<string, unknown>> {
  return { drill: { bin: join(serverHome(major), 'bin'), timeout: '60s', ...more } };
}

/** `pgark drill`, with what a test wants of it. */
export function drillArguments(archive: TestArchive, more: readonly string[], json = true): readonly string[] {
  return [
    ...(json ? ['--json'] : []),
    '--config',
    archive.config,
    'drill',
    '--no-sync',
    '--folder',
    drillFolder(archive),
    ...more,
  ];
}

/** Runs `pgark drill --json` as the user of the server. */
export async function drillCli(archive: TestArchive, more: readonly string[] = []): Promise<CliResult> {
  return runCli(drillArguments(archive, more), { ...serverUser() });
}

export function spawnDrill(archive: TestArchive, more: readonly string[] = []): CliChild {
  return spawnCli(drillArguments(archive, more, false), { ...serverUser() });
}

export function documentOf({ code, stdout, stderr }: CliResult): DrillDocument {
  if (stdout === '') throw new Error(`the drill ended with ${code} and no result:\n${stderr}`);
  return JSON.parse(stdout) as DrillDocument;
}

/** Every file below a folder with its digest, to see that nothing was touched. */
export function digests(folder: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const path = join(folder, name);
    const stat = lstatSync(path);
    if (stat.isSymbolicLink()) found.set(name, readlinkSync(path));
    else if (stat.isFile()) found.set(name, createHash('sha256').update(readFileSync(path)).digest('hex'));
  }
  return found;
}

/** The processes that work in a folder or below it, by their current folder. */
export function processesIn(folder: string): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readlinkSync(`/proc/${pid}/cwd`).startsWith(folder);
      } catch {
        return false; // it has ended
      }
    })
    .map(Number);
}
