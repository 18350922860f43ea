import type { Caller } from '../http/caller.ts';
import type { Daemon, DaemonCluster } from '../daemon.ts';

/** Who looks, at what, and when. */
export interface Viewing {
  readonly daemon: Daemon;
  readonly caller: Caller;
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
