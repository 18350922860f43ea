import type { Run } from './run.ts';

/** Newest first: by when they were due or asked for, then by the name of the job. */
export function compareRuns(one: Pick<Run, 'job' | 'planned'>, other: Pick<Run, 'job' | 'planned'>): number {
  return other.planned - one.planned || (one.job < other.job ? -1 : one.job > other.job ? 1 : 0);
}
