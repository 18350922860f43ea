/**
 * Exit codes of `wal-push` as a real archive_command while everything goes wrong: each failure is counted, the archiver lives, and every
 * segment is in the archive when the fault is healed. Chosen by a seed: the version on which every fault is driven, those of the other
 * versions, and whether an agent takes part; `PGARK_TEST_SEED` replays. `PGARK_TEST_FULL=1` drives all of them everywhere.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, test } from 'vitest';
import { openParts } from '../../core/src/archive-parts.ts';
import { loadConfig } from '../../core/src/config/load.ts';
import { ARCHIVER_FAULTS, placeOfRepository, unmountDisk, type ArchiverFault } from '../support/archiver-faults.ts';
import { CLI } from '../support/cli.ts';
import { FaultyArchive, WAYS, type Way } from '../support/faulty-archive.ts';
import { later } from '../support/later.ts';
import { MAJORS, PostgresServer, type Major } from '../support/postgres.ts';
import { randomFrom } from '../support/random.ts';
import { versityMissing } from '../support/s3-server.ts';
import { SCALE } from '../support/scale.ts';
import { silentLogger } from '../support/silent-logger.ts';
import { systemIdOf } from '../support/ship-wal.ts';
import { until } from '../support/until.ts';

const SEED = Number(process.env['PGARK_TEST_SEED'] ?? Date.now() % 1_000_000);
const FULL = SCALE === 'full';
const random = randomFrom(SEED);
const pick = <Item>(items: readonly Item[]): Item => items[Math.floor(random() * items.length)] as Item;
const MAIN = pick(MAJORS);
const DRIVEN = ARCHIVER_FAULTS.filter(({ missing }) => missing === undefined);
/** Faults for a version that is not the main one. */
const FEW = 2;

/** A server that archives, whose command tells with which exit codes it ended. */
class Scene {
  readonly server: PostgresServer;
  readonly archive: FaultyArchive;
  /** All that were switched away from, in order. */
  readonly segments: string[] = [];

  constructor(server: PostgresServer, archive: FaultyArchive) {
    this.server = server;
    this.archive = archive;
  }

  static async open(major: Major): Promise<Scene> {
    const { place, remove } = placeOfRepository();
    later(place, remove);
    // All WAL stays, to be compared with what is archived.
    const settings = { archive_mode: 'on', archive_command: 'false', wal_keep_size: '1GB' };
    const server = later(await PostgresServer.start({ major, segmentMegabytes: 1, settings }), (one) => one.destroy());
    const archive = later(
      await FaultyArchive.open(server, {
        buckets: ['repository'],
        idle: 60_000,
        ...(place !== undefined && { place }),
      }),
      (one) => one.destroy(),
    );
    const scene = new Scene(server, archive);
    await scene.archiveThrough('the command');
    await archive.archive.backup();
    await scene.archived(await scene.switch());
    return scene;
  }

  async archiveThrough(way: Way): Promise<void> {
    const prefix = await this.archive.prefix(way);
    const command = `${prefix}${CLI.join(' ')} --config ${this.archive.config(way)} wal-push --timeout 3 "%p" "%f"`;
    const told = `code=$?; echo "%f $code" >>${this.archive.archive.spool}/codes; exit $code`;
    await this.server.query(`ALTER SYSTEM SET archive_command = '${command}; ${told}'`);
    await this.server.query('SELECT pg_reload_conf()');
  }

  /** The segment that is being written. */
  async current(): Promise<string> {
    return this.server.value('SELECT pg_walfile_name(pg_current_wal_insert_lsn())');
  }

  async switch(): Promise<string> {
    await this.server.query(`SELECT pg_logical_emit_message(false, 'test', '')`);
    const name = await this.server.value('SELECT pg_walfile_name(pg_switch_wal())');
    this.segments.push(name);
    return name;
  }

  /** With which exit codes the commands for a segment have ended; for all without a name. */
  codes(name?: string): readonly number[] {
    const path = join(this.archive.archive.spool, 'codes');
    const lines = existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, -1) : [];
    return lines
      .map((line) => line.split(' '))
      .flatMap(([file, code]) => (name === undefined || file === name ? [Number(code)] : []));
  }

  /** Waits for a segment, and for all that came behind it. After some failures the archiver waits for a new one, or a minute. */
  async archived(name: string): Promise<void> {
    for (let looks = 1; this.codes(name).at(-1) !== 0; looks++) {
      if (looks > 300) throw new Error(`${name} was not archived:\n${this.report()}`);
      if (looks === 15) await this.switch();
      await sleep(200);
    }
    const last = this.segments.at(-1);
    if (last !== undefined && last !== name) await this.archived(last);
  }

  async archiver(): Promise<string> {
    return this.server.value(`SELECT pid FROM pg_stat_activity WHERE backend_type = 'archiver'`);
  }

  async failed(): Promise<number> {
    return Number(await this.server.value('SELECT failed_count FROM pg_stat_archiver'));
  }

  report(): string {
    return `${this.codes().join(' ')}\n${this.server.log}`;
  }
}

