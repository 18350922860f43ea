/** A receiver inside the test's process: real server, real spool, a folder as storage, and everything it reports. */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FsStorage } from '@pgark/storage-fs';
import type { ReceiveConfig } from '../../core/src/config/config.ts';
import type { ArchiveEvents, EventName } from '../../core/src/contracts/hook.ts';
import type { Storage } from '../../core/src/contracts/storage.ts';
import { resolveTarget } from '../../core/src/postgres/target.ts';
import { receive, type ReceiveOptions, type ReceiveResult } from '../../core/src/receive/receive.ts';
import { Repository } from '../../core/src/repository/repository.ts';
import { silentLogger } from './silent-logger.ts';
import { removeFolder, temporaryFolder, type PostgresServer } from './postgres.ts';

export interface SeenEvent {
  readonly name: EventName;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface ReceivingOptions {
  readonly config?: Partial<ReceiveConfig>;
  /** Wraps the storage, to make it fail. */
  readonly storage?: (storage: Storage) => Storage;
  readonly receive?: Partial<ReceiveOptions>;
}

/** One spool and one repository, over any number of runs of the receiver. */
export class Receiving {
  readonly folder: string = temporaryFolder('receiving');
  readonly spool: string = join(this.folder, 'spool');
  readonly events: SeenEvent[] = [];
  readonly logs: string[] = [];
  readonly #options: ReceivingOptions;
  #abort = new AbortController();
  #running: Promise<ReceiveResult> | undefined;

  constructor(options: ReceivingOptions = {}) {
    this.#options = options;
    mkdirSync(join(this.folder, 'repository'));
  }

  get repository(): Repository {
    const storage = new FsStorage(
      { path: join(this.folder, 'repository') },
      { logger: silentLogger, directory: this.folder },
    );
    return new Repository({
      cluster: 'main',
      storage: this.#options.storage?.(storage) ?? storage,
      codecs: [],
      codecFor: async (suffix) => Promise.reject(new Error(`no codec ${suffix}`)),
    });
  }

  /** Starts a run against a port of this machine. */
  async start(port: number, more: Partial<ReceiveOptions> & { readonly url?: string } = {}): Promise<void> {
    this.#abort = new AbortController();
    const { url = `postgres://postgres@127.0.0.1:${port}/`, ...rest } = more;
    const config: ReceiveConfig = {
      slot: 'pgark',
      spool: this.spool,
      ack: 'local',
      statusInterval: 10_000,
      createSlot: true,
      onGap: 'continue',
      shipConcurrency: 2,
      ...this.#options.config,
    };
    const log =
      (level: string) =>
      (_: unknown, message: string): void => {
        this.logs.push(`${level}: ${message}`);
      };
    this.#running = receive({
      cluster: 'main',
      target: await resolveTarget({ url }, { env: {}, home: '/nonexistent', applicationName: config.slot }),
      repositories: [this.repository],
      config,
      retry: { first: 20, most: 200 },
      logger: { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') },
      signal: this.#abort.signal,
      onEvent: (name, data) => {
        this.events.push({ name, data: { ...data } });
      },
      ...this.#options.receive,
      ...rest,
    });
    this.#running.catch(() => undefined); // looked at by `ended`
  }

  /** Starts a run and waits until it streams. */
  async stream(port: number, more: Partial<ReceiveOptions> & { readonly url?: string } = {}): Promise<void> {
    const before = this.events.length;
    await this.start(port, more);
    await this.waitFor('wal.state', ({ state }) => state === 'streaming', before);
  }

  /** The result of the present run, or its error. */
  get ended(): Promise<ReceiveResult> {
    return this.#running ?? Promise.reject(new Error('the receiver was not started'));
  }

  /** The code of the error with which the present run ends. */
  async failure(): Promise<{ readonly code: string; readonly message: string; readonly exitCode: number }> {
    try {
      await this.ended;
    } catch (error) {
      return error as { code: string; message: string; exitCode: number };
    }
    throw new Error('the receiver ended without an error');
  }

  async stop(): Promise<ReceiveResult> {
    this.#abort.abort();
    return this.ended;
  }

