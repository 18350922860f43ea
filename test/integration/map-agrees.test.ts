/**
 * The map agrees with reality: on archives that are damaged at random, plans and real restores come to their target where the map says so, and are
 * refused, or fail loudly, where it does not.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isArchiveError } from '@pgark/sdk';
import { MapCache } from '../../core/src/map/map-cache.ts';
import { drawMap, type SystemMap } from '../../core/src/map/recovery-map.ts';
import type { MapWindow } from '../../core/src/map/windows.ts';
import { formatLsn, parseLsn } from '../../core/src/postgres/lsn.ts';
import { planRestore } from '../../core/src/restore/plan.ts';
import type { RecoveryTarget } from '../../core/src/restore/target.ts';
import { formatMoment } from '../../core/src/restore/time-text.ts';
import type { Repository } from '../../core/src/repository/repository.ts';
import { RunningAgent } from '../support/agent.ts';
import { backup } from '../support/backing-up.ts';
import { serverUser } from '../support/binaries.ts';
import { runCli } from '../support/cli.ts';
import { fsRepository } from '../support/fs-repository.ts';
import { PostgresServer, removeFolder, temporaryFolder } from '../support/postgres.ts';
import { randomFrom } from '../support/random.ts';
import { SCALE } from '../support/scale.ts';
import { KEEP_WAL, shipWal, Shipper } from '../support/ship-wal.ts';
import { silentLogger } from '../support/silent-logger.ts';
import { startStandby, caughtUp, destroyStandby, promote } from '../support/standby.ts';

const MAJOR = 17;
const CASES = Number(process.env['PGARK_TEST_CASES'] ?? (SCALE === 'full' ? 100 : 2));
const SEED = Number(process.env['PGARK_TEST_SEED'] ?? Date.now() % 1_000_000);

/** A row, and where its commit ends: a recovery past it has it. */
interface Mark {
  readonly row: number;
  /** The timelines whose line has it. */
  readonly lines: readonly number[];
  readonly end: bigint;
  /** Epoch microseconds, after the commit. */
  readonly time: bigint;
}

const undo: (() => unknown)[] = [];
const marks: Mark[] = [];
let whole = '';
let folder = '';
let config = '';
let systemId = '';

beforeAll(async () => {
  folder = temporaryFolder('map');
  undo.push(() => removeFolder(folder));
  whole = join(folder, 'whole');
  await makeArchive();
  cpSync(whole, join(folder, 'damaged'), { recursive: true });
  const content = {
    cluster: 'main',
    repositories: [{ storage: { use: 'fs', path: join(folder, 'damaged') } }],
    receive: { spool: join(folder, 'spool') },
    restore: { walRetry: '1s' },
    agent: { prefetch: '0B' },
  };
  config = join(folder, 'pgark.json');
  writeFileSync(config, JSON.stringify(content));
  give(folder);
  // It fetches each segment in a fraction of the time; nothing is fetched ahead, for the archive changes under it.
  const agent = await RunningAgent.start({ config });
  undo.push(() => agent.destroy());
}, 300_000);

/** To the user of the server, who reads the archive in a recovery. */
function give(path: string): void {
  const user = serverUser();
  if (user !== undefined) spawnSync('chown', ['-R', `${user.uid}:${user.gid}`, path]);
}

afterAll(async () => {
  for (const each of undo.splice(0).toReversed()) await each();
});

/** Two timelines, three backups on the first and two on the second, each with some segments behind it, and an unfinished end. */
async function makeArchive(): Promise<void> {
  const repository = await fsRepository(whole);
  const primary = await PostgresServer.start({
    major: MAJOR,
    segmentMegabytes: 1,
    settings: { ...KEEP_WAL, autovacuum: 'off', checkpoint_timeout: '1h' },
  });
  await primary.query('CREATE TABLE marks (row int PRIMARY KEY)');
  await primary.stop();
  const standby = await startStandby(primary);
  systemId = await primary.value('SELECT system_identifier FROM pg_control_system()');
  let row = 0;
  const mark = async (server: PostgresServer, lines: readonly number[]): Promise<void> => {
    await server.query('INSERT INTO marks VALUES ($1)', [++row]);
    const end = parseLsn(await server.value('SELECT pg_current_wal_flush_lsn()'));
    const time = BigInt(await server.value('SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint::text'));
    marks.push({ row, lines, end, time });
  };
  const segments = async (server: PostgresServer, lines: readonly number[], count: number): Promise<void> => {
    for (let at = 0; at < count; at++) {
      await mark(server, lines);
      await server.query('SELECT pg_switch_wal()');
    }
  };
  const take = async (server: PostgresServer): Promise<void> => {
    const shipper = new Shipper(server, repository);
    await backup(server, repository, { partSize: 4 << 20, walTimeout: 120_000 });
    await shipper.stop();
  };
  for (let round = 0; round < 3; round++) {
    await take(primary);
    await segments(primary, [1, 2], 3);
  }
  await caughtUp(primary, standby);
  await shipWal(primary, repository);
  await promote(standby);
  // The old primary goes on for a while: what it writes belongs to no line but its own.
  await segments(primary, [1], 2);
  await shipWal(primary, repository);
  await primary.stop();
  for (let round = 0; round < 2; round++) {
    await segments(standby, [2], 2);
    await take(standby);
  }
  await segments(standby, [2], 3);
  await shipWal(standby, repository);
  // What the receiver has of the open segment.
  await mark(standby, [2]);
  const open = await standby.value('SELECT pg_walfile_name(pg_current_wal_lsn())');
  const end = parseLsn(await standby.value('SELECT pg_current_wal_flush_lsn()'));
  const bytes = readFileSync(join(standby.data, 'pg_wal', open)).subarray(0, Number(end % 0x100000n));
  const half = Math.floor(bytes.byteLength / 2);
  const wal = repository.wal(systemId);
  await wal.pushTail(open, 0, half, bytes.subarray(0, half));
  await wal.pushTail(open, half, bytes.byteLength, bytes.subarray(half));
  await destroyStandby(standby);
  await primary.destroy();
}

