import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { load } from '../pipeline/load.ts';
import { store, type StoredObject } from '../pipeline/store.ts';
import { sameBytes } from '../storage/same-bytes.ts';
import { parseBackupRecord, type BackupObject, type BackupRecord } from './backup-record.ts';
import { EXPIRED, Facts } from './facts.ts';
import { backupsPrefix, isBackupId, joinSuffixes, splitSuffixes } from './layout.ts';
import { childNames, putBytes, readSmall, signalOf } from './objects.ts';
import type { RepositoryContext } from './repository.ts';
import { sealed } from './seal.ts';

/** A backup as a listing finds it. What cannot be read is shown as such, never left out. */
export type BackupEntry =
  | { readonly id: string; readonly state: 'complete'; readonly record: BackupRecord }
  /** No `backup.json`: it runs still, or was interrupted. */
  | { readonly id: string; readonly state: 'incomplete' }
  /** Its removal has begun, by `pgark expire`: nothing may be made of what is still there. */
  | { readonly id: string; readonly state: 'expired' }
  | { readonly id: string; readonly state: 'unreadable'; readonly error: ArchiveError };

export interface StoreOptions extends CallOptions {
  /** Told of plain and stored bytes as they pass. */
  readonly onBytes?: (plain: number, stored: number) => void;
  /** Whether the plain bytes are hashed too, default true; see the pipeline's option of this name. */
  readonly plainHash?: boolean;
}

/** The base backups of one system identifier. */
export class BackupCatalog {
  readonly systemId: string;
  readonly #context: RepositoryContext;
  readonly #prefix: string;

  constructor(context: RepositoryContext, systemId: string) {
    this.#context = context;
    this.systemId = systemId;
    this.#prefix = backupsPrefix(context.cluster, systemId);
  }

