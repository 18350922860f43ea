/** What a copy would do: reads only. */
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { historyName } from '../postgres/wal-file.ts';
import type { BackupRecord } from '../repository/backup-record.ts';
import { splitObjectName } from '../repository/backups.ts';
import { EXPIRED } from '../repository/facts.ts';
import type { Repository } from '../repository/repository.ts';
import type { WalObject } from '../repository/wal.ts';
import { failureOf, within, type CopyFailure } from './failures.ts';
import { checkNeeded, plainSizeOf } from './carry-wal.ts';
import { recordIn, selectBackups, type BackupChoice } from './select-backups.ts';
import { followingWal, neededWal, type FollowingWal, type WalScope } from './wal-scope.ts';
import { digestConflict, walPairs, type WalEntry, type WalSides, type WalStretch } from './wal-pairs.ts';

/**
 * Which WAL is carried: what the backups need to be consistent; beside that all that follows the oldest of them, so that the target can
 * restore to any moment to which the source can; or none, for backups whose WAL the target has already.
 */
export type CopyWal = 'needed' | 'following' | 'none';

export interface CopyOptions extends CallOptions {
  readonly source: Repository;
  readonly target: Repository;
  /** Default `all`. */
  readonly backups?: BackupChoice;
  /** Default `following`. */
  readonly wal?: CopyWal;
}

export interface PlannedBackup {
  readonly record: BackupRecord;
  /** `resume`: some of its objects are in the target already, and are compared; `present`: the target has it whole. */
  readonly state: 'copy' | 'resume' | 'present' | 'failed';
  /** Of its objects, those that are in the target already. */
  readonly held: number;
  /** Bytes to read, unpacked: those of the objects in the target too, as they are compared. 0 when it is not copied. */
  readonly plainBytes: number;
  /** Why it cannot be copied. */
  readonly error?: ArchiveError;
}

/** WAL files and slices. Sizes in bytes. */
export interface WalCount {
  /** Not in the target yet. */
  readonly missing: number;
  readonly plainBytes: number;
  /** As the source stores them. */
  readonly storedBytes: number;
  /** In the target already. */
  readonly present: number;
}

export interface CopyPlan {
  readonly source: string;
  readonly target: string;
  readonly wal: CopyWal;
  /** Oldest first. */
  readonly backups: readonly PlannedBackup[];
  readonly walCount: WalCount;
  /** By system identifier, with `wal: 'following'`. */
  readonly following: ReadonlyMap<string, FollowingWal>;
  /** Backups and timelines that cannot be copied. */
  readonly failures: readonly CopyFailure[];
  /** WAL files that follow and that the repositories hold with several contents. */
  readonly conflicts: readonly CopyFailure[];
  readonly notes: readonly string[];
}

/**
 * Compares the two repositories by their listings and records. What is wrong with one backup or WAL file is a failure in the plan.
 *
 * Errors: `USAGE` when source and target are one, `BACKUP_NOT_FOUND`, `REPOSITORY_NOT_FOUND` for the source, those of the storages.
 */
export async function planCopy(options: CopyOptions): Promise<CopyPlan> {
  const { source, target, wal = 'following', signal } = options;
  const call: CallOptions = signal === undefined ? {} : { signal };
  if (source === target) throw new ArchiveError('USAGE', `a copy from ${source.name} to itself was asked for`);
  const selected = await selectBackups(source, options.backups ?? 'all', call);
  await checkTarget(target, call);
  const counter = new WalCounter();
  const failures = [...selected.failures];
  const conflicts: CopyFailure[] = [];
  const notes: string[] = [];
  const backups: PlannedBackup[] = [];
  for (const record of selected.records) {
    const planned = await planBackup(record, { source, target, wal, call });
    backups.push(planned);
    if (planned.error !== undefined) failures.push({ subject: record.id, error: planned.error });
    if (wal === 'needed' && planned.scope !== undefined)
      await counter.count({ ...call, source, target, systemId: record.systemId }, planned.scope);
  }
  const following = new Map<string, FollowingWal>();
  for (const systemId of new Set(wal === 'following' ? selected.records.map((record) => record.systemId) : [])) {
    const records = selected.records.filter((record) => record.systemId === systemId);
    const scope = await within(source, () => followingWal(records, source.wal(systemId), call));
    following.set(systemId, scope);
    failures.push(...scope.failures);
    notes.push(...scope.notes);
    conflicts.push(...(await counter.count({ ...call, source, target, systemId }, scope)));
  }
  const names = { source: source.name, target: target.name };
  return { ...names, wal, backups, walCount: counter.total, following, failures, conflicts, notes };
}

/** A target that holds nothing of the cluster yet is a good one; one of another format is not. */
async function checkTarget(target: Repository, call: CallOptions): Promise<void> {
  try {
    await within(target, () => target.open(call));
  } catch (error) {
    if (!isArchiveError(error, 'REPOSITORY_NOT_FOUND')) throw error;
  }
}

