import type { Caller } from '../http/caller.ts';
import type { RecentRuns } from '../http/recent-runs.ts';
import type { Daemon, DaemonCluster } from '../daemon.ts';

/** Who looks, at what, and when. */
export interface Viewing {
  readonly daemon: Daemon;
  readonly caller: Caller;
  /** Whether the browser has a session that can be ended. */
  readonly hasCookie: boolean;
  /** Runs that have ended here, whether a look has seen it or not. */
  readonly recent: Pick<RecentRuns, 'of'>;
  /** Epoch milliseconds. */
  readonly now: number;
}

/** The same, of one cluster. */
export interface ClusterViewing extends Viewing {
  readonly cluster: DaemonCluster;
}

export function isOperator({ caller }: Pick<Viewing, 'caller'>): boolean {
  return caller.role === 'operator';
}
