/** Two repositories of one cluster, each of which lacks something or holds it damaged, and one beside them that has all. */
import { spawnSync } from 'node:child_process';
import { cpSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { takeBackup } from '../../core/src/backup/backup.ts';
import { resolveTarget } from '../../core/src/postgres/target.ts';
import { serverUser } from './binaries.ts';
import { runCli, type CliOptions, type CliResult } from './cli.ts';
import { fsRepository } from './fs-repository.ts';
import { PostgresServer, removeFolder, temporaryFolder } from './postgres.ts';
import { KEEP_WAL, shipWal, Shipper, systemIdOf } from './ship-wal.ts';
import { silentLogger } from './silent-logger.ts';

/** The repositories `a` and `b` of the config, in folders of these names, and `whole`. */
export class DamagedPair {
  readonly folder: string;
  readonly config: string;
  readonly systemId: string;
  /** The backup, which both have; a part of it in a is damaged. */
  readonly backup: string;
  /** Segments by where they are: only in a, only in b, or in both with the one in a damaged. */
  readonly segments: { readonly a: string; readonly b: string; readonly damaged: string };
  /** The segment that comes next, and that no repository has. */
  readonly following: string;
  readonly #cleanup: (() => unknown)[] = [];

  private constructor(
    facts: Pick<DamagedPair, 'folder' | 'config' | 'systemId' | 'backup' | 'segments' | 'following'>,
  ) {
    this.folder = facts.folder;
    this.config = facts.config;
    this.systemId = facts.systemId;
    this.backup = facts.backup;
    this.segments = facts.segments;
    this.following = facts.following;
  }

  static async make(): Promise<DamagedPair> {
    const server = await PostgresServer.start({ major: 18, segmentMegabytes: 1, settings: KEEP_WAL });
    const folder = temporaryFolder('repositories');
    const config = join(folder, 'pgark.json');
    const places = ['a', 'b'].map((name) => ({
      name,
      storage: { use: 'fs', path: join(folder, name) },
      codecs: name === 'a' ? [{ use: 'zstd', level: 1 }] : [],
    }));
    const content = { cluster: 'main', postgres: { url: server.url() }, repositories: places };
    writeFileSync(config, JSON.stringify({ ...content, receive: { spool: join(folder, 'spool') } }));

    const [a, b, all] = await Promise.all([
      fsRepository(join(folder, 'a'), { name: 'a' }),
      fsRepository(join(folder, 'b'), { name: 'b', compressed: false }),
      fsRepository(join(folder, 'all')),
    ]);
    const systemId = await systemIdOf(server);
    await server.query(`CREATE TABLE big AS SELECT n, repeat(md5(n::text), 20) AS m FROM generate_series(1, 10000) n`);
    await server.query('CREATE TABLE numbers (n int)');
    const shippers = [a, b].map((repository) => new Shipper(server, repository));
    const target = await resolveTarget({ url: server.url() }, { env: {}, home: '/' });
    const result = await takeBackup({
      target,
      repositories: [a, b],
      checkpoint: 'fast',
      logger: silentLogger,
      partSize: 1 << 20,
    });
    await Promise.all(shippers.map((shipper) => shipper.stop()));
    for (const repository of [a, b, all]) await shipWal(server, repository);
    const segments = { a: '', b: '', damaged: '' };
    let number = 0;
    for (const [where, repositories] of [
      ['a', [a]],
      ['b', [b]],
      ['damaged', [a, b]],
    ] as const) {
      await server.query('INSERT INTO numbers VALUES ($1)', [++number]);
      await server.query('SELECT pg_switch_wal()');
      const names = await shipWal(server, all);
      const [name] = names;
      if (name === undefined) throw new Error('no segment was completed');
      segments[where] = name;
      for (const repository of repositories)
        for (const name of names)
          await repository.wal(systemId).push(name, { path: join(server.data, 'pg_wal', name) });
    }
    // All that there is, in one place.
    cpSync(join(folder, 'b'), join(folder, 'whole'), { recursive: true });
    const whole = await fsRepository(join(folder, 'whole'), { name: 'whole', compressed: false });
    await whole.wal(systemId).push(segments.a, { path: join(server.data, 'pg_wal', segments.a) });
    const following = await server.value('SELECT pg_walfile_name(pg_current_wal_insert_lsn())');
    await server.destroy();

    damage(only(join(folder, 'a', 'main', systemId, 'wal'), segments.damaged));
    damage(only(join(folder, 'a', 'main', systemId, 'backups'), '0002.tar'));
    // Written here, read by the server.
    const user = serverUser();
    if (user !== undefined) spawnSync('chown', ['-R', `${user.uid}:${user.gid}`, folder]);
    return new DamagedPair({ folder, config, systemId, backup: result.record.id, segments, following });
  }

  /** Takes a repository away until the end of the test. */
  away(name: 'a' | 'b'): void {
    renameSync(join(this.folder, name), join(this.folder, `${name}.away`));
    this.onTestEnd(() => renameSync(join(this.folder, `${name}.away`), join(this.folder, name)));
  }

  /** Runs the command line with the config, as the user of the server. */
  pgark(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
    return runCli(['--config', this.config, ...args], { ...serverUser(), ...options });
  }

  /** A path that is removed at the end of the test. */
  newFolder(name: string): string {
    const path = join(this.folder, name);
    this.onTestEnd(() => rmSync(path, { recursive: true, force: true }));
    return path;
  }

  onTestEnd(undo: () => unknown): void {
    this.#cleanup.push(undo);
  }

  async endTest(): Promise<void> {
    for (const undo of this.#cleanup.splice(0).toReversed()) await undo();
  }

  destroy(): void {
    removeFolder(this.folder);
  }
}

/** The only file below a folder whose name begins with this. */
function only(below: string, name: string): string {
  const found = readdirSync(below, { recursive: true, encoding: 'utf8' }).filter((path) =>
    (path.split('/').at(-1) ?? '').startsWith(name),
  );
  if (found.length !== 1) throw new Error(`${found.length} files in ${below} begin with ${name}`);
  return join(below, found[0] ?? '');
}

function damage(path: string): void {
  const bytes = readFileSync(path);
  const at = Math.floor(bytes.byteLength / 2);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(path, bytes);
}
