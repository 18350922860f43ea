/**
 * Leases: who uses what of a system at this moment, so that nobody removes it. A lease is an object that is written once, is renewed by a
 * later one, and ends by itself: who dies holds nothing for long.
 */
import * as z from 'zod';
import { isArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { leaseKey, leasesPrefix, parseLeaseKey } from './layout.ts';
import { NO_LOCK } from '../storage/lock.ts';
import { putBytes, readSmall, signalOf } from './objects.ts';
import type { RepositoryContext } from './repository.ts';

/** Milliseconds that a lease is good for, unless it is renewed. */
export const LEASE_TIME = 600_000;

/** Milliseconds for which an ended lease still counts: the clocks of two hosts differ. */
export const LEASE_MARGIN = 300_000;

/** WAL of a timeline and of all that descends from it, from an LSN on. */
export interface LeasedWal {
  readonly timeline: number;
  /** PostgreSQL's text. */
  readonly from: string;
}

/** What must stay. */
export interface LeaseScope {
  /** Ids; `all` for one that has not chosen yet. */
  readonly backups: 'all' | readonly string[];
  readonly wal: 'all' | readonly LeasedWal[];
}

/** Nothing must stay: for one that says only that it is at work. */
export const NO_SCOPE: LeaseScope = { backups: [], wal: [] };

/** The content of a lease. */
export interface LeaseContent extends LeaseScope {
  /** What runs: `restore`. */
  readonly command: string;
  readonly host: string;
  readonly pid: number;
  /** When it was written and when it ends by the clock of its host, ISO 8601. */
  readonly since: string;
  readonly until: string;
  /** It removes objects: one such at a time, and who brings older objects back waits for it. */
  readonly removes: boolean;
}

export interface FoundLease {
  readonly id: string;
  readonly key: string;
  /** When it ends by the clock of the storage, epoch milliseconds: that of its host may be wrong in either direction. */
  readonly until: number;
  /** Undefined for one that cannot be read: everything may be in its scope. */
  readonly content: LeaseContent | undefined;
}

const schema: z.ZodType<LeaseContent> = z.object({
  command: z.string(),
  host: z.string(),
  pid: z.int(),
  since: z.iso.datetime(),
  until: z.iso.datetime(),
  removes: z.boolean(),
  backups: z.union([z.literal('all'), z.array(z.string())]),
  wal: z.union([z.literal('all'), z.array(z.object({ timeline: z.int().positive(), from: z.string() }))]),
});

/** The leases on what belongs to one system identifier. */
export class Leases {
  readonly #context: RepositoryContext;
  readonly #prefix: string;

  constructor(context: RepositoryContext, systemId: string) {
    this.#context = context;
    this.#prefix = leasesPrefix(context.cluster, systemId);
  }

  /** Writes a lease, or renews the one of this id; gives its key and the storage's clock, epoch milliseconds. */
  async put(
    id: string,
    content: LeaseContent,
    options: CallOptions = {},
  ): Promise<{ readonly key: string; readonly storageTime: number }> {
    const { storage } = this.#context;
    const bytes = Buffer.from(`${JSON.stringify(content, undefined, 2)}\n`);
    for (let until = Date.parse(content.until); ; until++) {
      const key = this.#prefix + leaseKey(id, until);
      try {
        // It is removed at its end.
        await putBytes(storage, key, bytes, { ...signalOf(options), ...NO_LOCK });
      } catch (error) {
        // One that was written in the same millisecond.
        if (isArchiveError(error, 'STORAGE_EXISTS')) continue;
        throw error;
      }
      return { key, storageTime: (await storage.stat(key, signalOf(options))).modified };
    }
  }

  /** Every lease, also those that have ended; of one that was renewed each object. */
  async list(options: CallOptions = {}): Promise<readonly FoundLease[]> {
    const { storage } = this.#context;
    const found: FoundLease[] = [];
    for await (const { key, modified } of storage.list(this.#prefix, signalOf(options))) {
      const name = parseLeaseKey(key.slice(this.#prefix.length));
      if (name === undefined) continue;
      const content = await this.#read(key, options);
      if (content === 'gone') continue;
      const time = content === undefined ? LEASE_TIME : Date.parse(content.until) - Date.parse(content.since);
      found.push({ id: name.id, key, until: modified + time, content });
    }
    return found;
  }

  /** Those that hold at `now`, by the clock of the storage or an earlier one; of one that was renewed only the object that ends last. */
  async active(now: number, options: CallOptions = {}): Promise<readonly FoundLease[]> {
    const latest = new Map<string, FoundLease>();
    // In the order of their names: of two that the storage took in one second the one that was written later.
    for (const lease of await this.list(options))
      if (lease.until >= (latest.get(lease.id)?.until ?? -Infinity)) latest.set(lease.id, lease);
    return [...latest.values()].filter(({ until }) => until + LEASE_MARGIN > now);
  }

  async #read(key: string, options: CallOptions): Promise<LeaseContent | undefined | 'gone'> {
    let text: string;
    try {
      text = Buffer.from(await readSmall(this.#context.storage, key, options)).toString('utf8');
    } catch (error) {
      if (isArchiveError(error, 'STORAGE_NOT_FOUND')) return 'gone'; // its holder has ended since the listing
      throw error;
    }
    try {
      return schema.safeParse(JSON.parse(text)).data;
    } catch {
      return undefined; // told apart from an ended one: it holds all for its time
    }
  }
}

/** Who holds a lease, for people: `pgark restore on db1 (process 4711)`. */
export function describeLease({ content }: FoundLease): string {
  if (content === undefined) return 'a lease that cannot be read';
  return `pgark ${content.command} on ${content.host} (process ${content.pid})`;
}
