/** Restores with the command line, and the clusters that come out of it. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TestArchive } from './archive.ts';
import { serverUser } from './binaries.ts';
import { CLI, runCli, type CliResult } from './cli.ts';
import { later } from './later.ts';
import { PostgresServer, type Major } from './postgres.ts';

/** Runs `pgark restore` as the user of the server. */
export async function restoreCli(archive: TestArchive, args: readonly string[]): Promise<CliResult> {
  return runCli(['--config', archive.config, 'restore', ...args], { ...serverUser() });
}

/** Restores into a new folder of the archive and opens it; any failure is an error. */
export async function restored(
  archive: TestArchive,
  major: Major,
  name: string,
  args: readonly string[] = [],
  settings: Readonly<Record<string, string>> = {},
): Promise<PostgresServer> {
  const data = join(archive.folder, name);
  await archive.run(['restore', '--no-sync', '--no-try-command', data, ...args]);
  return PostgresServer.open(major, data, settings);
}

/** Waits until the server is no longer in recovery. */
export async function untilPromoted(server: PostgresServer): Promise<void> {
  for (
    const deadline = Date.now() + 60_000;
    (await server.value('SELECT pg_is_in_recovery()')) === 'true';
    await sleep(20)
  )
    if (Date.now() > deadline) throw new Error(`the recovery does not end:\n${server.log}`);
}

/** Starts a restored cluster and waits until it is promoted. */
export async function startAndPromote(server: PostgresServer): Promise<PostgresServer> {
  await server.start();
  await untilPromoted(server);
  return server;
}

/** Restores the newest state from the archive alone, server and spool being gone, and starts it. */
export async function restoredAlone(archive: TestArchive, server: PostgresServer): Promise<PostgresServer> {
  await server.kill();
  rmSync(server.data, { recursive: true });
  rmSync(archive.spool, { recursive: true });
  const data = join(archive.folder, 'restored');
  await archive.run(['restore', data]);
  const clone = later(await PostgresServer.open(server.major, data), (opened) => opened.destroy());
  // A recovery begins a process for each file, and may go through dozens of timelines.
  await clone.start({ seconds: 600 });
  await clone.recovered();
  return clone;
}

/** Takes a setting out of postgresql.auto.conf, as an operator does who lets a restored cluster archive again. */
export function dropSetting(data: string, name: string): void {
  const path = join(data, 'postgresql.auto.conf');
  const lines = readFileSync(path, 'utf8').split('\n');
  writeFileSync(path, lines.filter((line) => !line.startsWith(`${name} `)).join('\n'));
}

/** What goes into `archive_command`. */
export function archiveCommand(archive: TestArchive): string {
  return `${CLI.join(' ')} --config ${archive.config} wal-push "%p" "%f"`;
}