  /** Every backup that has any object, by id, which is by time. */
  async list(options: CallOptions = {}): Promise<readonly BackupEntry[]> {
    const entries: BackupEntry[] = [];
    // First of all: what is marked behind this look is not removed before a lease that was there is seen.
    const expired = await this.#expired(options);
    for await (const id of childNames(this.#context.storage, this.#prefix, options)) {
      if (expired.has(id)) entries.push({ id, state: 'expired' });
      else if (isBackupId(id)) entries.push(await this.entry(id, options));
    }
    return entries;
  }

  async #expired(options: CallOptions): Promise<ReadonlySet<string>> {
    const expired = new Set<string>();
    for await (const { subject, kind } of new Facts(this.#context, this.systemId).names(options))
      if (kind === EXPIRED) expired.add(subject);
    return expired;
  }

  /** One backup by its record alone: whether its removal has begun is for the caller to know. Errors: those of the storage. */
  async entry(id: string, options: CallOptions = {}): Promise<Exclude<BackupEntry, { readonly state: 'expired' }>> {
    try {
      return { id, state: 'complete', record: await this.read(id, options) };
    } catch (error) {
      if (isArchiveError(error, 'BACKUP_NOT_FOUND')) return { id, state: 'incomplete' };
      // The object itself is at fault; a storage that could not answer is the caller's error, not an entry.
      if (isArchiveError(error, 'REPOSITORY_FORMAT')) return { id, state: 'unreadable', error };
      throw error;
    }
  }

  /** The record of a complete backup. Errors: `BACKUP_NOT_FOUND`, `REPOSITORY_FORMAT`, those of the storage. */
  async read(id: string, options: CallOptions = {}): Promise<BackupRecord> {
    if (!isBackupId(id)) throw new ArchiveError('BACKUP_NOT_FOUND', `not a backup id: "${id.slice(0, 100)}"`);
    const key = `${this.#prefix}${id}/backup.json`;
    let content: Uint8Array;
    try {
      content = await readSmall(this.#context.storage, key, options);
    } catch (error) {
      if (!isArchiveError(error, 'STORAGE_NOT_FOUND')) throw error;
      throw new ArchiveError('BACKUP_NOT_FOUND', `there is no complete backup ${id}`, { cause: error });
    }
    const record = parseBackupRecord(content, key);
    if (record.id !== id || record.systemId !== this.systemId) {
      throw new ArchiveError(
        'REPOSITORY_FORMAT',
        `${key} is the record of backup ${record.id} of system ${record.systemId}`,
      );
    }
    return record;
  }

  /** Stores one object of a backup; the suffixes of the codecs are added to `name`. */
  async putObject(
    id: string,
    name: string,
    source: AsyncIterable<Uint8Array>,
    options: StoreOptions = {},
  ): Promise<BackupObject> {
    const { storage, codecs, concurrency } = this.#context;
    const full = this.objectName(name);
    const stored: StoredObject = await store(storage, `${this.#prefix}${id}/${full}`, source, {
      ...options,
      codecs,
      concurrency,
      large: true,
    });
    const { key: _, ...facts } = stored;
    return { name: full, ...facts };
  }

  /** The names of what is stored of a backup, complete or not. */
  async objectNames(id: string, options: CallOptions = {}): Promise<ReadonlySet<string>> {
    return new Set((await this.objectSizes(id, options)).keys());
  }

  /** What is stored of a backup, complete or not: names, and bytes as stored. */
  async objectSizes(id: string, options: CallOptions = {}): Promise<ReadonlyMap<string, number>> {
    const sizes = new Map<string, number>();
    const folder = `${this.#prefix}${id}/`;
    for await (const { key, size } of this.#context.storage.list(folder, signalOf(options)))
      sizes.set(key.slice(folder.length), size);
    return sizes;
  }

  /** Every object of every backup, by id, which is by time, or of those after the one named. */
  async *objects(
    options: CallOptions & { readonly after?: string | undefined } = {},
  ): AsyncGenerator<{ readonly id: string; readonly name: string; readonly size: number }> {
    const { after } = options;
    const startAfter = after === undefined ? {} : { startAfter: `${this.#prefix}${after}/\u{10ffff}` };
    for await (const { key, size } of this.#context.storage.list(this.#prefix, {
      ...signalOf(options),
      ...startAfter,
    })) {
      const [, id = '', name = ''] = /^([^/]+)\/(.+)$/.exec(key.slice(this.#prefix.length)) ?? [];
      if (isBackupId(id)) yield { id, name, size };
    }
  }

  /** The key of an object of a backup, by its full name. */
  objectKey(id: string, full: string): string {
    return `${this.#prefix}${id}/${full}`;
  }

  /** The full name that {@link putObject} gives an object. */
  objectName(name: string): string {
    return name + joinSuffixes(this.#context.codecs.map((codec) => codec.suffix));
  }

  /**
   * Compares an object that is there already, under the name that {@link putObject} would give it, with the plain bytes that it should
   * hold. Gives what `putObject` would have given, or undefined when it holds other bytes. Errors: those of reading both.
   */
  async matchObject(
    id: string,
    name: string,
    source: AsyncIterable<Uint8Array>,
    options: CallOptions = {},
  ): Promise<BackupObject | undefined> {
    const { storage, codecs, concurrency } = this.#context;
    const full = this.objectName(name);
    let facts: Omit<BackupObject, 'name'> | undefined;
    const held = load(storage, `${this.#prefix}${id}/${full}`, {
      ...signalOf(options),
      codecs,
      concurrency,
      large: true,
      onEnd: (found) => (facts = found),
    });
    const same = await sameBytes(held, source);
    return same && facts !== undefined ? { name: full, ...facts } : undefined;
  }

  /** Makes the backup exist. Written last, when everything it names is stored and its WAL is archived. */
  async commit(record: BackupRecord, options: CallOptions = {}): Promise<void> {
    const key = `${this.#prefix}${record.id}/backup.json`;
    const content = sealed(record);
    parseBackupRecord(content, key); // what could not be read back must not be written
    await putBytes(this.#context.storage, key, content, options);
  }

  /** The plain bytes of one object of a backup, verified before the loop ends. */
  async *readObject(id: string, object: BackupObject, options: CallOptions = {}): AsyncGenerator<Uint8Array> {
    const codecs = await this.#context.codecsFor(splitObjectName(object.name).suffixes);
    const { storage, concurrency } = this.#context;
    yield* load(storage, `${this.#prefix}${id}/${object.name}`, {
      ...signalOf(options),
      codecs,
      concurrency,
      large: true,
      expect: object,
    });
  }
}

/** The name of an object in `backup.json` as the name that it was stored by and the suffixes of its codecs. */
export function splitObjectName(full: string): { readonly name: string; readonly suffixes: readonly string[] } {
  const [, name = full, suffixes = ''] = /^([^.]*(?:\.(?:tar|json)(?![^.]))?)(.*)$/.exec(full) ?? [];
  return { name, suffixes: splitSuffixes(suffixes) };
}
