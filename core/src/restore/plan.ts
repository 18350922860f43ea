/** Chooses the backup, follows the WAL to the target, and says whether it can be reached, before anything is written. */
import { ArchiveError, isArchiveError, throwIfAborted } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { parseLsn } from '../postgres/lsn.ts';
import { lastSegmentNumber, parseWalFileName, segmentName, segmentNumber } from '../postgres/wal-file.ts';
import { Spool } from '../receive/spool.ts';
import { allAnswers } from '../repository/all-answers.ts';
import type { BackupRecord } from '../repository/backup-record.ts';
import type { Repository } from '../repository/repository.ts';
import type { BackupCopy } from './backup-source.ts';
import { findBackups, isOnLine } from './choose-backup.ts';
import { planFolders, type FolderOptions } from './folders.ts';
import { resolveGoal, type Goal, type Resolved } from './goal.ts';
import { findLacking } from './lacking-objects.ts';
import { readLineage, type Lineage } from './lineage.ts';
import { outsideFolders } from './new-tablespaces.ts';
import type { PlanContext } from './plan-context.ts';
import type { PlanProblem, RestorePlan } from './plan-types.ts';
import { promotionProblem } from './promotion.ts';
import { checkReach } from './reach.ts';
import { recordedGaps } from './recorded-gaps.ts';
import { RestoreSources } from './sources.ts';
import { damagedWal, readableFacts, type SubjectFact } from './verify-findings.ts';
import type { RecoveryTarget, TargetAction, TimelineChoice } from './target.ts';
import { walkWal, type WalPiece, type WalRun } from './wal-pieces.ts';

export interface PlanOptions extends FolderOptions, CallOptions {
  /** In the order in which they are read. */
  readonly repositories: readonly [Repository, ...Repository[]];
  /** Milliseconds that the other repositories have to answer in, once one has. Default 15 s. */
  readonly patience?: number;
  readonly target: RecoveryTarget;
  /** Default `latest`. */
  readonly timeline?: TimelineChoice;
  /** Default `promote`. */
  readonly action?: TargetAction;
  readonly standby?: boolean;
  /** The id of the backup to begin from; default: the newest one that leads to the target. */
  readonly backup?: string;
  /** Of the cluster, when the archive holds several of its name. */
  readonly systemId?: string;
  /** `receive.spool`: WAL that was received but not shipped. */
  readonly spool?: string;
  /**
   * With a directory the plan refuses WAL that creates tablespaces in folders which hold files of a cluster on this host: that cluster would be
   * damaged. `allow` does not look. Default `refuse`.
   */
  readonly newTablespaces?: 'refuse' | 'allow';
  /** Told of the repositories that answer before a backup is chosen: a lease from then on keeps what is chosen. */
  readonly onSources?: (repositories: readonly Repository[]) => Promise<void>;
  /** Told what is being read, for a search through much WAL. */
  readonly onProgress?: (text: string) => void;
}

/**
 * Plans a restore. A target that the WAL does not lead to is a plan with problems, which says what is missing.
 *
 * Of several repositories those that answer are planned with; the others are a warning, as long as the answer cannot depend on them.
 * What is not found in these may be in one of those, and more WAL than these have, too: the error, or the problem of the plan, is then
 * that of the repository which could not be read. Who wants to do without it gives the others only.
 *
 * Errors: `RESTORE_UNREACHABLE` when no backup comes before the target, or nothing in the WAL is the target; `BACKUP_NOT_FOUND`;
 * `USAGE`; those of the repository.
 */
export async function planRestore(options: PlanOptions): Promise<RestorePlan> {
  const sources = await RestoreSources.open(options.repositories, options);
  await options.onSources?.(sources.repositories);
  for (;;) {
    try {
      return await planFrom(sources, options);
    } catch (error) {
      throwIfAborted(options.signal, 'planning the restore');
      // What was found so far may have come from the one that fails: the plan is made anew.
      if (!sources.leaveOut(error)) throw sources.withDoubt(error);
    }
  }
}

