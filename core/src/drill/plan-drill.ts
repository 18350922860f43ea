/** What a drill is going to try, and what the archive alone says against it. */
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { formatLsn, parseLsn } from '../postgres/lsn.ts';
import { lastSegmentNumber } from '../postgres/wal-file.ts';
import type { Repository } from '../repository/repository.ts';
import { findBackups } from '../restore/choose-backup.ts';
import { planRestore } from '../restore/plan.ts';
import type { RestorePlan } from '../restore/plan-types.ts';
import type { RecoveryTarget, TimelineChoice } from '../restore/target.ts';
import { randomTarget } from './random-target.ts';
import { judge, type DrillProblem } from './verdict.ts';

export interface PlanDrillOptions extends CallOptions {
  readonly repository: Repository;
  readonly target: RecoveryTarget | 'random';
  readonly seed?: number;
  readonly timeline?: TimelineChoice;
  readonly backup?: string;
  readonly systemId?: string;
  readonly onText: (text: string) => void;
}

/** What a drill is about. */
export interface DrillSubject {
  readonly systemId: string;
  readonly backup: string;
}

/** A plan, or what is wrong with a backup of which none can be made. */
export type PlannedDrill =
  | { readonly plan: RestorePlan; readonly problem: DrillProblem | undefined }
  | { readonly plan: undefined; readonly problem: DrillProblem; readonly subject: DrillSubject };

/**
 * Plans a drill. Errors: `RESTORE_UNREACHABLE` for a target that was named and lies where no WAL is, which says nothing about the backup;
 * `BACKUP_NOT_FOUND`; those of a repository that cannot be read.
 */
export async function planDrill(options: PlanDrillOptions): Promise<PlannedDrill> {
  try {
    const plan = await makePlan(options);
    return { plan, problem: faultOf(plan, options.target) };
  } catch (error) {
    if (isArchiveError(error, 'RESTORE_UNREACHABLE') && isChosen(options.target)) throw error;
    const problem = judge(error);
    if (problem.outcome !== 'failed') throw error;
    const subject = await newestOf(options);
    if (subject === undefined) throw error;
    return { plan: undefined, problem, subject };
  }
}

async function makePlan(options: PlanDrillOptions): Promise<RestorePlan> {
  const { repository, target, seed = 0, timeline, backup, systemId, signal } = options;
  const common = {
    ...(signal === undefined ? {} : { signal }),
    repositories: [repository] as const,
    ...(timeline === undefined ? {} : { timeline }),
    ...(systemId === undefined ? {} : { systemId }),
    onProgress: options.onText,
  };
  const first = await planRestore({
    ...common,
    target: target === 'random' ? { kind: 'latest' } : target,
    ...(backup === undefined ? {} : { backup }),
  });
  if (target !== 'random' || first.problems.length > 0) return first;
  return planRestore({ ...common, target: randomTarget(first, seed), backup: first.backup.id });
}

/** The backup that would have been taken. */
async function newestOf({ repository, backup, systemId, signal }: PlanDrillOptions): Promise<DrillSubject | undefined> {
  const found = await findBackups([repository], { ...(signal === undefined ? {} : { signal }), backup, systemId });
  const usable = found.records.filter(({ id, suspect }) =>
    backup === undefined ? suspect === undefined : id === backup,
  );
  const newest = usable.at(-1);
  return newest === undefined ? undefined : { systemId: found.systemId, backup: newest.id };
}

/** Whether somebody chose a moment, which may be one that never was. */
function isChosen(target: RecoveryTarget | 'random'): boolean {
  return target === 'random' || (target.kind !== 'latest' && target.kind !== 'immediate');
}

function faultOf(plan: RestorePlan, wanted: RecoveryTarget | 'random'): DrillProblem | undefined {
  const { backup, target, wal, problems } = plan;
  const [problem] = problems;
  const { gap } = wal;
  if (problem !== undefined) {
    const error = new ArchiveError(problem.code, problem.message, { hint: problem.hint });
    const own = lastSegmentNumber(parseLsn(backup.stopLsn), backup.segmentSize);
    const whole = (wal.pieces.at(-1)?.number ?? -1n) >= own;
    if (isChosen(wanted) && whole && gap === undefined) throw error;
    return judge(error);
  }
  if (target.kind !== 'latest' || gap === undefined) return undefined;
  const shown = gap.names.slice(0, 3).join(', ') + (gap.count > 3 ? ` and ${gap.count - 3} more` : '');
  const end = wal.end === undefined ? 'before it' : `at ${formatLsn(wal.end)}`;
  return {
    outcome: 'failed',
    error: new ArchiveError(
      'WAL_GAP',
      `the WAL has a hole, ${shown} missing: a recovery ends ${end}, and WAL from ${gap.behind.from} to ${gap.behind.to} lies behind it`,
    ),
  };
}
