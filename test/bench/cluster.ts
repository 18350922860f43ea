/** The server and the archive that the benchmarks run on. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { giveToServer, PostgresServer } from '../support/postgres.ts';
import type { Command, Watched } from './measure.ts';

/** Debian's PostgreSQL 15 tools: the peers. */
export const TOOLS = '/usr/lib/postgresql/15/bin';

/** The project's folder, with a slash at the end. */
export const ROOT: string = new URL('../..', import.meta.url).pathname;

/** `settings` are further ones. */
export async function benchServer(settings: Readonly<Record<string, string>> = {}): Promise<PostgresServer> {
  return PostgresServer.start({
    major: 15,
    settings: {
      fsync: 'on',
      shared_buffers: '512MB',
      max_wal_size: '8GB',
      checkpoint_timeout: '1h',
      synchronous_commit: 'on',
      // It would come upon the new tables in the middle of some runs and not of others.
      autovacuum: 'off',
      ...settings,
    },
  });
}

/** Rows of each further table for a unit of scale: together they are a little larger than pgbench's. */
const ROWS = 80_000;

/** pgbench's tables and two that do not compress twenty-fold: random bytes and prose-like text. Gives the size in bytes. */
export async function fill(server: PostgresServer, scale: number): Promise<number> {
  const done = spawnSync(`${TOOLS}/pgbench`, ['-i', '-q', '-s', String(scale), server.url()], { encoding: 'utf8' });
  if (done.status !== 0) throw new Error(done.stderr);
  await server.query(`CREATE TABLE noise AS
    SELECT n, decode(md5(n::text) || md5((n * 7)::text) || md5((n * 13)::text) || md5((n * 31)::text), 'hex') AS bytes
    FROM generate_series(1, ${scale * ROWS}) n`);
  await server.query(`CREATE TABLE prose AS
    SELECT n, 'order ' || n || ' of customer ' || (n::bigint * 7919 % 100003) || ' was shipped at ' || (now() - n * interval '1 second') || ' by carrier ' || (n % 17) AS line
    FROM generate_series(1, ${scale * ROWS}) n`);
  await server.query('CHECKPOINT');
  return Number(await server.value('SELECT sum(pg_database_size(oid)) FROM pg_database'));
}

export interface Archive {
  readonly folder: string;
  readonly config: string;
  /** Of its receiver. */
  readonly slot: string;
}

/** A config of pgark in a folder of its own; without a storage, its repository is there too. */
export function archive(server: PostgresServer, name: string, codecs: readonly object[], storage?: object): Archive {
  const folder = join(server.folder, name);
  for (const part of ['', 'repository', 'spool']) {
    mkdirSync(join(folder, part), { recursive: true });
    giveToServer(join(folder, part));
  }
  const config = join(folder, 'pgark.json');
  const slot = `pgark_${name}`;
  const content = {
    cluster: 'bench',
    postgres: { url: server.url() },
    repositories: [{ name: 'primary', storage: storage ?? { use: 'fs', path: join(folder, 'repository') }, codecs }],
    receive: { slot, spool: join(folder, 'spool') },
  };
  writeFileSync(config, JSON.stringify(content));
  return { folder, config, slot };
}

/** A command of the built program, as its users run it. */
export function pgark(config: string, args: readonly string[]): Command {
  return { program: process.execPath, args: [join(ROOT, 'core/bin/pgark.js'), '--config', config, ...args] };
}

/** zstd 1 and age for a new key; undefined where the codec or the command is missing. Backups need no key to read. */
export function encrypted(folder: string): readonly object[] | undefined {
  if (!existsSync(join(ROOT, 'plugins/codec-age/dist/index.js'))) return undefined;
  const file = join(folder, 'backup.key');
  if (!existsSync(file) && spawnSync('age-keygen', ['-o', file]).status !== 0) return undefined;
  const { stdout } = spawnSync('age-keygen', ['-y', file], { encoding: 'utf8' });
  return [
    { use: 'zstd', level: 1 },
    { use: 'age', recipients: [stdout.trim()] },
  ];
}

/** Waits until all receivers stream, which alone may be connected. One that has ended, or does not come within a minute, is an error. */
export async function streaming(server: PostgresServer, receivers: readonly Watched[]): Promise<void> {
  const end = performance.now() + 60_000;
  const count = `SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'`;
  while ((await server.value(count)) !== String(receivers.length)) {
    const late = performance.now() > end ? receivers : receivers.filter(({ child }) => child.exitCode !== null);
    if (late.length > 0) throw new Error(`a receiver does not stream:\n${late.map(({ errors }) => errors).join('\n')}`);
    await sleep(100);
  }
}
