/**
 * The main job of pgark from end to end, on a PostgreSQL of its own and the file system: stream, back up, load, make a
 * mistake, destroy, restore to the last commit and to the moment before the mistake, compare, and show the evidence.
 * `--keep` leaves the folder; `--major 15|16|17|18` chooses the server.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { serverUser } from '../../test/support/binaries.ts';
import { ledger, Writers } from '../../test/support/load.ts';
import { giveToServer, MAJORS, PostgresServer, removeFolder, temporaryFolder } from '../../test/support/postgres.ts';

const { values } = parseArgs({
  options: { keep: { type: 'boolean', default: false }, major: { type: 'string', default: '18' } },
});
const major = MAJORS.find((known) => String(known) === values.major);
if (major === undefined) throw new Error(`no PostgreSQL ${values.major}: choose one of ${MAJORS.join(', ')}`);

const PGARK = new URL('../../core/bin/pgark.js', import.meta.url).pathname;
const LOAD_SECONDS = 4;

const folder = temporaryFolder('demo');
const config = join(folder, 'pgark.yaml');
/** Who types the commands: the user of the server. */
const operator = { ...serverUser(), cwd: folder, env: { ...process.env, HOME: folder } };
const running = new Set<PostgresServer>();
let receiver: ChildProcess | undefined;

const began = performance.now();
function step(text: string): void {
  console.log(`${((performance.now() - began) / 1000).toFixed(1).padStart(5)} s  ${text}`);
}

/** Runs a pgark command as an operator would, and shows it. */
function pgark(...args: string[]): string {
  step(`$ pgark ${args.join(' ')}`);
  const done = spawnSync(process.execPath, [PGARK, '--config', config, ...args], {
    ...operator,
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  if (done.status !== 0) throw new Error(`pgark ${args[0]} ended with ${done.status}:\n${done.stdout}${done.stderr}`);
  return done.stdout;
}

async function startReceiver(server: PostgresServer): Promise<void> {
  step('$ pgark receive &');
  const child = spawn(process.execPath, [PGARK, '--config', config, 'receive'], {
    ...operator,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  receiver = child;
  while ((await server.value(`SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'`)) === '0') {
    if (child.exitCode !== null) throw new Error(`pgark receive ended with ${child.exitCode}:\n${errors}`);
    await sleep(50);
  }
}

async function open(data: string): Promise<PostgresServer> {
  if (major === undefined) throw new Error('no server');
  const server = await PostgresServer.open(major, data);
  running.add(server);
  await server.start();
  await server.recovered();
  return server;
}

function holds(condition: boolean, what: string): void {
  if (!condition) throw new Error(`the demo failed: ${what}`);
}

async function main(): Promise<void> {
  for (const part of ['repository', 'spool']) {
    mkdirSync(join(folder, part));
    giveToServer(join(folder, part));
  }
  step(`a new PostgreSQL ${values.major} in ${folder}`);
  const server = await PostgresServer.start({ major: major ?? 18, settings: { fsync: 'on' } });
  running.add(server);
  writeFileSync(
    config,
    [
      'cluster: demo',
      `postgres: { url: "${server.url()}" }`,
      'repositories:',
      `  - { name: primary, storage: { use: fs, path: ${join(folder, 'repository')} }, codecs: [ { use: zstd, level: 1 } ] }`,
      `receive: { slot: pgark, spool: ${join(folder, 'spool')} }`,
      '',
    ].join('\n'),
  );

  await startReceiver(server);
  await server.query(`ALTER SYSTEM SET synchronous_standby_names = '*'`);
  await server.query('SELECT pg_reload_conf()');
  step('pgark is now the synchronous standby: a commit returns when its WAL is in the spool');

  const writers = await Writers.start(server, 8);
  console.log(pgark('backup', '--label', 'demo'));
  await sleep((LOAD_SECONDS * 1000) / 2);
  await server.query('CREATE TABLE precious AS SELECT n, md5(n::text) AS value FROM generate_series(1, 100000) n');
  const moment = await server.value(
    `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00'`,
  );
  await sleep(200);
  await server.query('DROP TABLE precious');
  step(`the mistake: a table with 100000 rows dropped after ${moment}`);
  await sleep((LOAD_SECONDS * 1000) / 2);

  const size = Number(await server.value('SELECT sum(pg_database_size(oid)) FROM pg_database'));
  const crash = performance.now();
  receiver?.kill('SIGKILL');
  await server.kill();
  const acknowledged = await writers.stop();
  rmSync(server.data, { recursive: true });
  step(`kill -9 of server and receiver, rm -rf of the data directory; ${writers.total} commits had been acknowledged`);

  console.log(pgark('list'));
  const last = join(folder, 'restored');
  console.log(pgark('restore', last));
  const clone = await open(last);
  const recovered = performance.now();
  const found = await ledger(clone);
  const lost = acknowledged.reduce((sum, count, session) => sum + Math.max(0, count - (found.last[session] ?? 0)), 0);
  const endLsn = await clone.value('SELECT pg_current_wal_lsn()');
  holds(found.holes === 0 && lost === 0, `${lost} acknowledged commits are missing, ${found.holes} holes`);
  step('restored to the last commit, and it runs');
  await clone.stop();

  const before = join(folder, 'before-the-mistake');
  console.log(pgark('restore', '--target-time', moment, before));
  const past = await open(before);
  const rows = await past.value('SELECT count(*) FROM precious');
  const sum = await past.value(`SELECT md5(string_agg(value, '' ORDER BY n)) FROM precious`);
  const wanted = await past.value(
    `SELECT md5(string_agg(md5(n::text), '' ORDER BY n)) FROM generate_series(1, 100000) n`,
  );
  holds(rows === '100000' && sum === wanted, `the table of ${moment} has ${rows} rows`);
  step('restored to the moment before the mistake, and the table is there, row for row');

  console.log(`
Evidence
  commits acknowledged        ${writers.total}
  of these missing (RPO)      ${lost}
  rows after the restore      ${found.last.reduce((total, count) => total + count, 0)} without a hole, up to LSN ${endLsn}
  rows of the dropped table   ${rows} at ${moment}, checksums equal
  size of the cluster         ${(size / 1e6).toFixed(0)} MB
  from crash to service (RTO) ${((recovered - crash) / 1000).toFixed(1)} s
  all of it                   ${((performance.now() - began) / 1000).toFixed(1)} s
`);
}

try {
  await main();
} finally {
  if (receiver !== undefined && receiver.exitCode === null && receiver.signalCode === null) {
    receiver.kill('SIGKILL');
    await once(receiver, 'exit');
  }
  for (const server of running) await server.destroy();
  if (values.keep) console.log(`kept: ${folder}`);
  else removeFolder(folder);
}
