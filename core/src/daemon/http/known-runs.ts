import { compareRuns } from '../../schedule/run-order.ts';
import type { Run } from '../../schedule/run.ts';
import type { DaemonCluster } from '../daemon.ts';
import type { RecentRuns } from './recent-runs.ts';

/** Runs on record, as far as the last look has listed them, those that have ended here since, and those that run now, newest first. */
export function knownRuns(
  cluster: Pick<DaemonCluster, 'name' | 'latest' | 'scheduler'>,
  recent: Pick<RecentRuns, 'of'>,
): readonly Run[] {
  const { runs = [], runsFrom = Number.NEGATIVE_INFINITY } = cluster.latest() ?? {};
  const known = new Map(runs.map((run) => [run.id, run]));
  for (const [id, run] of recent.of(cluster.name)) {
    // Who looks may have seen the end of a run before it was told here, but never the other way. No end is told here of one that another daemon
    // has taken for interrupted: behind what is listed the archive has to say it.
    const isNews = run.ended !== undefined || (!known.has(id) && run.planned >= runsFrom);
    if (isNews) known.set(id, run);
  }
  for (const run of cluster.scheduler.running()) known.set(run.id, run);
  return [...known.values()].toSorted(compareRuns);
}