/** Compares every segment with what the server still has of it. */
async function expectArchived({ archive, server, segments }: Scene): Promise<void> {
  const path = archive.config('the command');
  const loaded = await loadConfig({ path, env: {}, directory: '/' });
  const opened = later(await openParts(loaded, { logger: silentLogger }), (one) => one.close());
  const wal = opened.repositories[0].wal(await systemIdOf(server));
  for (const name of segments) {
    const local = createHash('sha256')
      .update(readFileSync(join(server.data, 'pg_wal', name)))
      .digest('hex');
    const object = await wal.find(name);
    if (object === undefined) throw new Error(`${name} is lost`);
    const stored = createHash('sha256');
    for await (const chunk of wal.read(object)) stored.update(chunk);
    expect(stored.digest('hex'), name).toBe(local);
    expect(object.digest, name).toBe(local.slice(0, 32));
  }
}

/** Drives one fault, and shows that its segment arrives when it is healed. */
async function drive(scene: Scene, fault: ArchiverFault, way: Way): Promise<void> {
  const { archive } = scene;
  await scene.archiveThrough(way);
  const back = archive.set({ storage: fault.s3 === true ? 's3' : 'fs' });
  const before = await scene.failed();
  const asked = way === 'the command' ? 0 : (await archive.agent()).asked('wal-push').length;
  const next = await scene.current();
  const heal = fault.make({ archive, last: scene.segments.at(-1) ?? '', next });
  try {
    expect(await scene.switch()).toBe(next);
    await until(
      `a counted failure: ${fault.name}`,
      async () => (await scene.failed()) > before,
      () => scene.report(),
    );
    expect(scene.codes(next).length, scene.report()).toBeGreaterThan(0);
    expect(fault.codes, scene.report()).toEqual(expect.arrayContaining([...new Set(scene.codes(next))]));
    expect(await scene.server.value('SELECT last_failed_wal FROM pg_stat_archiver')).toBe(next);
    expect(scene.server.log).toMatch(fault.says);
    if (way !== 'the command') expect((await archive.agent()).asked('wal-push').length).toBeGreaterThan(asked);
  } finally {
    heal();
    back();
  }
  await scene.archived(next);
}

/** Kills the agent while a segment is on its way; nothing fails. */
async function killInTheMiddle(scene: Scene): Promise<void> {
  const { archive } = scene;
  await scene.archiveThrough('the agent');
  const back = archive.set({ storage: 's3' });
  const agent = await archive.agent();
  const before = await scene.failed();
  archive.proxy?.stall();
  const name = await scene.switch();
  await until(
    'the request',
    () => agent.asked('wal-push').includes(name),
    () => scene.report(),
  );
  expect(agent.isBusyWith('wal-push')).toBe(true);
  await archive.killAgent();
  archive.proxy?.resume();
  await scene.archived(name);
  expect(await scene.failed()).toBe(before);
  back();
}

afterAll(() => unmountDisk());

test.each(
  MAJORS.flatMap((major) => {
    // Those that are left out where something is missing are not in the title.
    const faults = FULL || major === MAIN ? DRIVEN : Array.from({ length: FEW }, () => pick(DRIVEN));
    const driven = faults.flatMap((fault) => (FULL ? WAYS : [pick(WAYS)]).map((way) => ({ fault, way })));
    return { major, driven, names: faults.map(({ name }) => name).join(', ') };
  }),
)(
  `H-21 PostgreSQL $major (seed ${SEED}): $names: each is counted, the archiver lives, and every segment is archived when it is healed`,
  async ({ major, driven }) => {
    const scene = await Scene.open(major);
    const pid = await scene.archiver();
    for (const { fault, way } of driven) {
      await drive(scene, fault, way);
    }
    if (versityMissing === undefined && (FULL || major === MAIN)) await killInTheMiddle(scene);
    expect(await scene.archiver()).toBe(pid);
    expect(scene.server.log).not.toMatch(/archiver process|terminated by signal/);
    expect(scene.codes().filter((code) => code > 125)).toEqual([]);
    await expectArchived(scene);
  },
);
