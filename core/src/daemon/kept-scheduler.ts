import { ArchiveError } from '../contracts/errors.ts';
import type { ActiveRun, PlannedRun, Run, RunLine, RunRequest, Scheduler, SchedulerState } from '../schedule/run.ts';

/** The scheduler of a cluster over all its restarts: between two of them it is one that has stopped. */
export class KeptScheduler implements Scheduler {
  readonly #cluster: string;
  #scheduler: Scheduler | undefined;
  #stopped: SchedulerState = { state: 'stopped', since: Date.now(), problem: 'it was not begun yet' };

  constructor(cluster: string) {
    this.#cluster = cluster;
  }

  /** The one that works from now on; or why there is none. */
  use(scheduler: Scheduler | string): void {
    if (typeof scheduler !== 'string') this.#scheduler = scheduler;
    else {
      this.#scheduler = undefined;
      this.#stopped = { state: 'stopped', since: Date.now(), problem: scheduler };
    }
  }

  get state(): SchedulerState {
    return this.#scheduler?.state ?? this.#stopped;
  }

  planned(): readonly PlannedRun[] {
    return this.#scheduler?.planned() ?? [];
  }

  running(): readonly ActiveRun[] {
    return this.#scheduler?.running() ?? [];
  }

  log(id: string): readonly RunLine[] | undefined {
    return this.#scheduler?.log(id);
  }

  async start(request: RunRequest): Promise<ActiveRun> {
    if (this.#scheduler !== undefined) return this.#scheduler.start(request);
    throw new ArchiveError('SCHEDULER_WAITING', `the scheduler of cluster "${this.#cluster}" does not work now`, {
      hint: this.#stopped.problem === undefined ? 'Try again.' : `The reason: ${this.#stopped.problem}.`,
    });
  }

  async cancel(id: string, by: string): Promise<Run> {
    if (this.#scheduler !== undefined) return this.#scheduler.cancel(id, by);
    throw new ArchiveError('RUN_NOT_FOUND', `no run ${id} goes on here`);
  }

  async close(grace?: number): Promise<void> {
    await this.#scheduler?.close(grace);
  }
}
