/** A scheduler in this process on a real server, whose work the test has in its hands. */
import { resolveTarget } from '../../core/src/postgres/target.ts';
import type { Repository } from '../../core/src/repository/repository.ts';
import { clusterLock, type TakeLead } from '../../core/src/schedule/cluster-lock.ts';
import { readHistory } from '../../core/src/schedule/history.ts';
import type { Work, WorkDone } from '../../core/src/schedule/running-job.ts';
import type { Run } from '../../core/src/schedule/run.ts';
import { JobScheduler } from '../../core/src/schedule/scheduler.ts';
import { silentLogger } from './silent-logger.ts';
import { until } from './until.ts';

export interface WorkInHand {
  readonly signal: AbortSignal;
  readonly end: () => void;
}

export class ScheduleScene {
  readonly repository: Repository;
  readonly work = new Map<string, WorkInHand>();

  constructor(repository: Repository) {
    this.repository = repository;
  }

  /** Two jobs: a drill that goes on until the test ends it, due once a second, and a check that is done at once. */
  scheduler(url: string, host: string): JobScheduler {
    return new JobScheduler({
      cluster: 'main',
      jobs: [
        { name: 'drill', do: 'drill', at: '* * * * * *', timeZone: 'UTC', jitter: 0 },
        { name: 'check', do: 'check', at: '* * * * * *', timeZone: 'UTC', jitter: 0 },
      ],
      takeLead: lockOf(url),
      repositories: [this.repository],
      writable: [this.repository],
      work: this.#work,
      logger: silentLogger,
      emit: () => undefined,
      host,
    });
  }

  readonly #work: Work = ({ run: { id, kind }, signal }) =>
    new Promise<WorkDone>((resolve, reject) => {
      const end = (): void => resolve({ summary: 'done', failure: undefined });
      if (kind === 'check') return end();
      this.work.set(id, { signal, end });
      signal.addEventListener('abort', () => reject(signal.reason as Error));
    });

  /** Runs of a kind in a state, newest first. */
  async runs(kind: Run['kind'], state: Run['state']): Promise<readonly Run[]> {
    const { runs } = await readHistory([this.repository], { limit: 1000, states: [state] });
    return runs.filter((run) => run.kind === kind);
  }

  /** The drill that goes on in a scheduler. */
  async drill(scheduler: JobScheduler): Promise<Run> {
    const found = (): Run | undefined => scheduler.running().find(({ kind }) => kind === 'drill');
    await until(
      'a drill goes on',
      () => found() !== undefined,
      () => JSON.stringify(scheduler.state),
    );
    return found() as Run;
  }
}

export function lockOf(url: string): TakeLead {
  return clusterLock({ cluster: 'main', target: () => resolveTarget({ url }, { env: {}, home: '/' }), interval: 100 });
}
