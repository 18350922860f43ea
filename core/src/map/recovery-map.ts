/**
 * The recoverability map: which positions and moments the archive can be restored to, where it cannot, and why. Drawn from what the storages
 * hold, by the rules of the plan.
 */
import { isArchiveError, throwIfAborted } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { parseLsn } from '../postgres/lsn.ts';
import { parseWalFileName, segmentNumberOf } from '../postgres/wal-file.ts';
import { answersOf } from '../repository/all-answers.ts';
import type { Fact } from '../repository/facts.ts';
import { holdsNumber, mergeInventories, type WalInventory } from '../repository/inventory.ts';
import type { RepositoryFailure } from '../repository/repository-failure.ts';
import type { Repository } from '../repository/repository.ts';
import { gapsAmong, type RecordedGap } from '../repository/wal-gaps.ts';
import { walReader } from '../repository/wal-union.ts';
import { damagedObjects, lackedByAll } from '../restore/lacking-objects.ts';
import { readLineage, type Lineage } from '../restore/lineage.ts';
import { promotionProblem } from '../restore/promotion.ts';
import { damagedWal, lastVerify, unnamedDamage, type LastVerify } from '../restore/verify-findings.ts';
import { isFaultOfWal } from '../restore/wal-pieces.ts';
import { findConflicts, withConflicts, type FoundConflicts, type Holding } from './conflicts.ts';
import { EndReader, type RecordedTime } from './ends.ts';
import type { MapBackup } from './map-backups.ts';
import type { RepositoryState } from './repository-state.ts';
import { holdsWal, runsOf, type DamagedSegments } from './runs.ts';
import { windowsOf, type MapWindow } from './windows.ts';

/** Whether a backup can be restored by itself. */
export type BackupVerdict =
  | { readonly state: 'restorable' }
  /** The server found damaged pages: it is restored only when it is named. */
  | { readonly state: 'suspect'; readonly problem: string }
  /** Objects are missing, or were found damaged. */
  | { readonly state: 'damaged'; readonly problem: string }
  /** The WAL that makes it consistent is not there. */
  | { readonly state: 'no-wal'; readonly problem: string };

export interface MappedBackup {
  readonly backup: MapBackup;
  readonly verdict: BackupVerdict;
  /** The repositories that have it. */
  readonly repositories: readonly string[];
  /** The newest verification of it, of any of its copies. */
  readonly verified: LastVerify | undefined;
}

/** One timeline and what leads to it. */
export interface MappedLine {
  readonly timeline: number;
  /** Why backups cannot be followed along it; undefined when they can. */
  readonly problem: string | undefined;
  /** Its history is not archived, so that backups of earlier timelines do not lead to it. */
  readonly historyMissing: boolean;
  /** Ascending; what lies between two of them cannot be restored. */
  readonly windows: readonly MapWindow[];
}

/** One system identifier in all repositories that were read. */
export interface SystemMap {
  readonly systemId: string;
  /** Bytes. */
  readonly segmentSize: number;
  /** Whole segments. */
  readonly segments: number;
  readonly wal: WalInventory;
  /** The timeline that a restore follows when none is named. */
  readonly latest: number;
  readonly lines: readonly MappedLine[];
  readonly backups: readonly MappedBackup[];
  /** Backups that are not complete or cannot be read, and why. */
  readonly others: readonly { readonly id: string; readonly repository: string; readonly problem: string }[];
  /** What two repositories hold with different contents. */
  readonly differences: FoundConflicts;
  /** Gaps on record that no repository has filled. */
  readonly gaps: readonly (RecordedGap & { readonly repository: string })[];
  /** The newest verification of the WAL, of any repository. */
  readonly walVerified: LastVerify | undefined;
  /** Objects of the WAL that were found damaged, and of which no record says which they are: windows may end before them. */
  readonly unnamedDamage: number;
  /** Keys of facts that are not as they were written. */
  readonly unreadFacts: readonly string[];
  /** Results of drills, newest first. */
  readonly drills: readonly Fact[];
}

