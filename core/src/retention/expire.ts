/** Plans what goes out of a repository, and carries the plan out. */
import { randomUUID } from 'node:crypto';
import { ArchiveError } from '../contracts/errors.ts';
import type { CallOptions, ObjectInfo } from '../contracts/storage.ts';
import { EXPIRED } from '../repository/facts.ts';
import { backupsPrefix } from '../repository/layout.ts';
import { signalOf } from '../repository/objects.ts';
import type { Repository } from '../repository/repository.ts';
import type { BackupDecision } from './decision.ts';
import { exclusively, type Exclusive } from './exclusive.ts';
import { removeOldRuns } from './old-runs.ts';
import { planBackups } from './plan.ts';
import type { RetentionPolicy } from './policy.ts';
import { Removal, type RemovalCount } from './removal.ts';
import type { BackupState, SystemState } from './state.ts';
import { survey, WHOLE_SYSTEM } from './survey.ts';
import { WalScope } from './wal-scope.ts';
import { fileOf, walStretches, type WalStretch } from './wal-stretches.ts';

export interface ExpireOptions extends CallOptions {
  /** Undefined: nothing is removed but what was named. */
  readonly policy: RetentionPolicy | undefined;
  /** Ids of backups and system identifiers that go whatever the rules say; not what is pinned, in use, or needed by an incremental one. */
  readonly remove?: readonly string[];
  /** Epoch milliseconds; default `Date.now`. */
  readonly now?: () => number;
}

/** What one repository keeps and loses. */
export interface ExpirePlan {
  readonly repository: string;
  readonly backups: readonly BackupDecision[];
  readonly wal: readonly WalStretch[];
  /** What the operator should know. */
  readonly notes: readonly string[];
}

export interface RunExpireOptions extends ExpireOptions {
  /** Told of the plan before anything is changed; what it throws ends the run. */
  readonly onPlan?: (plan: ExpirePlan) => Promise<void> | void;
  readonly onProgress?: (done: RemovalCount) => void;
  /** Told when the lease of the run could not be renewed. */
  readonly onFailure?: (error: unknown) => void;
}

export interface ExpireResult extends RemovalCount {
  readonly plan: ExpirePlan;
  /** Ids of the backups that are gone. */
  readonly removed: readonly string[];
  /** Ids of those that a later run removes, as the storage holds some of their objects under a lock. */
  readonly locked: readonly string[];
}

/** Says what would be removed. Nothing is written. Errors: those of the repository. */
export async function planExpire(repository: Repository, options: ExpireOptions): Promise<ExpirePlan> {
  await repository.open(signalOf(options));
  const { systems, backups } = await look(repository, options, (options.now ?? Date.now)());
  return describe(repository, systems, backups, options);
}

/**
 * Plans, and removes. What a run that was interrupted has begun is finished, whatever the policy says by now: a backup is marked first, then
 * loses its record, with which it is none any more, then the rest. What the storage holds under a lock is told and left to a later run.
 *
 * The order by which nothing is removed that somebody uses: a lease is taken, the plan made, the backups are marked, then the leases of others
 * are read, and only then is anything removed. Who restores takes a lease before he looks for marks.
 *
 * Errors: `RETENTION_BUSY`; what `onPlan` throws; those of the repository. Whatever fails is done by the next run.
 */
export async function runExpire(repository: Repository, options: RunExpireOptions): Promise<ExpireResult> {
  const { now = Date.now } = options;
  await repository.open(signalOf(options));
  const systemIds = await repository.systemIds(signalOf(options));
  return exclusively(repository, systemIds, { ...options, now, command: 'expire' }, (held) =>
    new Run(repository, options, held).run(),
  );
}

interface Looked {
  readonly systems: readonly SystemState[];
  readonly backups: readonly BackupDecision[];
}

async function look(repository: Repository, options: ExpireOptions, now: number): Promise<Looked> {
  const { policy, remove = [] } = options;
  const systems: SystemState[] = [];
  for (const systemId of await repository.systemIds(signalOf(options))) {
    const system = await survey(repository, systemId, { ...signalOf(options), now });
    systems.push(remove.includes(systemId) ? { ...system, retired: true } : system);
  }
  checkAsked(repository, systems, remove);
  return { systems, backups: planBackups({ systems, policy, now, asked: remove }) };
}

/** The whole of an archive is not given up by naming its only system. Errors: `USAGE`. */
function checkAsked(repository: Repository, systems: readonly SystemState[], asked: readonly string[]): void {
  const named = systems.filter(({ systemId }) => asked.includes(systemId));
  const isElsewhere = systems.some(
    ({ systemId, backups }) => !asked.includes(systemId) && backups.some(({ state }) => state === 'complete'),
  );
  if (named.length === 0 || isElsewhere) return;
  throw new ArchiveError(
    'USAGE',
    `no system but ${named.map(({ systemId }) => systemId).join(', ')} has a backup in repository ${repository.name}`,
    { hint: 'Name the backups that are to go, or remove the objects by the means of the storage.' },
  );
}

