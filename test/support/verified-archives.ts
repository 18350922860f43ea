/** One cluster, archived by the command line into repositories with the codec chains that matter, at the same time. */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { OPERATIONS, writeIdentity } from './age.ts';
import { TestArchive } from './archive.ts';
import { giveToServer, PostgresServer, removeFolder, temporaryFolder } from './postgres.ts';

export const CHAINS = {
  plain: [],
  zstd: [{ use: 'zstd', level: 1 }],
  'zstd-age': [
    { use: 'zstd', level: 1 },
    { use: 'age', recipients: [OPERATIONS.recipient] },
  ],
} as const;

export type ChainName = keyof typeof CHAINS;

export const CHAIN_NAMES = Object.keys(CHAINS) as readonly ChainName[];

/** Two backups with a tablespace and many parts, WAL on two timelines, slices at the ends of both, and the server that it is of, stopped. */
export class VerifiedArchives {
  readonly folder: string;
  /** Oldest first. */
  readonly backups: readonly [string, string];
  readonly server: PostgresServer;
  readonly #identity: string;

  private constructor(facts: Pick<VerifiedArchives, 'folder' | 'backups' | 'server'> & { readonly identity: string }) {
    this.folder = facts.folder;
    this.backups = facts.backups;
    this.server = facts.server;
    this.#identity = facts.identity;
  }

  static async make(): Promise<VerifiedArchives> {
    const folder = temporaryFolder('verify');
    const settings = { autovacuum: 'off', wal_compression: 'off' };
    const server = await PostgresServer.start({ major: 18, segmentMegabytes: 1, settings });
    const repositories = CHAIN_NAMES.map((name) => {
      const path = join(folder, name);
      mkdirSync(path);
      giveToServer(path);
      return { name, storage: { use: 'fs', path }, codecs: CHAINS[name] };
    });
    const archive = new TestArchive(server, {
      config: { repositories, backup: { partSize: '1MiB', label: 'to be verified' } },
      receive: { tail: '1s' },
    });
    const made = new VerifiedArchives({
      folder,
      backups: ['', ''],
      server,
      identity: writeIdentity(folder, OPERATIONS),
    });
    try {
      const place = join(folder, 'tablespace');
      mkdirSync(place);
      giveToServer(place);
      await server.query(`CREATE TABLESPACE beside LOCATION '${place}'`);
      await server.query(
        'CREATE TABLE apart TABLESPACE beside AS SELECT n, md5(n::text) AS m FROM generate_series(1, 3000) n',
      );
      await server.query('CREATE TABLE rows AS SELECT n, md5(n::text) AS m FROM generate_series(1, 3000) n');
      const receiver = await archive.receive(server);
      const first = await archive.backup();
      // Over several segments, so that records go on from one to the next.
      await server.query('INSERT INTO rows SELECT n, md5(n::text) FROM generate_series(3001, 30000) n');
      const second = await archive.backup();
      await server.query('INSERT INTO rows SELECT n, md5(n::text) FROM generate_series(30001, 50000) n');
      await made.#everywhere('slices', await sliced(server));
      // A cluster that waits for nobody is promoted, and so has a history.
      await server.stop();
      writeFileSync(join(server.data, 'standby.signal'), '');
      giveToServer(join(server.data, 'standby.signal'));
      await server.start();
      await server.query('SELECT pg_promote()');
      await server.recovered();
      await made.#everywhere('the history', (key) => key.includes('/00000002.history-'));
      await server.query('INSERT INTO rows SELECT n, md5(n::text) FROM generate_series(50001, 70000) n');
      const last = await server.value('SELECT pg_walfile_name(pg_switch_wal())');
      await made.#everywhere(last, (key) => key.includes(`/${last}-`));
      await server.query('INSERT INTO rows VALUES (70001, md5(70001::text))');
      await made.#everywhere('slices', await sliced(server));
      const code = await receiver.stop();
      if (code !== 0) throw new Error(`pgark receive ended with ${String(code)}:\n${receiver.output}`);
      await server.stop();
      return new VerifiedArchives({
        folder,
        backups: [first.id, second.id],
        server,
        identity: made.#identity,
      });
    } catch (error) {
      await made.destroy();
      throw error;
    } finally {
      archive.destroy();
    }
  }

  /** Writes a config of these repositories; gives its path. Folders may be others than those of the archives. */
  config(
    name: string,
    repositories: readonly { readonly name: ChainName; readonly path?: string; readonly as?: string }[],
  ): string {
    const path = join(this.folder, `${name}.json`);
    const content = {
      cluster: 'main',
      repositories: repositories.map((one) => ({
        name: one.as ?? one.name,
        storage: { use: 'fs', path: one.path ?? join(this.folder, one.name) },
        codecs: CHAINS[one.name],
      })),
      restore: { identities: [{ file: this.#identity }], concurrency: 2 },
    };
    writeFileSync(path, JSON.stringify(content));
    giveToServer(path);
    return path;
  }

  async #everywhere(what: string, isIt: (key: string) => boolean): Promise<void> {
    const lacks = (name: string): boolean => !treeOf(join(this.folder, name)).some(isIt);
    for (const deadline = Date.now() + 60_000; CHAIN_NAMES.some(lacks); await sleep(50))
      if (Date.now() > deadline) throw new Error(`${what} is not in ${CHAIN_NAMES.filter(lacks).join(', ')}`);
  }

  async destroy(): Promise<void> {
    await this.server.destroy();
    removeFolder(this.folder);
  }
}

/** Tells the slice that has all that the server has written by now. */
async function sliced(server: PostgresServer): Promise<(key: string) => boolean> {
  const end = 'SELECT file_name, file_offset FROM pg_walfile_name_offset(pg_current_wal_flush_lsn())';
  const [row] = await server.query<{ file_name: string; file_offset: number }>(end);
  return (key) => {
    const to = /\.tail\/[0-9A-F]{8}-([0-9A-F]{8})-/.exec(key)?.[1];
    const isOf = row !== undefined && key.includes(`/${row.file_name}.tail/`);
    return isOf && to !== undefined && Number.parseInt(to, 16) >= row.file_offset;
  };
}

/** Paths of the files below a folder, relative to it, sorted. */
export function treeOf(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}
