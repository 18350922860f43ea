/** Whether the WAL of a backup leads to the target, by PostgreSQL's own rules of where a recovery stops. */
import type { ArchiveError } from '../contracts/errors.ts';
import { formatLsn, parseLsn } from '../postgres/lsn.ts';
import { lastSegmentNumber, segmentNumber } from '../postgres/wal-file.ts';
import type { BackupRecord } from '../repository/backup-record.ts';
import type { Goal } from './goal.ts';
import type { PlanContext } from './plan-context.ts';
import type { PlanProblem } from './plan-types.ts';
import { describeTarget, type RecoveryTarget } from './target.ts';
import { formatMoment } from './time-text.ts';
import type { WalGap, WalRun } from './wal-pieces.ts';
import { findFrontier, findSoundFrontier, type WalFrontier } from './wal-scan.ts';

export interface Reach {
  readonly problems: readonly PlanProblem[];
  readonly warnings: readonly string[];
  /** Where the WAL ends, if the target made it necessary to look. */
  readonly frontier: WalFrontier | undefined;
  /** What is wrong with the end of the WAL, behind the target. */
  readonly fault?: ArchiveError | undefined;
}

export interface ReachInput {
  readonly target: RecoveryTarget;
  readonly goal: Goal | undefined;
  readonly backup: BackupRecord;
  readonly run: WalRun;
}

/** Says what is missing for the target, and what could be reached instead. Errors: those of reading the end of the WAL. */
export async function checkReach({ target, goal, backup, run }: ReachInput, context: PlanContext): Promise<Reach> {
  const { segmentSize } = backup;
  const { pieces, gap } = run;
  const last = pieces.at(-1);
  const own = lastSegmentNumber(parseLsn(backup.stopLsn), segmentSize);
  if (last === undefined || last.number < own) {
    if (run.fault !== undefined) throw run.fault;
    const problem: PlanProblem = {
      code: 'RESTORE_UNREACHABLE',
      message: `the WAL of backup ${backup.id} itself is not complete: ${missing(gap) ?? `it ends with ${last?.name ?? 'nothing'}`}`,
      hint: 'This backup cannot be made consistent: choose another one with --backup.',
    };
    return { problems: [problem], warnings: [], frontier: undefined };
  }
  if (target.kind === 'immediate') return reached();
  // A position with a whole segment behind it needs no look at records: there is one after it.
  if (goal !== undefined && (target.kind !== 'lsn' || segmentNumber(goal.lsn, segmentSize) < last.number))
    return reached();
  // What the rest would say nobody knows.
  if (run.fault !== undefined && target.kind === 'latest') throw run.fault;
  context.onProgress(`looking for the end of the WAL in ${last.name}`);
  const scan = { ...context, segmentSize };
  // A moment may lie before what is damaged at the end; of all else the end is part.
  const { frontier, fault } =
    target.kind === 'time'
      ? await findSoundFrontier(pieces, scan)
      : { frontier: await findFrontier(pieces, scan), fault: undefined };
  const end = frontier === undefined ? 'nowhere' : formatLsn(frontier.end);
  const behind =
    gap === undefined ? '' : `; WAL from ${gap.behind.from} to ${gap.behind.to} lies behind a hole: ${missing(gap)}`;
  const warnings = gap === undefined ? [] : [`the WAL ends at ${end}${behind}`];
  const unreachable = (message: string, hint: string): Reach => ({
    problems: [{ code: 'RESTORE_UNREACHABLE', message: `${message}${behind}`, hint }],
    warnings: [],
    frontier,
  });
  const isBehind = target.kind === 'lsn' && (frontier === undefined || frontier.lastRecord < target.lsn);
  const isLate = target.kind === 'time' && !passes(frontier?.lastTransaction, target);
  const spoilt = fault ?? run.fault;
  if (spoilt !== undefined && (isBehind || isLate)) throw spoilt;
  if (isBehind)
    return unreachable(
      `the target ${describeTarget(target)} lies behind the last WAL record, which begins at ${formatLsn(frontier?.lastRecord ?? 0n)}`,
      `Everything there is gives "--target latest"; the last LSN that can be named is ${formatLsn(frontier?.lastRecord ?? 0n)}.`,
    );
  if (isLate) {
    const time = frontier?.lastTransaction;
    return unreachable(
      time === undefined
        ? `no transaction ended between backup ${backup.id} and the end of the WAL at ${end}`
        : `the target ${describeTarget(target)} lies behind the last transaction in the WAL, which ended at ${formatMoment(time)}`,
      time === undefined
        ? 'Use "--target latest": it gives all that the archive has.'
        : `Use "--target latest", which gives all that the archive has, or a time before ${formatMoment(time)}.`,
    );
  }
  const lost = fault === undefined ? [] : [`the WAL behind ${end} cannot be used: ${fault.message}`];
  return { problems: [], warnings: [...warnings, ...lost], frontier, fault };
}

function reached(): Reach {
  return { problems: [], warnings: [], frontier: undefined };
}

/** A recovery to a time ends at the first transaction beyond it: without one it runs into the end of the WAL, and fails. */
function passes(last: bigint | undefined, target: { readonly micros: bigint; readonly exclusive: boolean }): boolean {
  if (last === undefined) return false;
  return target.exclusive ? last >= target.micros : last > target.micros;
}

function missing(gap: WalGap | undefined): string | undefined {
  if (gap === undefined) return undefined;
  const shown = gap.names.slice(0, 5).join(', ');
  const more = gap.count > 5 ? ` and ${gap.count - 5} more` : '';
  return `${shown}${more} ${gap.count === 1 ? 'is' : 'are'} missing`;
}