async function describe(
  repository: Repository,
  systems: readonly SystemState[],
  backups: readonly BackupDecision[],
  options: ExpireOptions,
): Promise<ExpirePlan> {
  const wal: WalStretch[] = [];
  const notes: string[] = [];
  for (const system of systems) {
    const scope = new WalScope({ system, decisions: decisionsOf(backups, system), policy: options.policy });
    wal.push(...(await walStretches(repository, system.systemId, scope, signalOf(options))));
    for (const { timeline } of system.wal)
      if (system.tree.line(timeline) === undefined)
        notes.push(
          `the history of timeline ${timeline} of system ${system.systemId} is not there or cannot be read: it may come from any backup on an older one`,
        );
  }
  return { repository: repository.name, backups, wal, notes };
}

function decisionsOf(decisions: readonly BackupDecision[], { systemId }: SystemState): readonly BackupDecision[] {
  return decisions.filter((decision) => decision.systemId === systemId);
}

class Run {
  readonly #repository: Repository;
  readonly #options: RunExpireOptions;
  readonly #call: CallOptions;
  readonly #held: Exclusive;
  readonly #removal: Removal;
  readonly #removed: string[] = [];
  readonly #locked = new Set<string>();
  /** Backups of which this run has removed the last object. */
  readonly #emptied = new Set<string>();

