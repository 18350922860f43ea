/**
 * An archive whose storage, credentials and keys can go wrong while PostgreSQL works with it: a folder, read as it lies there or through an
 * S3 gateway behind a proxy, with encrypted objects.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RunningAgent, SCRIPT } from './agent.ts';
import { ESCROW, OPERATIONS, writeIdentity } from './age.ts';
import { TestArchive } from './archive.ts';
import { giveToServer, type PostgresServer } from './postgres.ts';
import { Proxy } from './proxy.ts';
import { startVersity, versityMissing, type VersityServer } from './s3-server.ts';

/** How a command gets to the archive: by itself, or through the agent of its config, which a script may ask for it. */
export const WAYS = ['the command', 'the agent', 'the script'] as const;
export type Way = (typeof WAYS)[number];

/** What the config says at the moment. */
export interface Reading {
  readonly storage: 'fs' | 's3';
  /** Folder of the repository, which is a bucket too. */
  readonly bucket: string;
  readonly credentials: 'right' | 'wrong';
  /** `wrong`: the identity of another recipient, which opens nothing. `gone`: the file that says for whom to encrypt is not there. */
  readonly key: 'right' | 'wrong' | 'gone';
}

export interface FaultyArchiveOptions {
  /** Folders of repositories, below that of the archive; the first is the one that is written to at first. */
  readonly buckets: readonly [string, ...string[]];
  /** Where the folder of the first really is, when it is elsewhere. */
  readonly place?: string;
  /** Other sections of the config. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Milliseconds in which the S3 storage waits for a byte. */
  readonly idle: number;
}

interface ConfigFile {
  repositories: { storage: object; codecs: object[] }[];
  restore: { identities: object[] };
}

export class FaultyArchive {
  readonly archive: TestArchive;
  /** In front of the S3 gateway; undefined where there is none. */
  readonly proxy: Proxy | undefined;
  readonly #gateway: VersityServer | undefined;
  readonly #options: FaultyArchiveOptions;
  readonly #base: string;
  #reading: Reading;
  #agent: RunningAgent | undefined;

  private constructor(
    archive: TestArchive,
    options: FaultyArchiveOptions,
    s3: { readonly gateway: VersityServer; readonly proxy: Proxy } | undefined,
  ) {
    this.archive = archive;
    this.proxy = s3?.proxy;
    this.#gateway = s3?.gateway;
    this.#options = options;
    this.#base = readFileSync(archive.config, 'utf8');
    this.#reading = { storage: 'fs', bucket: options.buckets[0], credentials: 'right', key: 'right' };
    this.set({});
  }

  static async open(server: PostgresServer, options: FaultyArchiveOptions): Promise<FaultyArchive> {
    const archive = new TestArchive(server, {
      codecs: [
        { use: 'zstd', level: 1 },
        { use: 'age', recipients: [OPERATIONS.recipient] },
      ],
      config: { restore: { walRetry: '0s', identities: [{ file: 'age.key' }] }, ...options.config },
    });
    writeIdentity(archive.folder, OPERATIONS);
    mkdirSync(join(archive.folder, 'wrong'));
    giveToServer(join(archive.folder, 'wrong'));
    writeIdentity(join(archive.folder, 'wrong'), ESCROW);
    const [first, ...more] = options.buckets;
    for (const bucket of more) mkdirSync(join(archive.folder, bucket));
    if (options.place !== undefined) {
      rmSync(archive.repository, { recursive: true });
      mkdirSync(options.place, { recursive: true });
      symlinkSync(options.place, archive.repository);
    }
    for (const bucket of options.buckets) giveToServer(join(archive.folder, bucket));
    if (join(archive.folder, first) !== archive.repository) throw new Error(`the first bucket is not "repository"`);
    if (versityMissing !== undefined) return new FaultyArchive(archive, options, undefined);
    const linkedBuckets = Object.fromEntries(options.buckets.map((bucket) => [bucket, join(archive.folder, bucket)]));
    const gateway = await startVersity({ buckets: [], linkedBuckets });
    const proxy = await Proxy.listen({ port: gateway.port });
    return new FaultyArchive(archive, options, { gateway, proxy });
  }