async function planFrom(sources: RestoreSources, options: PlanOptions): Promise<RestorePlan> {
  const { target, signal } = options;
  const cancel = signal === undefined ? {} : { signal };
  const { systemId, records, copies, warnings, empty } = await findBackups(sources.repositories, options);
  sources.leaveOutEmpty(empty, systemId);
  const [{ cluster }] = sources.repositories;
  const named = options.backup === undefined ? undefined : records.find(({ id }) => id === options.backup);
  if (options.backup !== undefined && named === undefined)
    throw new ArchiveError('BACKUP_NOT_FOUND', `backup ${options.backup} is not complete`);
  const spool = options.spool === undefined ? undefined : new Spool(options.spool, cluster).folderOf(systemId);
  const base = {
    ...cancel,
    archive: sources.wal(systemId),
    systemId,
    ...(spool === undefined ? {} : { spool }),
    standby: options.standby ?? false,
    onProgress: options.onProgress ?? ((): void => undefined),
  };
  const usable = named === undefined ? records.filter((record) => record.suspect === undefined) : [named];
  const { lineage, notes } = await chooseLineage(options.timeline ?? 'latest', usable.at(-1), base);
  const onLine = usable.filter((record) => isOnLine(record, lineage));
  if (onLine.length === 0) throw noBackupOnLine(lineage, records, named);

  const context: PlanContext = { ...base, lineage };
  const chosen = await chooseWhole(target, onLine, { context, copies, named: named !== undefined });
  const { backup, goal, warnings: found } = chosen;
  const { segmentSize } = backup;
  const run = await walkWal(base.archive, lineage, { ...base, start: parseLsn(backup.startLsn), segmentSize });
  const reach = await checkReach({ target, goal, backup, run }, context);
  const { repositories } = sources;
  const lost = await recordedGaps({ repositories, run, goal, start: parseLsn(backup.startLsn), segmentSize }, context);
  const pieces = upTo(run.pieces, goal, backup);
  const promotes = options.standby !== true && (options.action ?? 'promote') === 'promote';
  const blocked = promotes ? await promotionProblem(base.archive, lineage.timeline, cancel) : undefined;
  const damaged = await damagedPieces(run.pieces, backup, sources.repositories, context);
  const folders = await planFolders(backup, options);
  const looks = options.directory !== undefined && options.newTablespaces !== 'allow';
  const outside = looks
    ? await outsideFolders({
        ...cancel,
        systemId,
        backup,
        target,
        goal,
        pieces,
        onLine,
        tablespaces: folders.tablespaces,
        // To a moment before the end it is not all of the WAL that counts.
        frontier: target.kind === 'latest' ? reach.frontier : undefined,
        onSegment: (name) => context.onProgress(`looking for new tablespaces in ${name}`),
      })
    : { problems: [], warnings: [] };
  const others = await otherTimelines(lineage, context, segmentSize);
  return {
    cluster,
    systemId,
    sources,
    backup,
    copies: copies.get(backup.id) ?? [],
    target,
    action: options.action ?? 'promote',
    standby: options.standby ?? false,
    timeline: lineage.timeline,
    historyMissing: lineage.historyMissing,
    path: lineage.ranges.filter(({ timeline }) => timeline >= backup.timeline),
    goal,
    wal: {
      pieces,
      storedBytes: pieces.reduce((sum, piece) => sum + piece.storedBytes, 0),
      end: reach.frontier?.end,
      lastTransaction: reach.frontier?.lastTransaction,
      gap: run.gap,
      isDoubtful: run.fault !== undefined || reach.fault !== undefined || damaged.length > 0,
    },
    folders: folders.folders,
    tablespaces: folders.tablespaces,
    problems: [
      ...chosen.problems,
      ...(blocked === undefined ? [] : [{ code: blocked.error.code, message: blocked.message, hint: blocked.hint }]),
      ...certain(reach.problems, { sources, target, run }),
      ...outside.problems,
    ],
    warnings: [
      ...sources.warnings,
      ...warnings,
      ...notes,
      ...others,
      ...found,
      ...reach.warnings,
      ...lost,
      ...damaged,
      ...folders.warnings,
      ...outside.warnings,
      ...(backup.suspect === undefined ? [] : [`backup ${backup.id} is suspect: ${backup.suspect.message}`]),
    ],
  };
}

interface ChooseOptions {
  readonly context: PlanContext;
  readonly copies: ReadonlyMap<string, readonly BackupCopy[]>;
  readonly named: boolean;
}

