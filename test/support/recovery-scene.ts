/** Recoveries over two timelines, from an archive that can go wrong in the middle. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { serverUser } from './binaries.ts';
import { Clone } from './clone.ts';
import { FaultyArchive, type Way } from './faulty-archive.ts';
import { giveToServer, PostgresServer, type Major } from './postgres.ts';
import { smallDisk, type SmallDisk } from './small-disk.ts';

/** Segments that the longer of the two archives has on the second timeline: one for each fault of a standby. */
const LONG = 14;
/** Milliseconds: long enough for a loaded machine, short enough to wait for. */
const IDLE = 2000;

/** Room for the WAL of one recovery. */
const DISK = smallDisk(24, serverUser());
/** Why no recovery can have a full disk here; undefined when one can. */
export const NO_DISK: string | undefined = typeof DISK === 'string' ? DISK : undefined;

export class RecoveryScene {
  readonly major: Major;
  readonly archive: FaultyArchive;
  /** Whole segments behind the backup, each with one row, the number of its place from 1 on; the last ones are of the second timeline. */
  readonly segments: readonly string[];
  readonly #template: string;
  readonly #primary: PostgresServer;
  #clones = 0;

  private constructor(
    primary: PostgresServer,
    made: { readonly archive: FaultyArchive; readonly segments: readonly string[]; readonly template: string },
  ) {
    this.#primary = primary;
    this.major = primary.major;
    this.archive = made.archive;
    this.segments = made.segments;
    this.#template = made.template;
  }

  /**
   * Two archives of one cluster: `repository` with two segments of the first timeline behind the backup and one of the second, and
   * `long`, with many of the second.
   */
  static async open(major: Major, options: { readonly long: boolean }): Promise<RecoveryScene> {
    const primary = await PostgresServer.start({ major, segmentMegabytes: 1 });
    const faulty = await FaultyArchive.open(primary, {
      buckets: ['repository', 'long'],
      idle: IDLE,
      // What was fetched before a fault does not meet it.
      config: { agent: { prefetch: '0B' } },
    });
    const { archive } = faulty;
    mkdirSync(join(archive.folder, 'compiled'));
    giveToServer(join(archive.folder, 'compiled'));
    const segments: string[] = [];
    const add = async (count: number): Promise<void> => {
      for (let left = count; left > 0; left--) {
        await primary.query(`INSERT INTO numbers VALUES (${segments.length + 1})`);
        segments.push(await archive.switchWal(primary));
      }
    };
    let receiver = await archive.receive(primary);
    await primary.query('CREATE TABLE numbers (n int)');
    await archive.backup();
    await add(2);
    await receiver.stop();
    await primary.stop();
    // A recovery that finds nothing ends at once, on the next timeline.
    writeFileSync(join(primary.data, 'recovery.signal'), '');
    giveToServer(join(primary.data, 'recovery.signal'));
    primary.configure({ restore_command: 'false' });
    await primary.start();
    await primary.recovered();
    receiver = await archive.receive(primary);
    await add(1);
    const template = join(archive.folder, 'template');
    await archive.run(['restore', '--no-sync', '--no-try-command', template]);
    const long = join(archive.folder, 'long');
    if (options.long) {
      execFileSync('cp', ['-a', archive.repository, join(archive.folder, 'kept')]);
      await add(LONG - 1);
    }
    await receiver.stop();
    await primary.stop();
    if (options.long) {
      rmSync(long, { recursive: true });
      execFileSync('cp', ['-a', archive.repository, long]);
      for (const entry of readdirSync(archive.repository)) rmSync(join(archive.repository, entry), { recursive: true });
      execFileSync('cp', ['-a', `${join(archive.folder, 'kept')}/.`, archive.repository]);
    }
    // Spool and slot would only be in the way: all there is lies in the archive.
    rmSync(join(archive.spool, 'main'), { recursive: true, force: true });
    return new RecoveryScene(primary, { archive: faulty, segments, template });
  }

  /** A restored cluster that has not run yet. */
  async clone(way: Way, options: { readonly standby?: boolean; readonly disk?: boolean } = {}): Promise<Clone> {
    const { standby = false, disk = false } = options;
    this.#clones += 1;
    return Clone.make({
      major: this.major,
      template: this.#template,
      folder: join(this.archive.archive.folder, `clone-${this.#clones}`),
      config: { from: this.archive.config('the command'), to: this.archive.config(way) },
      prefix: await this.archive.prefix(way),
      standby,
      ...(disk && { wal: emptyDisk().path }),
    });
  }

  async destroy(): Promise<void> {
    await this.archive.destroy();
    await this.#primary.destroy();
    if (typeof DISK !== 'string') DISK.unmount();
  }
}

function emptyDisk(): SmallDisk {
  if (typeof DISK === 'string') throw new Error(DISK);
  for (const entry of readdirSync(DISK.path)) rmSync(join(DISK.path, entry), { recursive: true });
  return DISK;
}
