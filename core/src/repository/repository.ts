import { randomUUID } from 'node:crypto';
import { isArchiveError, ArchiveError } from '../contracts/errors.ts';
import type { Codec } from '../contracts/codec.ts';
import type { CallOptions, Storage } from '../contracts/storage.ts';
import { BackupCatalog } from './backups.ts';
import { CommitTimes } from './commit-times.ts';
import { Facts } from './facts.ts';
import { checkCluster, FORMAT, isSystemId, markerKey } from './layout.ts';
import { Leases } from './lease.ts';
import { childNames, putBytes, readSmall } from './objects.ts';
import { sealed } from './seal.ts';
import { WalArchive } from './wal.ts';

export interface RepositoryOptions {
  /** The cluster's name, the first part of every key. */
  readonly cluster: string;
  /** The repository's name in the config, for messages. Default `primary`. */
  readonly name?: string;
  readonly storage: Storage;
  /** Applied in this order to what is written from now on. */
  readonly codecs: readonly Codec[];
  /** Gives the codec of a suffix in an object's name, whatever the config says today; `CODEC_UNKNOWN` if none does. */
  readonly codecFor: (suffix: string) => Promise<Codec>;
  /** Blocks that a codec may work on at once. Default 2. */
  readonly concurrency?: number;
  /** Milliseconds for which the storage locks each new object, for those who extend locks; the storage sees to it by itself. */
  readonly lock?: number;
}

/** What a repository's parts share. */
export interface RepositoryContext extends Required<Omit<RepositoryOptions, 'lock'>> {
  /** Codecs for the suffixes of a name, in order of application. */
  codecsFor(suffixes: readonly string[]): Promise<readonly Codec[]>;
}

/** The archive of one cluster in one storage. State is what a listing says; nothing is kept here. */
export class Repository {
  readonly #context: RepositoryContext;
  /** Milliseconds for which new objects are locked; undefined: they are not. */
  readonly lock: number | undefined;

  constructor({ lock, ...options }: RepositoryOptions) {
    this.lock = lock;
    this.#context = {
      name: 'primary',
      concurrency: 2,
      ...options,
      cluster: checkCluster(options.cluster),
      codecsFor: (suffixes) => Promise.all(suffixes.map((suffix) => options.codecFor(suffix))),
    };
  }

  get cluster(): string {
    return this.#context.cluster;
  }

  get name(): string {
    return this.#context.name;
  }

  get storage(): Storage {
    return this.#context.storage;
  }

  get codecs(): readonly Codec[] {
    return this.#context.codecs;
  }

  /** The codec that reads objects of this suffix. Errors: `CODEC_UNKNOWN`, and what keeps it from being made. */
  codecFor(suffix: string): Promise<Codec> {
    return this.#context.codecFor(suffix);
  }

  /**
   * Checks the format marker, or writes it with `create`, and gives the repository's own id, made up when it was created:
   * who remembers it notices that another storage answers, such as the empty folder below a disk that is not mounted.
   *
   * Errors: `REPOSITORY_NOT_FOUND` without a marker, `REPOSITORY_FORMAT` for one of another format or cluster,
   * and those of the storage.
   */
  async open(options: CallOptions & { readonly create?: boolean } = {}): Promise<{ readonly id: string }> {
    const key = markerKey(this.cluster);
    const marker = await this.#readMarker(key, options);
    if (marker !== undefined) return checkMarker(marker, key, this.cluster);
    if (options.create !== true) {
      throw new ArchiveError('REPOSITORY_NOT_FOUND', `repository ${this.name} has no cluster "${this.cluster}"`);
    }
    const id = randomUUID();
    const content = { format: FORMAT, cluster: this.cluster, id, created: new Date().toISOString() };
    try {
      await putBytes(this.storage, key, sealed(content), options);
      return { id };
    } catch (error) {
      // Another process created it in the meantime: its marker must hold as ours would.
      if (!isArchiveError(error, 'STORAGE_EXISTS')) throw error;
      return this.open({ ...options, create: false });
    }
  }

  async #readMarker(key: string, options: CallOptions): Promise<Uint8Array | undefined> {
    try {
      return await readSmall(this.storage, key, options);
    } catch (error) {
      if (isArchiveError(error, 'STORAGE_NOT_FOUND')) return undefined;
      throw error;
    }
  }

  /** The system identifiers that the archive of this cluster holds, in no order that means anything. */
  async systemIds(options: CallOptions = {}): Promise<readonly string[]> {
    const found: string[] = [];
    for await (const name of childNames(this.storage, `${this.cluster}/`, options))
      if (isSystemId(name)) found.push(name);
    return found;
  }

  wal(systemId: string): WalArchive {
    return new WalArchive(this.#context, checkSystemId(systemId));
  }

  backups(systemId: string): BackupCatalog {
    return new BackupCatalog(this.#context, checkSystemId(systemId));
  }

  facts(systemId: string): Facts {
    return new Facts(this.#context, checkSystemId(systemId));
  }

  times(systemId: string): CommitTimes {
    return new CommitTimes(this.#context, checkSystemId(systemId));
  }

  leases(systemId: string): Leases {
    return new Leases(this.#context, checkSystemId(systemId));
  }

  async close(): Promise<void> {
    await this.storage.close();
  }
}

function checkSystemId(systemId: string): string {
  if (!isSystemId(systemId)) throw new ArchiveError('INTERNAL', `not a system identifier: "${systemId}"`);
  return systemId;
}

function checkMarker(bytes: Uint8Array, key: string, cluster: string): { readonly id: string } {
  let marker: { readonly format?: unknown; readonly cluster?: unknown; readonly id?: unknown };
  try {
    marker = JSON.parse(Buffer.from(bytes).toString('utf8')) as typeof marker;
  } catch (error) {
    throw new ArchiveError('REPOSITORY_FORMAT', `${key} is not a format marker`, { cause: error });
  }
  const { format, id } = marker;
  if (format === FORMAT && marker.cluster === cluster && typeof id === 'string') return { id };
  const wanted = `format ${FORMAT} of cluster "${cluster}" with an id`;
  const found = `format ${String(format)} of cluster "${String(marker.cluster)}" ${id === undefined ? 'without an id' : 'with an id'}`;
  throw new ArchiveError('REPOSITORY_FORMAT', `${key} says ${found}, wanted ${wanted}`);
}