  /** Waits for an event, by default one that came at any time. */
  async waitFor<Name extends EventName>(
    name: Name,
    matches: (data: ArchiveEvents[Name]) => boolean = () => true,
    after = 0,
    seconds = 30,
  ): Promise<ArchiveEvents[Name]> {
    for (const deadline = Date.now() + seconds * 1000; ; await sleep(10)) {
      const found = this.events
        .slice(after)
        .find((event) => event.name === name && matches(event.data as unknown as ArchiveEvents[Name]));
      if (found !== undefined) return found.data as unknown as ArchiveEvents[Name];
      if (Date.now() > deadline) throw new Error(`no event ${name}:\n${this.report()}`);
    }
  }

  /** The states that were entered, in order. */
  get states(): readonly string[] {
    return this.events.filter(({ name }) => name === 'wal.state').map(({ data }) => String(data['state']));
  }

  report(): string {
    return [...this.logs, ...this.events.map(({ name, data }) => `${name} ${JSON.stringify(data)}`)].join('\n');
  }

  /** Name and SHA-256 of every WAL file in the repository. */
  archived(systemId: string): Promise<ReadonlyMap<string, string>> {
    return repositoryHashes(join(this.folder, 'repository'), systemId);
  }

  /** Name and SHA-256 of every WAL file in the spool. */
  spooled(systemId: string): ReadonlyMap<string, string> {
    return hashes(join(this.spool, 'main', systemId));
  }

  /** Waits until nothing but the open segment is in the spool. */
  async shipped(systemId: string): Promise<void> {
    const folder = join(this.spool, 'main', systemId);
    for (const deadline = Date.now() + 30_000; ; await sleep(20)) {
      if (readdirSync(folder).filter((name) => !name.endsWith('.partial')).length === 0) return;
      if (Date.now() > deadline) throw new Error(`not shipped: ${readdirSync(folder).join(' ')}\n${this.report()}`);
    }
  }

  async destroy(): Promise<void> {
    this.#abort.abort();
    await this.#running?.catch(() => undefined); // a test that failed has said why
    removeFolder(this.folder);
  }
}

function folderStorage(path: string): FsStorage {
  return new FsStorage({ path }, { logger: silentLogger, directory: path });
}

/** Name and SHA-256 of every WAL file that a repository without codecs holds in a folder. */
export async function repositoryHashes(folder: string, systemId: string): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  const storage = folderStorage(folder);
  for await (const { key } of storage.list(`main/${systemId}/wal/`)) {
    if (key.includes('.tail/')) continue;
    const hash = createHash('sha256');
    for await (const chunk of storage.get(key)) hash.update(chunk);
    found.set(key.slice(key.lastIndexOf('/') + 1).replace(/-[0-9a-f]{32}$/, ''), hash.digest('hex'));
  }
  return found;
}

/** A storage with another `put`. */
export function withPut(storage: Storage, put: Storage['put']): Storage {
  return {
    capabilities: storage.capabilities,
    put,
    get: (key, options) => storage.get(key, options),
    stat: (key, options) => storage.stat(key, options),
    list: (prefix, options) => storage.list(prefix, options),
    remove: (keys, options) => storage.remove(keys, options),
    close: () => storage.close(),
  };
}

/** Name and SHA-256 of the files in a folder whose names match. */
export function hashes(folder: string, names: RegExp = /./): ReadonlyMap<string, string> {
  return new Map(
    readdirSync(folder)
      .filter((name) => names.test(name))
      .sort()
      .map((name) => [
        name,
        createHash('sha256')
          .update(readFileSync(join(folder, name)))
          .digest('hex'),
      ]),
  );
}

/** Waits until the standby of this name has flushed all that the server has. */
export async function flushedAll(server: PostgresServer, name = 'pgark'): Promise<void> {
  for (const deadline = Date.now() + 30_000; ; await sleep(20)) {
    const done = await server.value(
      `SELECT count(*) FROM pg_stat_replication WHERE application_name = '${name}' AND flush_lsn >= pg_current_wal_flush_lsn()`,
    );
    if (done !== '0') return;
    if (Date.now() > deadline) throw new Error(`${name} has not flushed all`);
  }
}