/** What the map was drawn from. */
export interface RecoveryMap {
  readonly systems: readonly SystemMap[];
  readonly repositories: readonly {
    readonly name: string;
    readonly state: RepositoryState;
    readonly repository: Repository;
  }[];
  /** Repositories that could not be read: what only they hold is unknown. */
  readonly failures: readonly RepositoryFailure[];
}

export interface MapOptions extends CallOptions {
  /** Gives the listing of a repository, fresh or remembered. */
  readonly list: (repository: Repository) => Promise<RepositoryState>;
  /** Only this system. */
  readonly systemId?: string | undefined;
}

/** Draws the map. A repository that fails is left out and told. Errors: `ABORTED`. */
export async function drawMap(
  repositories: readonly [Repository, ...Repository[]],
  { list, systemId, signal }: MapOptions,
): Promise<RecoveryMap> {
  const call = signal === undefined ? {} : { signal };
  const { answers, failures } = await answersOf(repositories, list, call);
  const read = answers.map(({ member, value }) => ({ name: member.name, state: value, repository: member }));
  const ids = [...new Set(read.flatMap(({ state }) => state.systems.map((system) => system.systemId)))]
    .filter((id) => systemId === undefined || id === systemId)
    .sort();
  const systems: SystemMap[] = [];
  for (const id of ids) {
    const [first, ...more] = read.flatMap(({ repository, state }) =>
      state.systems.flatMap((system) => (system.systemId === id ? [{ repository, system }] : [])),
    );
    if (first !== undefined) systems.push(await drawSystem([first, ...more], call));
  }
  return { systems, repositories: read, failures };
}

async function drawSystem(held: readonly [Holding, ...Holding[]], call: CallOptions): Promise<SystemMap> {
  const [{ repository, system }, ...others] = held;
  const { systemId } = system;
  const archive = walReader([repository, ...others.map((one) => one.repository)], systemId);
  const differences = await findConflicts(held, call);
  const merged = mergeInventories([system.wal, ...others.map((one) => one.system.wal)]);
  const wal = withConflicts(merged, differences.conflicts);
  const damaged = damagedSegments(held, wal.segmentSize);
  const found = backupsOf(held);
  const usable = found.filter(({ verdict }) => verdict.state === 'restorable').map(({ backup }) => backup);
  const reader = new EndReader(archive, { ...call, recordedTime: recordedTimeOf(held, call) });
  const lines: MappedLine[] = [];
  const consistent = new Set<string>();
  const problems = new Map<string, string>();
  const timelines = new Set([
    ...wal.timelines.map(({ timeline }) => timeline),
    ...found.map(({ backup }) => backup.stopTimeline),
  ]);
  const lineages = new Map<number, Lineage>();
  for (const timeline of [...timelines].sort((one, other) => one - other)) {
    try {
      const lineage = await readLineage(archive, timeline, call);
      lineages.set(timeline, lineage);
      const { historyMissing } = lineage;
      const all = runsOf(
        lineage,
        found.map(({ backup }) => backup),
        { wal, damaged },
      );
      for (const run of all) {
        if (run.consistent) consistent.add(run.backup.id);
        else problems.set(run.backup.id, `the WAL that makes it consistent is not all there: ${run.end.kind}`);
      }
      const blocked = await promotionProblem(archive, timeline, call);
      const runs = blocked === undefined ? all.filter(({ backup }) => usable.includes(backup)) : [];
      lines.push({ timeline, problem: blocked?.message, historyMissing, windows: await windowsOf(runs, reader) });
    } catch (error) {
      throwIfAborted(call.signal, 'drawing the map');
      if (!isArchiveError(error)) throw error;
      const missing = !isFaultOfWal(error);
      const problem = missing
        ? `its history could not be read: ${error.message}`
        : `its history cannot be used: ${error.message}`;
      lines.push({ timeline, problem, historyMissing: false, windows: [] });
    }
  }
  const facts = held.flatMap((one) => one.system.facts);
  return {
    systemId,
    segmentSize: wal.segmentSize,
    segments: wal.segments,
    wal,
    latest: latestLine(wal, found, lineages),
    lines,
    backups: found.map((one) => withWal(one, consistent, problems)),
    others: held.flatMap((one) =>
      one.system.backups.flatMap((entry) => {
        if (entry.state === 'complete') return [];
        const problem =
          entry.state === 'incomplete' ? 'not complete: it runs still, or was interrupted' : entry.message;
        return [{ id: entry.id, repository: one.repository.name, problem }];
      }),
    ),
    differences,
    gaps: held.flatMap((one) => openGapsOf(one, wal)),
    walVerified: lastVerify(facts.filter(({ subject }) => subject === 'wal').map(({ fact }) => fact)),
    unnamedDamage: unnamedOf(held),
    unreadFacts: held.flatMap((one) => one.system.unread.map(({ key }) => key)),
    drills: facts
      .map(({ fact }) => fact)
      .filter(({ kind }) => kind === 'drill')
      .sort((one, other) => other.time - one.time),
  };
}

