/** Which keys the objects of a repository were written for, and which of them open here. */
import type { ArchiveError } from '../contracts/errors.ts';
import { isArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import type { BackupObject, BackupRecord } from '../repository/backup-record.ts';
import { splitObjectName, type BackupCatalog } from '../repository/backups.ts';
import type { Repository } from '../repository/repository.ts';
import type { WalObject, WalSlice } from '../repository/wal.ts';
import { EvenSample, lookBetween } from './even-sample.ts';
import {
  goneFrom,
  inspectObject,
  withReason,
  type InspectedObject,
  type KeyLayer,
  type ObjectKeys,
} from './inspect-object.ts';

/** What an object is. A `label` is the `.backup` file of a base backup, a `slice` a piece of a segment that was still being written. */
export type ObjectKind = 'backup' | 'incomplete' | 'segment' | 'partial' | 'label' | 'history' | 'slice';

/** Objects of one kind and codec chain that were written for the same keys. */
export interface KeyRow {
  readonly systemId: string;
  readonly kind: ObjectKind;
  /** Absent for backups. */
  readonly timeline?: number;
  /** Of the codecs, in order of application; absent where a record cannot be read. */
  readonly suffixes?: readonly string[];
  /** Keys and recipients that `backup.json` names. */
  readonly recorded?: readonly string[];
  /** What the headers say. */
  readonly layers: readonly KeyLayer[];
  readonly readable: boolean | undefined;
  /** Why not, of the first such object, where it is not for want of a key alone. */
  readonly problem?: ArchiveError;
  /** What the codec says of it, of the first such object, where it is for want of a key. */
  readonly closed?: ArchiveError;
  /** Objects whose names or headers say what this row says. */
  readonly lookedAt: number;
  /** Objects of this kind, timeline and chain, those of other rows among them. */
  readonly of: number;
  /** Names of the first and the last that were looked at: ids of backups, names of WAL files. */
  readonly first: string;
  readonly last: string;
}

export interface KeySurvey {
  readonly rows: readonly KeyRow[];
  /** All objects of backups and WAL, and those that were looked at. */
  readonly objects: number;
  readonly lookedAt: number;
}

export interface SurveyOptions extends CallOptions {
  /** Look at every object. Default: some, see {@link surveyKeys}. */
  readonly all?: boolean;
  /** Called after each object that was looked at. */
  readonly onLook?: () => void;
}

/** Headers that are read at once. */
const AT_ONCE = 16;

/**
 * Looks at every backup's record and at the header of its smallest object (of one for each chain), and at WAL of each kind, timeline and
 * chain: the first, the last, some between, and those between two that differ. What lies between two that agree is not looked at, nor are
 * the other objects of a backup. No content is read; of an object whose codecs have no keys it is only seen that it is there.
 *
 * Errors: those of the storage, `REPOSITORY_NOT_FOUND`, `REPOSITORY_FORMAT` of the repository, `ABORTED`.
 */
export async function surveyKeys(repository: Repository, options: SurveyOptions = {}): Promise<KeySurvey> {
  const call: CallOptions = options.signal === undefined ? {} : { signal: options.signal };
  await repository.open(call);
  const survey = new Survey(repository, options, call);
  for (const systemId of await repository.systemIds(call)) {
    await survey.backups(systemId);
    await survey.wal(systemId);
  }
  return survey.result();
}

type Group = Pick<KeyRow, 'systemId' | 'kind' | 'timeline' | 'suffixes'>;

interface Found extends InspectedObject {
  readonly name: string;
}

interface Grouped {
  readonly found: Found;
  readonly group: Group;
  readonly recorded?: readonly string[];
}

interface Row extends Group {
  readonly recorded?: readonly string[];
  readonly seen: ObjectKeys;
  first: string;
  last: string;
  count: number;
}

class Survey {
  readonly #repository: Repository;
  readonly #all: boolean;
  readonly #call: CallOptions;
  readonly #rows = new Map<string, Row>();
  readonly #onLook: () => void;
  #lookedAt = 0;
  readonly #totals = new Map<string, number>();

  constructor(repository: Repository, { all = false, onLook }: SurveyOptions, call: CallOptions) {
    this.#repository = repository;
    this.#all = all;
    this.#onLook = onLook ?? ((): void => undefined);
    this.#call = call;
  }

  async backups(systemId: string): Promise<void> {
    const catalog = this.#repository.backups(systemId);
    for (const entry of await catalog.list(this.#call)) {
      const { id, state } = entry;
      if (state === 'complete') await this.#backup(catalog, entry.record);
      // Of one that is being removed nobody opens anything.
      else if (state === 'incomplete') await this.#incomplete(catalog, id);
      else if (state === 'unreadable') {
        const group: Group = { systemId, kind: 'backup' };
        this.#count(group, 1);
        const found: Found = { key: catalog.objectKey(id, 'backup.json'), suffixes: [], name: id };
        await this.#note(group, found, { layers: [], readable: undefined, problem: entry.error });
      }
    }
  }

  async #backup(catalog: BackupCatalog, record: BackupRecord): Promise<void> {
    const { id, systemId, parts, manifest, fileList } = record;
    const recorded = [...new Set(record.codecs.flatMap(({ keyIds }) => keyIds))];
    const chains = byChain([manifest, fileList, ...parts], ({ name }) => name);
    for (const [chain, objects] of chains) {
      const suffixes = suffixesOf(chain);
      const group: Group = { systemId, kind: 'backup', suffixes };
      this.#count(group, objects.length);
      const found = (this.#all ? objects : [smallest(objects)]).map(({ name, storedSize }): Found => {
        return { key: catalog.objectKey(id, name), size: storedSize, suffixes, name: id };
      });
      await this.#each(found.map((one) => ({ found: one, group, recorded })));
    }
  }

  /** One that runs still, or was interrupted: what of it is stored by now. */
  async #incomplete(catalog: BackupCatalog, id: string): Promise<void> {
    const names = [...(await catalog.objectNames(id, this.#call))].filter((name) => OF_BACKUP.test(name));
    for (const [chain, same] of byChain(names, (name) => name)) {
      const suffixes = suffixesOf(chain);
      const group: Group = { systemId: catalog.systemId, kind: 'incomplete', suffixes };
      this.#count(group, same.length);
      const found = (this.#all ? same : same.slice(-1)).map((name): Found => {
        return { key: catalog.objectKey(id, name), suffixes, name: id };
      });
      await this.#each(found.map((one) => ({ found: one, group })));
    }
  }

  async wal(systemId: string): Promise<void> {
    const samples = new Map<string, { readonly group: Group; readonly sample: EvenSample<Found> }>();
    const waiting: Grouped[] = [];
    for await (const entry of this.#repository.wal(systemId).everything(this.#call)) {
      const group = groupOf(systemId, entry);
      const found = foundOf(entry, group);
      this.#count(group, 1);
      if (this.#all) {
        waiting.push({ found, group });
        if (waiting.length >= AT_ONCE) await this.#each(waiting.splice(0));
        continue;
      }
      const key = groupKey(group);
      const known = samples.get(key) ?? { group, sample: new EvenSample<Found>() };
      samples.set(key, known);
      known.sample.add(found);
    }
    await this.#each(waiting);
    for (const { group, sample } of samples.values()) {
      const items = sample.items();
      const seen = await lookBetween(items, (found) => this.#look(found), sameKeys);
      for (const [at, keys] of [...seen].sort(([one], [other]) => one - other))
        if (keys !== undefined) await this.#note(group, items[at] as Found, keys);
    }
  }

  async #each(objects: readonly Grouped[]): Promise<void> {
    for (let from = 0; from < objects.length; from += AT_ONCE) {
      const some = objects.slice(from, from + AT_ONCE);
      const seen = await Promise.all(some.map(async (one) => ({ ...one, keys: await this.#look(one.found) })));
      for (const { found, group, keys, recorded } of seen)
        if (keys !== undefined) await this.#note(group, found, keys, recorded);
    }
  }

  /** Undefined when the object is gone since it was listed: retention may be at work. */
  async #look(found: Found): Promise<ObjectKeys | undefined> {
    try {
      return await inspectObject(this.#repository, found, this.#call);
    } catch (error) {
      if (!isArchiveError(error, 'STORAGE_NOT_FOUND')) throw error;
      return (await this.#isNamed(found.key)) ? goneFrom(error) : undefined;
    }
  }

  /** Whether the object belongs to a backup whose record is there: then it must be there too. */
  async #isNamed(key: string): Promise<boolean> {
    const folder = /^(.*\/backups\/[^/]+\/)/.exec(key)?.[1];
    if (folder === undefined) return false;
    try {
      await this.#repository.storage.stat(`${folder}backup.json`, this.#call);
      return true;
    } catch (error) {
      if (isArchiveError(error, 'STORAGE_NOT_FOUND')) return false;
      throw error;
    }
  }

  #count(group: Group, objects: number): void {
    const key = groupKey(group);
    this.#totals.set(key, (this.#totals.get(key) ?? 0) + objects);
  }

  async #note(group: Group, found: Found, keys: ObjectKeys, recorded?: readonly string[]): Promise<void> {
    this.#lookedAt++;
    this.#onLook();
    const { name } = found;
    const key = `${groupKey(group)} ${signature(keys)} ${recorded?.join(' ') ?? ''}`;
    const row = this.#rows.get(key);
    if (row !== undefined) {
      row.last = name;
      row.count++;
      return;
    }
    const seen = await withReason(this.#repository, found, keys, this.#call);
    this.#rows.set(key, { ...group, ...(recorded && { recorded }), seen, first: name, last: name, count: 1 });
  }

  result(): KeySurvey {
    const rows = [...this.#rows.values()].map(({ seen, count, ...row }): KeyRow => {
      return { ...row, ...seen, lookedAt: count, of: this.#totals.get(groupKey(row)) ?? count };
    });
    return {
      rows,
      objects: [...this.#totals.values()].reduce((sum, count) => sum + count, 0),
      lookedAt: this.#lookedAt,
    };
  }
}

/** Names that an interrupted backup may have left; others are not pgark's. */
const OF_BACKUP = /^(?:(?:base|[1-9][0-9]*)\/[0-9]+\.tar|backup_manifest|files\.json)(?:\.[a-z0-9]{1,16})*$/;

const chainOf = (name: string): string => splitObjectName(name).suffixes.join('.');
const suffixesOf = (chain: string): readonly string[] => (chain === '' ? [] : chain.split('.'));

function byChain<Item>(items: readonly Item[], nameOf: (item: Item) => string): ReadonlyMap<string, Item[]> {
  const chains = new Map<string, Item[]>();
  for (const item of items) {
    const chain = chainOf(nameOf(item));
    chains.set(chain, [...(chains.get(chain) ?? []), item]);
  }
  return chains;
}

function smallest(objects: readonly BackupObject[]): BackupObject {
  return objects.reduce((least, other) => (other.storedSize < least.storedSize ? other : least));
}

function groupOf(systemId: string, entry: WalObject | WalSlice): Group {
  if ('segment' in entry) return { systemId, kind: 'slice', timeline: entry.segment.timeline, suffixes: entry.codecs };
  const { kind, timeline } = entry.file;
  return { systemId, kind: kind === 'backup' ? 'label' : kind, timeline, suffixes: entry.codecs };
}

function foundOf(entry: WalObject | WalSlice, { suffixes = [] }: Group): Found {
  const { name } = 'segment' in entry ? entry.segment : entry.file;
  return { key: entry.key, size: entry.size, suffixes, name };
}

function groupKey({ systemId, timeline = 0, kind, suffixes = ['?'] }: Group): string {
  return `${systemId} ${timeline} ${kind} ${suffixes.join('.')}`;
}

function sameKeys(one: ObjectKeys | undefined, other: ObjectKeys | undefined): boolean {
  return one === undefined || other === undefined ? one === other : signature(one) === signature(other);
}

function signature({ layers, readable, problem }: ObjectKeys): string {
  const keys = layers.map(({ suffix, keyIds, unknown, readable: opens }) => [
    suffix,
    [...keyIds].sort(),
    unknown,
    opens,
  ]);
  return JSON.stringify([keys, readable ?? 'unknown', problem?.code]);
}
