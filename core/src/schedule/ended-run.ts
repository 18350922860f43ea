/** Runs that come to their end without work: what is put on record of them. */
import { MOST_MISSED, type Skip } from './decide.ts';
import type { Run } from './run.ts';

/** A run whose daemon is gone; `now` in epoch milliseconds. */
export function interruptedRun(begun: Run, now: number): Run {
  return interrupted(begun, now, `the daemon on ${begun.host} ended while it ran`);
}

/** A run of a system that the cluster is no longer; `now` in epoch milliseconds. */
export function lostRun(begun: Run, now: number): Run {
  const summary = `how it ended is not known: the system identifier of the cluster has changed since it began on ${begun.host}`;
  return interrupted(begun, now, summary);
}

function interrupted(begun: Run, now: number, summary: string): Run {
  // A skipped one has no end only because its record was cut short.
  if (begun.state === 'skipped') return { ...begun, ended: begun.ended ?? begun.started };
  return { ...begun, state: 'interrupted', ended: Math.max(now, begun.started), summary };
}

/** A run that was due and did not begin, for itself and for those right before it. */
export function skippedRun(run: Run, { first, count, reason }: Pick<Skip, 'first' | 'count' | 'reason'>): Run {
  const why =
    reason === 'away'
      ? 'no daemon could run it in time'
      : 'another run went on, or it could not be put on record, until it was too late';
  const since = new Date(first).toISOString();
  const number = count >= MOST_MISSED ? `${count} or more` : String(count);
  const all = count === 1 ? '' : `, like all from ${since} on, ${number} together`;
  return {
    ...run,
    state: 'skipped',
    ended: run.started,
    summary: why + all,
    ...(count === 1 ? {} : { result: { moments: count, first: since } }),
  };
}