async function planBackup(
  record: BackupRecord,
  {
    source,
    target,
    wal,
    call,
  }: Pick<Required<CopyOptions>, 'source' | 'target' | 'wal'> & { readonly call: CallOptions },
): Promise<PlannedBackup & { readonly scope?: WalScope }> {
  const { id, systemId } = record;
  try {
    const there = await recordIn(target, record, call);
    if (await isExpired(target, record, call))
      throw new ArchiveError('RETENTION_BUSY', `repository ${target.name} has not finished removing backup ${id}`, {
        hint: 'Let "pgark expire --confirm" finish there, then copy again, and pin it.',
      });
    if (there !== undefined) {
      checkSame(record, there, target);
      return { record, state: 'present', held: 0, plainBytes: 0 };
    }
    const scope = await within(source, () => neededWal(record, source.wal(systemId), call));
    await checkNeeded({ ...call, source, target, systemId }, scope, { id, carry: wal !== 'none' });
    const catalog = target.backups(systemId);
    const names = await within(target, () => catalog.objectNames(id, call));
    const objects = [...record.parts, record.manifest, record.fileList];
    const held = objects.filter(({ name }) => names.has(catalog.objectName(splitObjectName(name).name))).length;
    const plainBytes = objects.reduce((sum, { plainSize }) => sum + plainSize, 0);
    return { record, state: held === 0 ? 'copy' : 'resume', held, plainBytes, scope };
  } catch (error) {
    return { record, state: 'failed', held: 0, plainBytes: 0, error: failureOf(id, error).error };
  }
}

/** Whether the removal of a backup has begun. */
async function isExpired(target: Repository, { id, systemId }: BackupRecord, call: CallOptions): Promise<boolean> {
  return within(target, async () => {
    for await (const { kind } of target.facts(systemId).names({ ...call, subject: id }))
      if (kind === EXPIRED) return true;
    return false;
  });
}

/** What both repositories call by this id must be one backup. Errors: `STORAGE_EXISTS`. */
export function checkSame(record: BackupRecord, there: BackupRecord, target: Repository): void {
  if (facts(record) === facts(there)) return;
  throw new ArchiveError('STORAGE_EXISTS', `repository ${target.name} has another backup under the id ${record.id}`, {
    hint: 'Nothing was changed. Compare the two with "pgark show".',
    details: { id: record.id, repository: target.name },
  });
}

/** All of a record but how it is stored. */
function facts({ parts, manifest, fileList, ...record }: BackupRecord): string {
  const rest: Partial<BackupRecord> = { ...record, codecs: [] };
  const objects = [...parts, manifest, fileList].map(({ name, plainSize }) => [splitObjectName(name).name, plainSize]);
  return JSON.stringify([Object.entries(rest).sort(([one], [other]) => (one < other ? -1 : 1)), objects]);
}

/** Counts each WAL file once, also when two backups need it. */
class WalCounter {
  #missing = 0;
  #plainBytes = 0;
  #storedBytes = 0;
  #present = 0;
  /** The last segment that was counted, by system and timeline: backups come oldest first. */
  readonly #last = new Map<string, bigint>();
  readonly #histories = new Set<string>();

  get total(): WalCount {
    return {
      missing: this.#missing,
      plainBytes: this.#plainBytes,
      storedBytes: this.#storedBytes,
      present: this.#present,
    };
  }

  /** Gives the conflicts that it met. */
  async count(sides: WalSides, { histories, stretches }: WalScope): Promise<readonly CopyFailure[]> {
    const failures: CopyFailure[] = [];
    for (const timeline of histories) {
      const place = `${sides.systemId}/${historyName(timeline)}`;
      if (this.#histories.has(place)) continue;
      this.#histories.add(place);
      try {
        this.#add(...(await historyIn(sides, timeline)), undefined);
      } catch (error) {
        failures.push(failureOf(historyName(timeline), error));
      }
    }
    for (const stretch of stretches) {
      const place = `${sides.systemId}/${stretch.timeline}`;
      const counted = this.#last.get(place) ?? -1n;
      for await (const pair of walPairs(sides, stretch)) {
        if (pair.conflict !== undefined) failures.push({ subject: pair.name, error: pair.conflict });
        else if (pair.number > counted) this.#add(pair.source, pair.target, stretch);
        this.#last.set(place, pair.number > counted ? pair.number : counted);
      }
    }
    return failures;
  }

  #add(source: WalEntry | undefined, target: WalEntry | undefined, stretch: WalStretch | undefined): void {
    if (target !== undefined) this.#present++;
    if (target !== undefined || source === undefined) return;
    this.#missing++;
    this.#plainBytes += stretch === undefined ? source.size : plainSizeOf(source, stretch.segmentSize);
    this.#storedBytes += source.size;
  }
}

/** The history file of a timeline in source and target. Errors: `WAL_CONFLICT`, those of the storages. */
async function historyIn(
  { source, target, systemId, signal }: WalSides,
  timeline: number,
): Promise<readonly [source: WalObject | undefined, target: WalObject | undefined]> {
  const name = historyName(timeline);
  const find = (repository: Repository): Promise<WalObject | undefined> =>
    within(repository, () => repository.wal(systemId).find(name, signal === undefined ? {} : { signal }));
  const [theirs, ours] = [await find(source), await find(target)];
  const held = [
    ...(theirs === undefined ? [] : [{ repository: source.name, digest: theirs.digest }]),
    ...(ours === undefined ? [] : [{ repository: target.name, digest: ours.digest }]),
  ];
  const conflict = digestConflict(name, held);
  if (conflict !== undefined) throw conflict;
  return [theirs, ours];
}