  constructor(repository: Repository, options: RunExpireOptions, held: Exclusive) {
    this.#repository = repository;
    this.#options = options;
    this.#call = signalOf(options);
    this.#held = held;
    const { onProgress } = options;
    this.#removal = new Removal(repository, {
      ...this.#call,
      check: () => held.check(),
      ...(onProgress === undefined ? {} : { onProgress }),
    });
  }

  async run(): Promise<ExpireResult> {
    const first = await this.#look();
    const plan = await describe(this.#repository, first.systems, first.backups, this.#options);
    await this.#options.onPlan?.(plan);
    await this.#mark(first);
    // From here on who wants one of them is seen, or sees the mark.
    const second = await this.#look();
    for (const system of second.systems) {
      await this.#withdraw(system, decisionsOf(second.backups, system));
      await this.#removeBackups(system, decisionsOf(second.backups, system));
    }
    const third = await this.#look();
    for (const system of third.systems) await this.#removeRest(system, decisionsOf(third.backups, system));
    return { plan, removed: this.#removed, locked: [...this.#locked], ...this.#removal.count };
  }

  #look(): Promise<Looked> {
    return look(this.#repository, this.#options, this.#held.now);
  }

  async #mark({ systems, backups }: Looked): Promise<void> {
    for (const system of systems) {
      const facts = this.#repository.facts(system.systemId);
      const add = async (subject: string, reason: string): Promise<void> => {
        this.#held.check();
        const data = { reason, run: randomUUID() };
        await facts.add(subject, { kind: EXPIRED, time: this.#held.now, data }, this.#call);
      };
      if (system.retired && this.#options.remove?.includes(system.systemId) === true) {
        const names = facts.names({ ...this.#call, subject: WHOLE_SYSTEM });
        let isMarked = false;
        for await (const { kind } of names) isMarked ||= kind === EXPIRED;
        if (!isMarked) await add(WHOLE_SYSTEM, 'it was named');
      }
      const own = decisionsOf(backups, system);
      for (const { id, state } of childrenFirst(system.backups)) {
        const decision = own.find((one) => one.id === id);
        if (decision?.action === 'remove' && state !== 'expired') await add(id, decision.reason);
      }
    }
  }

  /** What turned out to be in use, and is whole, is a backup again; what it builds on before. */
  async #withdraw(system: SystemState, decisions: readonly BackupDecision[]): Promise<void> {
    for (const { id, record, state } of childrenFirst(system.backups).toReversed()) {
      const isKept = decisions.some((decision) => decision.id === id && decision.action === 'keep');
      if (state !== 'expired' || record === undefined || !isKept) continue;
      await this.#removal.remove(await this.#factsOf(system, id, (kind) => kind === EXPIRED));
    }
  }

  /** Incremental ones before what they build on: at no moment is there a backup that lacks its parent. */
  async #removeBackups(system: SystemState, decisions: readonly BackupDecision[]): Promise<void> {
    const going = new Set(decisions.flatMap(({ id, action }) => (action === 'remove' ? [id] : [])));
    const backups = system.backups.filter(({ id, state }) => going.has(id) && state === 'expired');
    for (const backup of childrenFirst(backups)) {
      // One whose record is under a lock is a whole backup still, and needs its own.
      const isNeeded = [...this.#locked].some((id) => parentsOf(id, system).includes(backup.id));
      if (isNeeded || !(await this.#removeBackup(system.systemId, backup))) this.#locked.add(backup.id);
    }
  }

  /** Gives whether nothing of it is left. */
  async #removeBackup(systemId: string, { id }: BackupState): Promise<boolean> {
    const prefix = `${backupsPrefix(this.#repository.cluster, systemId)}${id}/`;
    const record = `${prefix}backup.json`;
    const objects: ObjectInfo[] = [];
    for await (const object of this.#repository.storage.list(prefix, this.#call)) objects.push(object);
    const locked = await this.#removal.remove(objects.filter(({ key }) => key === record));
    if (locked.size > 0) return false;
    const left = await this.#removal.remove(objects.filter(({ key }) => key !== record));
    if (left.size === 0 && objects.length > 0) this.#emptied.add(id);
    return left.size === 0;
  }

  /** WAL, then what was said of backups that are gone, and of runs long ago. */
  async #removeRest(system: SystemState, decisions: readonly BackupDecision[]): Promise<void> {
    const { systemId } = system;
    const scope = new WalScope({ system, decisions: decisions.map(asItIs(system)), policy: this.#options.policy });
    const archive = this.#repository.wal(systemId);
    const isLeft = await this.#removal.removeFrom(
      (after) => archive.everything({ ...this.#call, ...(after === undefined ? {} : { after }) }),
      // What has come since nobody has judged: it may be of a backup that began meanwhile.
      (entry) => entry.modified <= this.#held.now && !scope.judge(fileOf(entry)).keep,
    );
    for (const { id, state, objects } of system.backups) {
      if (state !== 'expired' || objects > 0) continue;
      // Of one whose mark alone is left, as it is under a lock, an earlier run has told.
      const isForgotten = await this.#forget(system, id);
      if (isForgotten || this.#emptied.has(id)) this.#removed.push(id);
    }
    const isGone = system.retired && !isLeft && system.backups.every(({ objects }) => objects === 0);
    const runs = { ...this.#call, now: this.#held.now, all: isGone, removal: this.#removal };
    await removeOldRuns(this.#repository.facts(systemId), runs);
    if (isGone) await this.#forget(system, WHOLE_SYSTEM);
  }

  /** The mark goes last: without it nobody would know what the rest was. Gives whether all of it is gone. */
  async #forget(system: SystemState, subject: string): Promise<boolean> {
    const rest = await this.#removal.remove(await this.#factsOf(system, subject, (kind) => kind !== EXPIRED));
    const marks = await this.#removal.remove(await this.#factsOf(system, subject, (kind) => kind === EXPIRED));
    return rest.size + marks.size === 0;
  }

  async #factsOf(
    { systemId }: SystemState,
    subject: string,
    wanted: (kind: string) => boolean,
  ): Promise<readonly Pick<ObjectInfo, 'key' | 'size'>[]> {
    const found: Pick<ObjectInfo, 'key' | 'size'>[] = [];
    for await (const { key, size, kind } of this.#repository.facts(systemId).names({ ...this.#call, subject }))
      if (wanted(kind)) found.push({ key, size });
    return found;
  }
}

/** A backup that is to go, but is still whole, needs its WAL until it is gone. */
function asItIs(system: SystemState): (decision: BackupDecision) => BackupDecision {
  return (decision) => {
    const backup = system.backups.find(({ id }) => id === decision.id);
    if (decision.action === 'keep' || backup?.record === undefined) return decision;
    const { id, systemId, state, label, stopTime, objects, bytes } = decision;
    const common = { id, systemId, state, label, stopTime, objects, bytes };
    return { ...common, action: 'keep', reasons: [{ rule: 'locked', text: 'it is still there' }] };
  };
}

/** The ids of all that a backup builds on. */
function parentsOf(id: string, { backups }: SystemState): readonly string[] {
  const parents: string[] = [];
  for (let at = backups.find((one) => one.id === id); ;) {
    const parent = at?.record?.parent;
    if (parent === undefined || parents.includes(parent)) return parents;
    parents.push(parent);
    at = backups.find((one) => one.id === parent);
  }
}

function childrenFirst(backups: readonly BackupState[]): readonly BackupState[] {
  const depth = (backup: BackupState, seen: readonly string[] = []): number => {
    const parent = backups.find(({ id }) => id === backup.record?.parent);
    return parent === undefined || seen.includes(parent.id) ? 0 : 1 + depth(parent, [...seen, parent.id]);
  };
  return backups.toSorted((one, other) => depth(other) - depth(one) || (one.id < other.id ? -1 : 1));
}