/** Files of the archive that can be damaged. */
function objects(at: string, pattern: RegExp): readonly string[] {
  return readdirSync(at, { recursive: true, encoding: 'utf8' })
    .filter((path) => pattern.test(path))
    .sort();
}

const WAL = /\/wal\/.*-[0-9a-f]{32}/;
const SEGMENT = /\/wal\/.*\/[0-9A-F]{24}-[0-9a-f]{32}[^/]*$/;
const HISTORY = /\.history-/;
const PART = /\/backups\/.*\/(?:\d{4}\.tar|backup_manifest|files\.json)[^/]*$/;

type Random = () => number;
const pick = <Item>(random: Random, from: readonly Item[]): Item => from[Math.floor(random() * from.length)] as Item;

/** Damages a copy of the archive, and says what was done to it. */
function damage(at: string, random: Random): readonly string[] {
  const done: string[] = [];
  const count = 1 + Math.floor(random() * 3);
  for (let made = 0; made < count; made++) {
    const pattern = pick(random, [SEGMENT, SEGMENT, SEGMENT, SEGMENT, HISTORY, PART, PART, WAL]);
    const found = objects(at, pattern);
    if (found.length === 0) continue;
    const path = pick(random, found);
    const how = pick(random, ['remove', 'remove', 'flip', 'conflict'] as const);
    const file = join(at, path);
    if (how === 'remove') {
      rmSync(file);
    } else if (how === 'conflict' && SEGMENT.test(path)) {
      writeFileSync(file.replace(/-[0-9a-f]{32}/, `-${'0'.repeat(32)}`), 'another content');
    } else {
      const bytes = readFileSync(file);
      const place = Math.floor(random() * bytes.byteLength);
      bytes[place] = (bytes[place] ?? 0) ^ (1 << Math.floor(random() * 8));
      writeFileSync(file, bytes);
    }
    done.push(`${how} ${path}`);
  }
  return done;
}

/** What `pgark verify` does: reads everything, and puts on record what is damaged. */
async function verify(repository: Repository): Promise<void> {
  const time = Date.now();
  const findings = new Map<string, { key: string; problem: string }[]>([['wal', []]]);
  for await (const entry of repository.wal(systemId).everything()) {
    try {
      if ('segment' in entry) await repository.wal(systemId).readSlice(entry);
      else for await (const chunk of repository.wal(systemId).read(entry)) void chunk;
    } catch (error) {
      if (!isArchiveError(error)) throw error;
      findings.get('wal')?.push({ key: entry.key, problem: 'damaged' });
    }
  }
  const catalog = repository.backups(systemId);
  for (const entry of await catalog.list()) {
    if (entry.state !== 'complete') continue;
    const own: { key: string; problem: string }[] = [];
    const { parts, manifest, fileList } = entry.record;
    for (const object of [...parts, manifest, fileList]) {
      try {
        for await (const chunk of catalog.readObject(entry.id, object)) void chunk;
      } catch (error) {
        if (!isArchiveError(error)) throw error;
        const problem = error.code === 'STORAGE_NOT_FOUND' ? 'missing' : 'damaged';
        own.push({ key: catalog.objectKey(entry.id, object.name), problem });
      }
    }
    findings.set(entry.id, own);
  }
  for (const [subject, found] of findings)
    await repository
      .facts(systemId)
      .add(subject, { kind: 'verify', time, data: { level: 'full', checked: {}, findings: found } });
}