  /** The config file for a way: no agent serves that of the command. */
  config(way: Way): string {
    return way === 'the command' ? this.archive.config : join(this.archive.folder, 'agent.json');
  }

  get bucket(): string {
    return join(this.archive.folder, this.#reading.bucket);
  }

  /** Changes what the config says, at once: nobody ever reads half of it. Gives what undoes the change. */
  set(change: Partial<Reading>): () => void {
    const before = this.#reading;
    this.#reading = { ...before, ...change };
    const { storage, credentials, key, bucket } = this.#reading;
    const content = JSON.parse(this.#base) as ConfigFile;
    const [repository] = content.repositories;
    if (repository === undefined) throw new Error('a test archive has a repository');
    repository.storage = storage === 'fs' ? { use: 'fs', path: this.bucket } : this.#s3(bucket, credentials);
    content.restore.identities = [{ file: key === 'wrong' ? 'wrong/age.key' : 'age.key' }];
    if (key === 'gone') repository.codecs = [{ use: 'age', recipientsFiles: ['gone'] }];
    for (const path of [this.config('the command'), this.config('the agent')]) {
      writeFileSync(`${path}.new`, JSON.stringify(content));
      giveToServer(`${path}.new`);
      renameSync(`${path}.new`, path);
    }
    return () => void this.set(before);
  }

  #s3(bucket: string, credentials: Reading['credentials']): object {
    if (this.#gateway === undefined || this.proxy === undefined) throw new Error(versityMissing);
    const { accessKeyId, secretAccessKey } = this.#gateway;
    return {
      use: 's3',
      bucket,
      endpoint: `http://127.0.0.1:${this.proxy.port}`,
      accessKeyId,
      secretAccessKey: credentials === 'right' ? secretAccessKey : 'not the secret',
      connectTimeout: '2s',
      idleTimeout: `${this.#options.idle}ms`,
    };
  }

  /** What the shell runs in front of a command, so that it goes this way. */
  async prefix(way: Way): Promise<string> {
    if (way === 'the command') return '';
    const { socket } = await this.agent();
    return way === 'the agent' ? '' : `PGARK_AGENT_SOCKET=${socket} ${SCRIPT} `;
  }

  /** The agent of the config, started at the first call, and again after {@link killAgent}. */
  async agent(): Promise<RunningAgent> {
    return (this.#agent ??= await RunningAgent.start({ config: this.config('the agent') }));
  }

  async killAgent(): Promise<void> {
    const agent = this.#agent;
    this.#agent = undefined;
    await agent?.destroy();
  }

  /** The stored object of a WAL file in the present bucket. */
  objectOf(name: string): string {
    const [system = ''] = readdirSync(join(this.bucket, 'main')).filter((entry) => /^\d+$/.test(entry));
    const timeline = join(this.bucket, 'main', system, 'wal', name.slice(0, 8));
    const folder = name.endsWith('.history') ? timeline : join(timeline, name.slice(8, 16));
    const object = readdirSync(folder).find((entry) => entry.startsWith(`${name}-`));
    if (object === undefined) throw new Error(`the archive has no ${name}`);
    return join(folder, object);
  }

  /** Takes the object of a WAL file out of the present bucket. Gives what puts it back. */
  lose(name: string): () => void {
    const object = this.objectOf(name);
    const aside = join(this.archive.folder, `lost.${name}`);
    renameSync(object, aside);
    return () => renameSync(aside, object);
  }

  async destroy(): Promise<void> {
    await this.killAgent();
    await this.proxy?.close();
    await this.#gateway?.stop();
    this.archive.destroy();
  }
}