/** The backup that leads to the target and whose objects are all there. One that was named is not passed over: it is a problem. */
async function chooseWhole(
  target: RecoveryTarget,
  onLine: readonly BackupRecord[],
  { context, copies, named }: ChooseOptions,
): Promise<Resolved & { readonly problems: readonly PlanProblem[] }> {
  const passedOver: string[] = [];
  for (let candidates = onLine; ;) {
    let resolved: Resolved;
    try {
      resolved = await resolveGoal(target, candidates, context);
    } catch (error) {
      if (passedOver.length === 0 || !isArchiveError(error, 'RESTORE_UNREACHABLE')) throw error;
      const { hint, details } = error;
      throw new ArchiveError('BACKUP_CORRUPT', [...passedOver, error.message].join('; '), {
        hint,
        details,
        cause: error,
      });
    }
    const { id } = resolved.backup;
    const { objects, isListed } = await findLacking(copies.get(id) ?? [], context);
    const [first] = objects;
    if (first === undefined) return { ...resolved, warnings: [...passedOver, ...resolved.warnings], problems: [] };
    const more = objects.length === 1 ? 'is' : `and ${objects.length - 1} more of its objects are`;
    const message = `backup ${id} cannot be restored: ${first} ${more} ${isListed ? 'not there as stored' : 'damaged, as a verification found'}`;
    if (named) {
      const hint =
        'Leave out --backup, so that another one is taken, or bring the objects back from a copy of the archive.';
      // What was found damaged may be mended by now: then it is restored, and if it is not, that shows.
      return isListed
        ? { ...resolved, problems: [{ code: 'BACKUP_CORRUPT', message, hint }] }
        : { ...resolved, warnings: [message, ...resolved.warnings], problems: [] };
    }
    passedOver.push(message);
    candidates = candidates.filter((candidate) => candidate.id !== id);
  }
}

/**
 * The problems of a plan for which repositories may have been left out. To the end of the WAL only all of them together lead, a hole may
 * be filled by any of them, and so may all else that is missing: PostgreSQL would take what is left for all that there is, and promote.
 */
function certain(
  problems: readonly PlanProblem[],
  { sources, target, run }: { readonly sources: RestoreSources; readonly target: RecoveryTarget; readonly run: WalRun },
): readonly PlanProblem[] {
  if (target.kind !== 'latest' && run.gap === undefined && problems.length === 0) return [];
  const said =
    problems.length > 0
      ? problems.map(({ message }) => message)
      : [run.gap === undefined ? 'there may be more WAL than was found' : 'the hole in the WAL may be none'];
  const doubt = sources.doubt(said);
  return doubt === undefined ? problems : [doubt];
}

type BaseContext = Omit<PlanContext, 'lineage'>;

/** The timeline to follow. `latest` is the newest that has any WAL: one that was only just begun leads nowhere yet. */
async function chooseLineage(
  choice: TimelineChoice,
  newest: BackupRecord | undefined,
  context: BaseContext,
): Promise<{ readonly lineage: Lineage; readonly notes: readonly string[] }> {
  const notes: string[] = [];
  const chosen = async (
    timeline: number,
  ): Promise<{ readonly lineage: Lineage; readonly notes: readonly string[] }> => {
    const lineage = await readLineage(context.archive, timeline, context);
    if (lineage.historyMissing)
      notes.push(`the history of timeline ${timeline} is not archived: backups of earlier timelines cannot be used`);
    return { lineage, notes };
  };
  const current = newest?.stopTimeline ?? 1;
  if (choice !== 'latest') return chosen(choice === 'current' ? current : choice);
  for (const timeline of (await context.archive.timelines(context)).toReversed()) {
    if (timeline <= current) break;
    if (await hasWal(timeline, newest?.segmentSize, context)) return chosen(timeline);
    notes.push(`timeline ${timeline} was begun, but none of its WAL is archived: it is passed over`);
  }
  return chosen(current);
}

/** Whether the archive or the spool holds anything of a timeline's own WAL, an unfinished first segment included. */
async function hasWal(timeline: number, segmentSize: number | undefined, context: BaseContext): Promise<boolean> {
  if ((await lastName(timeline, context)) !== undefined) return true;
  if (segmentSize === undefined) return false;
  const lineage = await readLineage(context.archive, timeline, context);
  const own = { ...lineage, ranges: lineage.ranges.slice(-1) };
  const start = own.ranges[0]?.start ?? 0n;
  return (await walkWal(context.archive, own, { ...context, start, segmentSize })).pieces.length > 0;
}