async function mapOf(repository: Repository): Promise<SystemMap> {
  const cache = new MapCache({ folder: undefined, age: 0, logger: silentLogger });
  const { systems, failures } = await drawMap([repository], { list: (one) => cache.list(one) });
  expect(failures).toEqual([]);
  const system = systems.find((one) => one.systemId === systemId);
  if (system === undefined) throw new Error('the map has no system');
  return system;
}

/** Whether the map says that a target can be reached along a line. */
function claims(windows: readonly MapWindow[], target: RecoveryTarget): boolean {
  return windows.some(({ from, to }) => {
    if (target.kind === 'lsn') return target.lsn >= from.lsn && target.lsn <= to.lsn;
    if (target.kind !== 'time') return false;
    return target.micros >= BigInt(Date.parse(from.time)) * 1000n && to.time !== undefined && target.micros < to.time;
  });
}

/** Targets on both sides of each border of the windows of a line, and some in between. */
function targetsOf(windows: readonly MapWindow[], random: Random): readonly RecoveryTarget[] {
  const lsns = windows.flatMap(({ from, to }) => [
    from.lsn - 1n,
    from.lsn,
    to.lsn,
    to.lsn + 1n,
    to.lsn + 0x100000n,
    from.lsn + BigInt(Math.floor(random() * Number(to.lsn - from.lsn + 1n))),
  ]);
  const others = Array.from({ length: 4 }, () => pick(random, marks));
  lsns.push(...others.map(({ end }) => end));
  const times = windows.flatMap(({ from, to }) => {
    const start = BigInt(Date.parse(from.time)) * 1000n;
    return [start - 1n, start, ...(to.time === undefined ? [] : [to.time - 1n, to.time])];
  });
  times.push(...others.map(({ time }) => time));
  return [
    ...lsns.filter((lsn) => lsn > 0n).map((lsn): RecoveryTarget => ({ kind: 'lsn', lsn, exclusive: false })),
    ...times.map((micros): RecoveryTarget => ({ kind: 'time', micros, exclusive: false })),
  ];
}

function show(target: RecoveryTarget): string {
  if (target.kind === 'lsn') return `LSN ${formatLsn(target.lsn)}`;
  return target.kind === 'time' ? `time ${formatMoment(target.micros)}` : target.kind;
}

async function planned(repository: Repository, timeline: number, target: RecoveryTarget): Promise<string | undefined> {
  try {
    const plan = await planRestore({ repositories: [repository], timeline, target });
    return plan.problems[0]?.message ?? plan.warnings.find((warning) => warning.includes('was found damaged'));
  } catch (error) {
    if (!isArchiveError(error)) throw error;
    return error.message;
  }
}

/** The rows of the line that must be there after a recovery to the target; to the end, those that the window is known to have. */
function expected(timeline: number, target: RecoveryTarget, window?: MapWindow): readonly number[] {
  return marksOf(timeline)
    .filter((mark) => isBefore(mark, target, window))
    .map(({ row }) => row);
}

/** The rows that may be there: of the first one behind the target it is not known where exactly its commit lies. */
function allowed(timeline: number, target: RecoveryTarget): readonly number[] {
  const own = marksOf(timeline);
  if (target.kind === 'latest') return own.map(({ row }) => row);
  return own.filter((_, at) => at === 0 || isBefore(own[at - 1] as Mark, target)).map(({ row }) => row);
}

function marksOf(timeline: number): readonly Mark[] {
  return marks.filter(({ lines }) => lines.includes(timeline));
}

function isBefore({ end, time }: Mark, target: RecoveryTarget, window?: MapWindow): boolean {
  if (target.kind === 'lsn') return end <= target.lsn;
  if (target.kind === 'time') return time <= target.micros;
  return window?.walEnd !== undefined && end <= window.walEnd;
}

/** Whatever was found out before, a server that opens has what was there at the target, and nothing else. */
function holdsRight(
  rows: readonly number[],
  {
    timeline,
    target,
    window,
  }: { readonly timeline: number; readonly target: RecoveryTarget; readonly window?: MapWindow },
  where: string,
): void {
  expect(rows, where).toEqual(expect.arrayContaining([...expected(timeline, target, window)]));
  expect(
    rows.filter((row) => !allowed(timeline, target).includes(row)),
    where,
  ).toEqual([]);
}

