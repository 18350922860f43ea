/** The disk of `pg_wal` is about to fill, because the archive is away: what `wal-push` does with and without `push.onFullDisk: drop`. */
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { parseLsn } from '../../core/src/postgres/lsn.ts';
import { parseWalFileName, segmentName, segmentNumber } from '../../core/src/postgres/wal-file.ts';
import { RunningAgent } from '../support/agent.ts';
import { TestArchive } from '../support/archive.ts';
import { serverUser } from '../support/binaries.ts';
import { runCli, type CliResult } from '../support/cli.ts';
import { later } from '../support/later.ts';
import { giveToServer, PostgresServer } from '../support/postgres.ts';
import { archiveCommand, restoreCli, restored, startAndPromote } from '../support/restoring.ts';
import { smallDisk } from '../support/small-disk.ts';
import { until } from '../support/until.ts';

const MIB = 1024 * 1024;
const SEGMENT = 4 * MIB;
/** Segments that are written while the archive is away: more than the disk has room for. */
const WRITTEN = 8;

const disk = smallDisk(72, serverUser());
afterAll(() => {
  if (typeof disk !== 'string') disk.unmount();
});

class Scene {
  readonly server: PostgresServer;
  readonly archive: TestArchive;
  readonly #disk: string;

  constructor(server: PostgresServer, archive: TestArchive, disk: string) {
    this.server = server;
    this.archive = archive;
    this.#disk = disk;
  }

  /** A server whose WAL is on the small disk, and archived. */
  static async make(name: string): Promise<Scene> {
    if (typeof disk === 'string') throw new Error(disk);
    const { path } = disk;
    const wal = join(path, name);
    later(path, () => {
      for (const left of readdirSync(path)) rmSync(join(path, left), { recursive: true });
    });
    const server = later(
      await PostgresServer.create({
        major: 17,
        segmentMegabytes: 4,
        initArguments: ['--waldir', wal],
        settings: { min_wal_size: '8MB', max_wal_size: '8MB', autovacuum: 'off' },
      }),
      (one) => one.destroy(),
    );
    const archive = later(new TestArchive(server), (one) => one.destroy());
    server.configure({ archive_mode: 'on', archive_command: archiveCommand(archive) });
    await server.start();
    await archive.backup(['--checkpoint', 'fast']);
    return new Scene(server, archive, path);
  }