/** What the commit times of any repository say. One that cannot tell leaves it unknown. */
function recordedTimeOf(held: readonly Holding[], call: CallOptions): RecordedTime {
  return async ({ timeline, number }, segmentSize) => {
    const range = { first: number > LOOK_BACK ? number - LOOK_BACK : 0n, last: number, segmentSize };
    const all = await Promise.allSettled(
      held.map(({ repository, system }) => repository.times(system.systemId).between(timeline, range, call)),
    );
    const last = all
      .flatMap((result) => (result.status === 'fulfilled' ? [...result.value.values()] : []))
      .reduce((latest, one) => Math.max(latest, one.last ?? 0), 0);
    return last === 0 ? undefined : BigInt(last);
  };
}

/** Segments before the end of a run in which a transaction is looked for, when the WAL itself cannot be read. */
const LOOK_BACK = 64n;

function withWal(
  one: MappedBackup,
  consistent: ReadonlySet<string>,
  problems: ReadonlyMap<string, string>,
): MappedBackup {
  const { id } = one.backup;
  if (one.verdict.state !== 'restorable' || consistent.has(id)) return one;
  const problem = problems.get(id) ?? 'no timeline in the archive leads on from it';
  return { ...one, verdict: { state: 'no-wal', problem } };
}

/** The complete backups, oldest stop first; one that several repositories hold is one. */
function backupsOf(held: readonly Holding[]): readonly MappedBackup[] {
  const copies = new Map<
    string,
    { readonly repository: string; readonly backup: MapBackup; readonly facts: Fact[] }[]
  >();
  for (const { repository, system } of held) {
    for (const entry of system.backups) {
      if (entry.state !== 'complete') continue;
      const { id, backup } = entry;
      const facts = system.facts.filter(({ subject }) => subject === id).map(({ fact }) => fact);
      copies.set(id, [...(copies.get(id) ?? []), { repository: repository.name, backup, facts }]);
    }
  }
  return [...copies.values()]
    .flatMap((all) => {
      const [first] = all;
      if (first === undefined) return [];
      const { backup } = first;
      const lacking = lackedByAll(
        all.map((copy) => [...copy.backup.lacking, ...damagedObjects(backup.id, copy.facts)]),
      );
      return [
        {
          backup,
          verdict: verdictOf(backup, lacking),
          repositories: all.map(({ repository }) => repository),
          verified: lastVerify(all.flatMap(({ facts }) => facts)),
        },
      ];
    })
    .sort((one, other) => (parseLsn(one.backup.stopLsn) < parseLsn(other.backup.stopLsn) ? -1 : 1));
}