/** Restores with the command line and lets the server recover. Gives the rows, or why there are none. */
async function restored(
  timeline: number,
  target: RecoveryTarget,
): Promise<{ readonly rows: readonly number[] } | { readonly failed: string }> {
  const data = join(folder, 'restored');
  rmSync(data, { recursive: true, force: true });
  const at =
    target.kind === 'lsn'
      ? ['--target-lsn', formatLsn(target.lsn)]
      : target.kind === 'time'
        ? ['--target-time', formatMoment(target.micros)]
        : [];
  const args = [
    '--config',
    config,
    'restore',
    '--no-sync',
    '--no-try-command',
    '--target-timeline',
    String(timeline),
    ...at,
    data,
  ];
  const result = await runCli(args, { ...serverUser() });
  if (result.code !== 0) return { failed: result.stderr };
  const server = await PostgresServer.open(MAJOR, data);
  try {
    await server.start();
    await server.recovered();
    const rows = await server.query<{ row: number }>('SELECT row FROM marks ORDER BY row');
    return { rows: rows.map(({ row }) => row) };
  } catch (error) {
    return { failed: error instanceof Error ? error.message : String(error) };
  } finally {
    await server.destroy();
    rmSync(data, { recursive: true, force: true });
  }
}

describe(`randomly damaged archives, seed ${SEED}`, () => {
  test.each(Array.from({ length: CASES }, (_, at) => at + 1))(
    'case %i',
    async (number) => {
      const random = randomFrom(SEED * 1000 + number);
      const archive = join(folder, 'damaged');
      rmSync(join(archive, 'main'), { recursive: true, force: true });
      cpSync(join(whole, 'main'), join(archive, 'main'), { recursive: true });
      const done = damage(archive, random);
      expect(done.length).toBeGreaterThan(0);
      give(archive);
      const repository = await fsRepository(archive);
      const what = `seed ${SEED}, case ${number}: ${done.join('; ')}`;
      console.log(what);

      const unverified = await agrees(repository, what, random);
      if (done.some((each) => each.startsWith('flip'))) await staysTrue(unverified, what, random);
      await verify(repository);
      give(archive);
      const system = await agrees(repository, `${what}, verified`, random);

      // Real restores: on both sides of a border.
      const lines = system.lines.filter(({ windows }) => windows.length > 0);
      if (lines.length === 0) return;
      const { timeline, windows } = pick(random, lines);
      const all = targetsOf(windows, random);
      const inside = all.filter((target) => claims(windows, target));
      const outside = all.filter((target) => !claims(windows, target));
      for (const target of [
        ...(inside.length > 0 ? [pick(random, inside)] : []),
        ...(outside.length > 0 ? [pick(random, outside)] : []),
      ]) {
        const result = await restored(timeline, target);
        const where = `${what}: timeline ${timeline}, ${show(target)}`;
        if (claims(windows, target)) {
          expect('rows' in result ? undefined : result.failed, where).toBeUndefined();
          if ('rows' in result) holdsRight(result.rows, { timeline, target }, where);
        } else expect(result, where).toHaveProperty('failed');
      }
    },
    300_000,
  );
});

/**
 * Nobody can know of a flipped bit before it is read. Restores where the map sees no reason why not succeed, or fail loudly: none opens with
 * anything but what was there.
 */
async function staysTrue(system: SystemMap, what: string, random: Random): Promise<void> {
  const lines = system.lines.filter(({ windows }) => windows.length > 0);
  if (lines.length === 0) return;
  const { timeline, windows } = pick(random, lines);
  const inside = targetsOf(windows, random).filter((target) => claims(windows, target));
  const window = windows.at(-1);
  const all = [{ kind: 'latest' } as const, ...(inside.length > 0 ? [pick(random, inside)] : [])];
  // A recovery to the end is what could open too early.
  const target = SCALE === 'full' ? pick(random, all) : ({ kind: 'latest' } as const);
  const result = await restored(timeline, target);
  const where = `${what}, not verified: timeline ${timeline}, ${show(target)}`;
  console.log(
    `not verified: timeline ${timeline}, ${show(target)}: ${'rows' in result ? `${result.rows.length} rows` : 'refused'}`,
  );
  if ('failed' in result) expect(result.failed, where).toMatch(/error|FATAL|PANIC/);
  else holdsRight(result.rows, { timeline, target, ...(window !== undefined && { window }) }, where);
}

/** Draws the map, and holds each of its claims against the plan. */
async function agrees(repository: Repository, what: string, random: Random): Promise<SystemMap> {
  const system = await mapOf(repository);
  for (const { timeline, windows } of system.lines) {
    for (const target of targetsOf(windows, random)) {
      const problem = await planned(repository, timeline, target);
      const claimed = claims(windows, target);
      const where = `${what}: timeline ${timeline}, ${show(target)}: map ${claimed ? 'restorable' : 'not'}, plan ${problem ?? 'ok'}`;
      // A plan warns of what is damaged behind the target too.
      if (claimed && problem?.includes('was found damaged') === true) continue;
      expect(problem === undefined, where).toBe(claimed);
    }
  }
  return system;
}
