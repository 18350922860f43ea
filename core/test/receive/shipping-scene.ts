/** A spool with made up segments, and repositories in memory that can be made to fail. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MemoryStorage } from '@pgark/storage-memory';
import { silentLogger } from '../../../test/support/silent-logger.ts';
import { ArchiveError, type ErrorCode } from '../../src/contracts/errors.ts';
import type { EventSink } from '../../src/contracts/hook.ts';
import type { Logger } from '../../src/contracts/plugin.ts';
import type { Storage } from '../../src/contracts/storage.ts';
import { segmentName } from '../../src/postgres/wal-file.ts';
import { ConfirmedFiles } from '../../src/receive/confirmed-files.ts';
import { KnownRepositories } from '../../src/receive/known-repositories.ts';
import { Outlet } from '../../src/receive/outlet.ts';
import { Shipper, type ShipperOptions } from '../../src/receive/shipper.ts';
import { Spool } from '../../src/receive/spool.ts';
import { Repository } from '../../src/repository/repository.ts';

export const SIZE = 1024 * 1024;
export const SYSTEM = '7710525273155636154';

export interface SeenEvent {
  readonly name: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** A storage in memory that fails every call while it is down, and remembers what it was asked. */
export class Faulty {
  readonly storage: Storage;
  readonly repository: Repository;
  /** The code with which every call fails; undefined when it works. */
  down: ErrorCode | undefined;
  /** Calls that wait until {@link hung} is false. */
  hung = false;
  calls = 0;
  /** Keys that were put, in order. */
  readonly stored: string[] = [];
  /** Prefixes that were listed, in order. */
  readonly listed: string[] = [];
  /** `put`s under way, and the most there were at once. */
  underWay = 0;
  most = 0;

  constructor(name: string, memory = new MemoryStorage()) {
    const { listed } = this;
    const call = async (): Promise<void> => {
      this.calls += 1;
      while (this.hung) await sleep(2);
      if (this.down !== undefined) throw new ArchiveError(this.down, `${name} is down`);
    };
    this.storage = {
      capabilities: memory.capabilities,
      put: async (key, body, options) => {
        this.underWay += 1;
        this.most = Math.max(this.most, this.underWay);
        try {
          await call();
          await memory.put(key, body, options);
          this.stored.push(key);
        } finally {
          this.underWay -= 1;
        }
      },
      get: async function* (key, options) {
        await call();
        yield* memory.get(key, options);
      },
      stat: async (key, options) => {
        await call();
        return memory.stat(key, options);
      },
      list: async function* (prefix, options) {
        listed.push(prefix);
        await call();
        yield* memory.list(prefix, options);
      },
      remove: async (keys, options) => {
        await call();
        return memory.remove(keys, options);
      },
      close: () => memory.close(),
    };
    this.repository = repositoryOf(name, this.storage);
  }

  /** The names of the WAL files that were put, in order. */
  get files(): readonly string[] {
    return this.stored.flatMap((key) => /([0-9A-F]{24}|[0-9A-F]{8}\.history)-[0-9a-f]{32}/.exec(key)?.[1] ?? []);
  }
}

export function repositoryOf(name: string, storage: Storage): Repository {
  return new Repository({
    cluster: 'main',
    name,
    storage,
    codecs: [],
    codecFor: async (suffix) => Promise.reject(new Error(suffix)),
  });
}

export class Scene {
  readonly root: string = mkdtempSync(join(tmpdir(), 'pgark-shipping-'));
  readonly spool: Spool = new Spool(this.root, 'main');
  readonly events: SeenEvent[] = [];
  readonly logs: string[] = [];

  constructor() {
    this.spool.create(SYSTEM);
  }

  readonly onEvent: EventSink = (name, data) => {
    this.events.push({ name, data: { ...data } });
  };

  readonly logger: Logger = {
    ...silentLogger,
    info: (_, message) => this.logs.push(`info: ${message}`),
    warn: (_, message) => this.logs.push(`warn: ${message}`),
    error: (_, message) => this.logs.push(`error: ${message}`),
  };

  /** The outlets of one run. */
  outlets<const Repositories extends readonly Repository[]>(
    ...repositories: Repositories
  ): { readonly [At in keyof Repositories]: Outlet } {
    const known = new KnownRepositories(this.spool.folder);
    return repositories.map(
      (repository) =>
        new Outlet({
          repository,
          known,
          onEvent: this.onEvent,
          logger: this.logger,
          retry: { first: 1, most: 10 },
        }),
    ) as unknown as { readonly [At in keyof Repositories]: Outlet };
  }

  shipper(outlets: readonly Outlet[], options: Partial<ShipperOptions> = {}): Shipper {
    return new Shipper({
      spool: this.spool,
      systemId: SYSTEM,
      outlets,
      confirmed: new ConfirmedFiles(this.spool, this.logger),
      concurrency: 2,
      onEvent: this.onEvent,
      logger: this.logger,
      ...options,
    });
  }

  /** Puts a segment into the spool and gives its name. */
  put(number: number, timeline = 1, content: Buffer = segment(timeline, number)): string {
    const name = segmentName(timeline, BigInt(number), SIZE);
    writeFileSync(this.spool.path(SYSTEM, name), content);
    return name;
  }

  get spooled(): readonly string[] {
    return readdirSync(this.spool.folderOf(SYSTEM)).sort();
  }

  named(name: string): readonly SeenEvent[] {
    return this.events.filter((event) => event.name === name);
  }

  destroy(): void {
    rmSync(this.root, { recursive: true });
  }
}

export interface HeaderChanges {
  readonly timeline?: number;
  readonly address?: bigint;
  readonly systemId?: bigint;
  readonly segmentSize?: number;
}

/** A segment with a header that fits its name, unless changed. */
export function segment(timeline: number, number: number, changes: HeaderChanges = {}): Buffer {
  const bytes = Buffer.alloc(SIZE);
  bytes.writeUInt16LE(0xd118, 0);
  bytes.writeUInt16LE(2, 2);
  bytes.writeUInt32LE(changes.timeline ?? timeline, 4);
  bytes.writeBigUInt64LE(changes.address ?? BigInt(number * SIZE), 8);
  bytes.writeBigUInt64LE(changes.systemId ?? BigInt(SYSTEM), 24);
  bytes.writeUInt32LE(changes.segmentSize ?? SIZE, 32);
  bytes.writeUInt32LE(8192, 36);
  return bytes;
}

/** Waits for a state; fails when it is not reached within half a minute. */
export async function until(reached: () => boolean, what: () => string): Promise<void> {
  for (const deadline = Date.now() + 20_000; !reached(); await sleep(2)) {
    if (Date.now() > deadline) throw new Error(`not reached: ${what()}`);
  }
}
