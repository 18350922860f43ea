/** Backups taken in this process into folders of their own, for tests that break them. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { isArchiveError, type ErrorCode } from '@pgark/sdk';
import { afterEach, expect } from 'vitest';
import { takeBackup, type BackupOptions, type BackupProgress } from '../../core/src/backup/backup.ts';
import { resolveTarget } from '../../core/src/postgres/target.ts';
import type { BackupRecord } from '../../core/src/repository/backup-record.ts';
import type { Repository } from '../../core/src/repository/repository.ts';
import type { TestArchive } from './archive.ts';
import { serverUser } from './binaries.ts';
import { runCli, spawnCli, type CliChild, type CliResult } from './cli.ts';
import { fsRepository, type FsRepositoryOptions } from './fs-repository.ts';
import { PostgresServer, removeFolder, temporaryFolder, type InitOptions } from './postgres.ts';
import { KEEP_WAL, systemIdOf } from './ship-wal.ts';
import { silentLogger } from './silent-logger.ts';

/** What the running test undoes at its end, the last first. */
export const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const undo of cleanup.splice(0).toReversed()) await undo();
});

export const withCode = (code: ErrorCode): unknown => expect.toSatisfy((error) => isArchiveError(error, code), code);

/** A server with more data than fits between it and a storage that takes nothing. */
export async function start(options: InitOptions = {}): Promise<PostgresServer> {
  const settings = { ...KEEP_WAL, autovacuum: 'off', ...options.settings };
  const server = await PostgresServer.start({ major: 17, segmentMegabytes: 1, ...options, settings });
  cleanup.push(() => server.destroy());
  await server.query(`CREATE TABLE big AS SELECT n, repeat(md5(n::text), 30) AS m FROM generate_series(1, 25000) n`);
  await server.query('CHECKPOINT');
  return server;
}

export interface Opened {
  readonly repository: Repository;
  readonly folder: string;
}

export async function open(options: FsRepositoryOptions = {}): Promise<Opened> {
  const parent = temporaryFolder('backup');
  cleanup.push(() => {
    removeFolder(parent);
  });
  const folder = join(parent, 'repository');
  return { repository: await fsRepository(folder, options), folder };
}

export async function backup(
  server: { readonly port: number },
  repository: Repository,
  options: Partial<BackupOptions> = {},
): Promise<BackupRecord> {
  const url = `postgres://postgres@127.0.0.1:${server.port}/postgres`;
  const target = await resolveTarget({ url }, { env: {}, home: '/' });
  const repositories = [repository] as const;
  const common = { target, repositories, checkpoint: 'fast', logger: silentLogger, walTimeout: 30_000 } as const;
  return (await takeBackup({ ...common, partSize: 4 << 20, ...options })).record;
}

/** Nothing of it can be taken for a backup, and no object is shown that is not whole. */
export async function expectNothingCommitted(server: PostgresServer, { repository, folder }: Opened): Promise<void> {
  const catalog = repository.backups(await systemIdOf(server));
  const states = (await catalog.list()).map(({ state }) => state);
  expect(states.filter((state) => state !== 'incomplete')).toEqual([]);
  expect(leftovers(folder)).toEqual([]);
}

/** Temporary files of the storage that are still there. */
function leftovers(folder: string): readonly string[] {
  const temporary = join(folder, '.pgark-tmp');
  return existsSync(temporary) ? readdirSync(temporary) : [];
}

/** Calls back once, when the stage is reached and so many bytes are through. */
export function at(stage: BackupProgress['stage'], bytes: number, act: () => void): (progress: BackupProgress) => void {
  let done = false;
  return (progress) => {
    if (done || progress.stage !== stage || progress.bytes < bytes) return;
    done = true;
    act();
  };
}

/** As the user of the server, like every command of the archive. */
export function cli(archive: TestArchive, args: readonly string[]): Promise<CliResult> {
  return runCli(['--config', archive.config, ...args], { ...serverUser() });
}

export function spawn(archive: TestArchive, args: readonly string[]): CliChild {
  return spawnCli(['--config', archive.config, ...args], { ...serverUser() });
}
