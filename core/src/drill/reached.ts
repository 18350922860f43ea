import { formatLsn, parseLsn } from '../postgres/lsn.ts';
import type { RestorePlan } from '../restore/plan-types.ts';
import { formatMoment } from '../restore/time-text.ts';

/** Where a recovery ended, as the server says. */
export interface RecoveryEnd {
  /** End of the last record that was replayed. */
  readonly lsn: bigint;
  /** The timeline that was followed. */
  readonly timeline: number;
  /** Time of the last transaction that was replayed, microseconds since 1970. */
  readonly micros: bigint | undefined;
}

type Planned = Pick<RestorePlan, 'backup' | 'target' | 'goal' | 'timeline' | 'wal'>;

/** The header of a page may lie between the end of a record and the start of the next one. */
const PAGE_HEADER = 40n;

/** Compares where a recovery ended with where the plan wanted it to; says what is wrong, or undefined. */
export function notReached(plan: Planned, end: RecoveryEnd): string | undefined {
  const { backup, target, goal, wal } = plan;
  const at = `the recovery ended at ${formatLsn(end.lsn)}`;
  if (end.timeline !== plan.timeline) return `${at} on timeline ${end.timeline}, not on timeline ${plan.timeline}`;
  if (end.lsn < parseLsn(backup.stopLsn)) return `${at}, before the end of the backup at ${backup.stopLsn}`;
  const exclusive = 'exclusive' in target && target.exclusive;
  switch (target.kind) {
    case 'immediate':
      return undefined;
    case 'latest':
      // The archive may have grown since the plan was made.
      return wal.end !== undefined && end.lsn < wal.end
        ? `${at}, but the WAL goes on to ${formatLsn(wal.end)}`
        : undefined;
    case 'time': {
      if (end.micros === undefined) return undefined;
      const beyond = exclusive ? end.micros >= target.micros : end.micros > target.micros;
      return beyond
        ? `${at} with a transaction of ${formatMoment(end.micros)}, which lies beyond the target`
        : undefined;
    }
    case 'lsn':
    case 'xid':
    case 'name': {
      if (goal === undefined) return undefined;
      const wanted = `${exclusive ? 'just before' : 'just after'} ${formatLsn(goal.lsn)}`;
      if (!exclusive && end.lsn <= goal.lsn) return `${at}, not ${wanted}`;
      if (exclusive && target.kind === 'lsn' && end.lsn + PAGE_HEADER < goal.lsn) return `${at}, not ${wanted}`;
      if (exclusive && target.kind === 'xid' && end.lsn > goal.lsn) return `${at}, not ${wanted}`;
      return undefined;
    }
  }
}