function verdictOf({ suspect }: MapBackup, lacking: readonly string[]): BackupVerdict {
  const [first] = lacking;
  if (first !== undefined) {
    const more = lacking.length === 1 ? 'is' : `and ${lacking.length - 1} more of its objects are`;
    return { state: 'damaged', problem: `${first} ${more} not there as stored` };
  }
  return suspect === undefined ? { state: 'restorable' } : { state: 'suspect', problem: suspect };
}

/** The rule of the plan: the newest timeline that has any WAL, or that of the newest backup. */
function latestLine(
  wal: WalInventory,
  backups: readonly MappedBackup[],
  lineages: ReadonlyMap<number, Lineage>,
): number {
  const newest = backups.findLast(({ backup }) => backup.suspect === undefined)?.backup;
  const current = newest?.stopTimeline ?? 1;
  for (const { timeline, runs, open } of wal.timelines.toReversed()) {
    if (timeline <= current) break;
    const lineage = lineages.get(timeline);
    const start = lineage?.ranges.at(-1)?.start ?? 0n;
    const first = start / BigInt(wal.segmentSize);
    // One whose history cannot be read is what a restore would follow, and fail.
    if (lineage === undefined || runs.length > 0) return timeline;
    if (newest !== undefined && open.some((one) => one.number === first && holdsWal(one))) return timeline;
  }
  return current;
}

/** Segments of which a verification has found every copy damaged that there is. */
function damagedSegments(held: readonly Holding[], segmentSize: number): DamagedSegments {
  const found = held.map(({ system }) => {
    const segments = new Map<
      string,
      { readonly timeline: number; readonly number: bigint; readonly message: string }
    >();
    for (const [key, message] of damagedWal(system.facts)) {
      const name = /([0-9A-F]{24})-[0-9a-f]{32}[^/]*$/.exec(key)?.[1];
      const file = name === undefined ? undefined : parseWalFileName(name);
      if (file?.kind === 'segment')
        segments.set(file.name, { timeline: file.timeline, number: segmentNumberOf(file, segmentSize), message });
    }
    return segments;
  });
  const damaged = new Map<number, Map<bigint, string>>();
  for (const [at, segments] of found.entries()) {
    for (const [name, { timeline, number, message }] of segments) {
      // A restore reads the copy of another repository, if that one is not damaged too.
      const isElsewhere = held.some(
        ({ system }, other) =>
          other !== at &&
          found[other]?.has(name) !== true &&
          holdsNumber(system.wal.timelines.find((one) => one.timeline === timeline)?.runs ?? [], number),
      );
      if (isElsewhere) continue;
      const own = damaged.get(timeline) ?? new Map<bigint, string>();
      damaged.set(timeline, own.set(number, message));
    }
  }
  return damaged;
}

/** Damaged WAL of which no fact says where it is: that of the repository which knows most about its own. */
function unnamedOf(held: readonly Holding[]): number {
  const counts = held.map(({ system }) =>
    unnamedDamage(system.facts.filter(({ subject }) => subject === 'wal').map(({ fact }) => fact)),
  );
  return Math.max(0, ...counts);
}

/** Gaps on record that the WAL of all repositories does not fill. */
function openGapsOf({ repository, system }: Holding, wal: WalInventory): SystemMap['gaps'] {
  const facts = system.facts.filter(({ subject }) => subject === 'wal').map(({ fact }) => fact);
  return gapsAmong(facts)
    .filter(({ timeline, toTimeline, from, to }) => {
      if (timeline !== toTimeline) return true;
      const runs = wal.timelines.find((one) => one.timeline === timeline)?.runs ?? [];
      const size = BigInt(wal.segmentSize);
      for (let number = from / size; number < to / size; number++) if (!holdsNumber(runs, number)) return true;
      return false;
    })
    .map((gap) => ({ ...gap, repository: repository.name }));
}