/** The name of the last whole segment of a timeline, whatever its content. */
async function lastName(timeline: number, { archive, ...context }: BaseContext): Promise<string | undefined> {
  try {
    return (await archive.last(timeline, context))?.file.name;
  } catch (error) {
    if (!isArchiveError(error, 'WAL_CONFLICT')) throw error;
    const { file } = error.details;
    return typeof file === 'string' ? file : undefined;
  }
}

/** WAL that the recovery leaves aside: what else one may have meant. */
async function otherTimelines(lineage: Lineage, context: PlanContext, segmentSize: number): Promise<readonly string[]> {
  const notes: string[] = [];
  for (const timeline of await context.archive.timelines(context)) {
    const range = lineage.ranges.find((candidate) => candidate.timeline === timeline);
    const file = parseWalFileName((await lastName(timeline, context)) ?? '');
    if (file?.kind !== 'segment' || timeline === lineage.timeline) continue;
    const end = range?.end;
    const beyond =
      end === undefined || file.name >= segmentName(timeline, segmentNumber(end, segmentSize), segmentSize);
    if (range === undefined) notes.push(`timeline ${timeline} is not followed; it has WAL up to ${file.name}`);
    else if (beyond)
      notes.push(`timeline ${timeline} went on after timeline ${lineage.timeline} left it, up to ${file.name}`);
  }
  return notes.map((note) => `${note} (--target-timeline)`);
}

function noBackupOnLine(
  lineage: Lineage,
  records: readonly BackupRecord[],
  named: BackupRecord | undefined,
): ArchiveError {
  const path = lineage.ranges.map(({ timeline }) => timeline).join(', ');
  const what =
    named === undefined ? 'no usable backup lies' : `backup ${named.id} (timeline ${named.stopTimeline}) does not lie`;
  const why = lineage.historyMissing && lineage.timeline > 1 ? `, whose history file is not archived` : ` (${path})`;
  const shown = records.map(
    ({ id, stopTimeline, suspect }) => `${id} on timeline ${stopTimeline}${suspect === undefined ? '' : ' (suspect)'}`,
  );
  return new ArchiveError('RESTORE_UNREACHABLE', `${what} on the way to timeline ${lineage.timeline}${why}`, {
    hint: `Choose a timeline with --target-timeline, or a backup with --backup: ${shown.slice(-5).join(', ')}.`,
  });
}

/** Warnings of segments that a verification found damaged: they may be mended by now, else the recovery stops there. */
async function damagedPieces(
  pieces: readonly WalPiece[],
  { id }: BackupRecord,
  repositories: readonly Repository[],
  context: PlanContext,
): Promise<readonly string[]> {
  const names = new Set(pieces.map(({ name }) => name));
  const found: string[] = [];
  const answers = await allAnswers(
    repositories,
    async (repository) => {
      const facts: SubjectFact[] = [];
      for (const subject of ['wal', id])
        for (const fact of await readableFacts(repository, context.systemId, subject, context))
          facts.push({ subject, fact });
      return damagedWal(facts);
    },
    context,
  );
  for (const { member: repository, value } of answers) {
    for (const key of value.keys()) {
      const name = /([0-9A-F]{24})-[^/]*$/.exec(key)?.[1];
      if (name !== undefined && names.has(name))
        found.push(
          `${name} was found damaged in repository ${repository.name}: without another copy a recovery ends before it`,
        );
    }
  }
  return found;
}

/** The pieces up to the one that holds the goal; all of them without a goal. */
function upTo(pieces: readonly WalPiece[], goal: Goal | undefined, backup: BackupRecord): readonly WalPiece[] {
  if (goal === undefined) return pieces;
  const own = lastSegmentNumber(parseLsn(backup.stopLsn), backup.segmentSize);
  const goalSegment = segmentNumber(goal.lsn, backup.segmentSize);
  const last = goalSegment > own ? goalSegment : own;
  return pieces.filter(({ number }) => number <= last);
}