  get free(): number {
    const { bavail, bsize } = statfsSync(this.#disk);
    return bavail * bsize;
  }

  /** Leaves room for some segments only. */
  fill(): void {
    writeFileSync(join(this.#disk, 'filler'), Buffer.alloc(this.free - 5 * SEGMENT));
  }

  setPolicy(push: object): void {
    const config = JSON.parse(readFileSync(this.archive.config, 'utf8')) as object;
    writeFileSync(this.archive.config, JSON.stringify({ ...config, push }));
  }

  takeAway(): void {
    renameSync(this.archive.repository, `${this.archive.repository}.away`);
  }

  bringBack(): void {
    renameSync(`${this.archive.repository}.away`, this.archive.repository);
  }

  /** A segment full of something; gives its name. */
  async write(): Promise<string> {
    await this.server.query(`SELECT pg_logical_emit_message(false, 'test', repeat(md5(random()::text), 100000))`);
    return this.server.value('SELECT pg_walfile_name(pg_switch_wal())');
  }

  get waiting(): readonly string[] {
    const marks = readdirSync(join(this.server.data, 'pg_wal', 'archive_status'));
    return marks.flatMap((mark) => /^([0-9A-F]{24})\.ready$/.exec(mark)?.[1] ?? []).toSorted();
  }

  /** Runs `wal-push` in the data directory, as the archiver does. */
  async push(name: string): Promise<CliResult> {
    const args = ['--config', this.archive.config, 'wal-push', `pg_wal/${name}`, name];
    return runCli(args, { ...serverUser(), cwd: this.server.data });
  }

  get records(): readonly string[] {
    const folder = join(this.archive.spool, 'main', 'dropped');
    return existsSync(folder) ? readdirSync(folder).toSorted() : [];
  }

  /** Writes more than the disk takes, at the pace at which it is let go. */
  async writeMoreThanFits(): Promise<readonly string[]> {
    const names: string[] = [];
    if (this.free >= WRITTEN * SEGMENT) throw new Error('there is room for all of it');
    while (names.length < WRITTEN) {
      names.push(await this.write());
      await until(
        'room on the disk',
        async () => {
          if (this.free > 2 * SEGMENT) return true;
          await this.server.query('CHECKPOINT');
          return false;
        },
        () => this.server.log,
      );
    }
    await until('all of them to be let go', () => names.every((name) => !this.waiting.includes(name)));
    return names;
  }
}

test.skipIf(typeof disk === 'string')(
  'H-13 the archive is away and the disk of pg_wal fills: WAL is kept unless the config says otherwise; then the server lives, and the loss is on record',
  async () => {
    const scene = await Scene.make('alone');
    const { server, archive } = scene;
    await server.query('CREATE TABLE numbers AS SELECT 1 AS n');
    const before = await server.value('SELECT pg_current_wal_insert_lsn()');
    await archive.switchWal(server);
    await until('an idle archiver', () => scene.waiting.length === 0);
    scene.fill();
    scene.takeAway();

    // Without the option PostgreSQL keeps it, whatever the disk.
    const kept = await scene.write();
    await until('a failure', async () => (await server.value('SELECT failed_count FROM pg_stat_archiver')) !== '0');
    expect(scene.waiting).toContain(kept);
    expect(await scene.push(kept)).toMatchObject({ code: 2 });
    expect(scene.records).toEqual([]);

    // With it, while there is room, too.
    scene.setPolicy({ onFullDisk: 'drop', minFree: '1MiB' });
    expect(await scene.push(kept)).toMatchObject({ code: 2 });
    expect(scene.records).toEqual([]);

    scene.setPolicy({ onFullDisk: 'drop', minFree: '64MiB' });
    const dropped = [kept, ...(await scene.writeMoreThanFits())];
    await server.query('INSERT INTO numbers VALUES (2)');
    expect(scene.records.length).toBeGreaterThanOrEqual(dropped.length);
    expect(server.log).toMatch(new RegExp(`error: WAL is lost: ${kept} was let go: the disk of`));
    expect(existsSync(archive.repository)).toBe(false);

    scene.bringBack();
    const after = await server.value('SELECT pg_current_wal_insert_lsn()');
    const next = await archive.switchWal(server);
    await until('the records', () => scene.records.length === 0);
    const list = await runCli(['--config', archive.config, '--json', 'list'], { ...serverUser() });
    const [entry] = JSON.parse(list.stdout) as [{ gaps: readonly { from: string; to: string }[] }];
    // What was still there has been shipped; all else lies in a gap on record.
    const names = entry.gaps.flatMap(({ from, to }) => {
      const found: string[] = [];
      for (let number = segmentNumber(parseLsn(from), SEGMENT); number < segmentNumber(parseLsn(to), SEGMENT); number++)
        found.push(segmentName(1, number, SEGMENT));
      return found;
    });
    expect(names.length).toBeGreaterThan(WRITTEN / 3);
    expect(names[0]).toBe(kept);
    expect(names).toEqual(dropped.filter((name) => !archive.holds(name)));
    expect(parseWalFileName(next)?.kind).toBe('segment');
    const [gap] = entry.gaps;
    expect(list.stderr).toContain(`WAL is lost from ${gap?.from} to ${gap?.to} on timeline 1`);
    expect(await archive.run(['show', 'latest'])).toMatch(new RegExp(`GAP +${gap?.from} to `));

    const behind = await restoreCli(archive, ['--plan', '--target-lsn', after]);
    expect(behind.code).not.toBe(0);
    expect(behind.stdout + behind.stderr).toMatch(new RegExp(`${kept}, .*missing`));
    const all = await restoreCli(archive, ['--plan']);
    expect(all.stdout + all.stderr).toContain(`WAL is lost from ${gap?.from} to ${gap?.to} on timeline 1`);

    const clone = later(await restored(archive, 17, 'before', ['--target-lsn', before]), (one) => one.destroy());
    await startAndPromote(clone);
    expect(await clone.value('SELECT sum(n) FROM numbers')).toBe('1');
    await clone.stop();

    // A new backup leads on.
    await archive.backup(['--checkpoint', 'fast']);
    const anew = await restoreCli(archive, ['--plan']);
    expect(anew.code).toBe(0);
    expect(anew.stdout + anew.stderr).not.toContain('WAL is lost');
  },
);

test.skipIf(typeof disk === 'string')(
  'H-13 through the agent: it lets nothing go by itself, and puts what is owed on record before it archives anything',
  async () => {
    const scene = await Scene.make('agent');
    const { server, archive } = scene;
    const agent = later(await RunningAgent.start(archive), (one) => one.destroy());
    await archive.switchWal(server);
    await until('the agent to have a part', () => agent.answered('wal-push').length > 0);
    await until('an idle archiver', () => scene.waiting.length === 0);
    scene.setPolicy({ onFullDisk: 'drop', minFree: '64MiB' });
    giveToServer(archive.config);
    scene.takeAway();
    const name = await scene.write();
    await until('the segment to be let go', () => !scene.waiting.includes(name));
    expect(agent.asked('wal-push')).toContain(name);
    expect(scene.records).toEqual([expect.stringContaining(name) as string]);
    // The label of the backup is older, and what is there still is shipped: for a gap the segment has to be gone.
    await scene.write();
    await until('a checkpoint that removes it', async () => {
      await server.query('CHECKPOINT');
      return !existsSync(join(server.data, 'pg_wal', name));
    });

    scene.bringBack();
    await archive.switchWal(server);
    await until('the records', () => scene.records.length === 0);
    const facts = readdirSync(join(archive.systemFolder, 'facts', 'wal'));
    expect(facts.filter((fact) => fact.endsWith('-gap.json')).length).toBeGreaterThan(0);
    const list = await runCli(['--config', archive.config, 'list'], { ...serverUser() });
    expect(list.stderr).toMatch(/WAL is lost from \S+ to \S+ on timeline 1/);
    expect(await agent.stop()).toBe(0);
  },
);
