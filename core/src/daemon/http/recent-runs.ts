import type { Run } from '../../schedule/run.ts';
import type { Daemon } from '../daemon.ts';

/** Of one cluster. */
const MOST = 200;

/** Runs of this daemon as they were told last: a look comes later, and must not make one seem to run that has ended. */
export class RecentRuns {
  readonly #runs = new Map<string, Map<string, Run>>();
  readonly #stop: () => void;

  constructor(daemon: Pick<Daemon, 'observe'>) {
    this.#stop = daemon.observe({ run: (cluster, run) => this.#take(cluster, run) });
  }

  of(cluster: string): ReadonlyMap<string, Run> {
    return this.#runs.get(cluster) ?? new Map();
  }

  close(): void {
    this.#stop();
  }

  #take(cluster: string, run: Run): void {
    const runs = this.#runs.get(cluster) ?? new Map<string, Run>();
    this.#runs.set(cluster, runs);
    runs.delete(run.id);
    runs.set(run.id, run);
    const [oldest] = runs.keys();
    if (runs.size > MOST && oldest !== undefined) runs.delete(oldest);
  }
}
