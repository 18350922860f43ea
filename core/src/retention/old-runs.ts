/** What is on record of runs of jobs goes away some time, or a job that is due every minute would fill the archive with it. */
import type { CallOptions } from '../contracts/storage.ts';
import type { FactName, Facts } from '../repository/facts.ts';
import { jobSubject } from '../repository/layout.ts';
import { signalOf } from '../repository/objects.ts';
import type { Removal } from './removal.ts';

/** Milliseconds for which runs are remembered. */
const REMEMBERED = 400 * 86_400_000;
/** Of each job so many stay however old they are, and so many at most. */
const LEAST = 100;
const MOST = 5000;

export interface OldRunsOptions extends CallOptions {
  /** Epoch milliseconds. */
  readonly now: number;
  /** The system is gone, and its runs with it. */
  readonly all: boolean;
  readonly removal: Removal;
}

/** Removes the records of old runs. What is under a lock stays. Errors: those of the storage. */
export async function removeOldRuns(facts: Facts, { now, all, removal, ...options }: OldRunsOptions): Promise<void> {
  const call = signalOf(options);
  for (const job of await facts.jobs(call)) {
    const names: FactName[] = [];
    for await (const name of facts.names({ ...call, subject: jobSubject(job) })) names.push(name);
    const old = all ? names : oldRuns(names, now);
    // Without an end it would seem to run still.
    const ends = old.filter(({ kind }) => kind === 'ended');
    const locked = await removal.remove(old.filter(({ kind }) => kind !== 'ended'));
    const held = new Set(old.flatMap(({ key, time }) => (locked.has(key) ? [time] : [])));
    await removal.remove(ends.filter(({ time }) => !held.has(time)));
  }
}

/** Of the facts of a job those that nobody needs any more. */
export function oldRuns<Name extends Pick<FactName, 'kind' | 'time' | 'modified'>>(
  names: readonly Name[],
  now: number,
): readonly Name[] {
  const runs = [...new Set(names.flatMap(({ kind, time }) => (kind === 'planned' ? [] : [time])))];
  runs.sort((one, other) => other - one);
  const rank = new Map(runs.map((time, at) => [time, at]));
  const plan = Math.max(...names.flatMap(({ kind, time }) => (kind === 'planned' ? [time] : [])));
  const isOld = ({ time, modified }: Name): boolean => Math.max(time, modified) < now - REMEMBERED;
  return names.filter((name) => {
    if (name.kind === 'planned') return name.time < plan && isOld(name);
    const at = rank.get(name.time) ?? 0;
    return at >= LEAST && (isOld(name) || at >= MOST);
  });
}
