/** Schedulers on repositories in memory, whose clock and whose work the test has in its hands. */
import { isArchiveError } from '@pgark/sdk';
import { MemoryStorage } from '@pgark/storage-memory';
import { expect, onTestFinished } from 'vitest';
import { until } from '../../../test/support/until.ts';
import type { JobConfig } from '../../src/config/config.ts';
import { ArchiveError } from '../../src/contracts/errors.ts';
import type { ArchiveEvents, EventName } from '../../src/contracts/hook.ts';
import type { Storage } from '../../src/contracts/storage.ts';
import type { Repository } from '../../src/repository/repository.ts';
import type { Lead, TakeLead } from '../../src/schedule/cluster-lock.ts';
import { readHistory } from '../../src/schedule/history.ts';
import type { Work, WorkContext, WorkDone } from '../../src/schedule/running-job.ts';
import type { Run } from '../../src/schedule/run.ts';
import { JobScheduler } from '../../src/schedule/scheduler.ts';
import { recordingLogger } from '../plugins/support.ts';
import { repositoryOn, SYSTEM } from '../retention/small-archive.ts';
import { ManualClock } from './manual-clock.ts';

export const HOUR = 3_600_000;

export const leads = (scheduler: JobScheduler): Promise<void> =>
  until(
    'it runs the jobs',
    () => scheduler.state.state === 'running',
    () => JSON.stringify(scheduler.state),
  );

export const withCode = (code: string): unknown =>
  expect.toSatisfy((error) => isArchiveError(error) && error.code === code, code);

export function job(settings: Partial<JobConfig> & Pick<JobConfig, 'do' | 'at'>): JobConfig {
  return { name: settings.do, timeZone: 'UTC', jitter: 0, ...settings };
}

/** A storage in memory that can be away. */
export class AwayStorage extends MemoryStorage {
  isAway = false;
  /** Calls while it was away. */
  refused = 0;

  override async put(...args: Parameters<Storage['put']>): Promise<void> {
    this.#answer();
    await super.put(...args);
  }

  override async *list(...args: Parameters<Storage['list']>): ReturnType<MemoryStorage['list']> {
    this.#answer();
    yield* super.list(...args);
  }

  override async *get(...args: Parameters<Storage['get']>): ReturnType<MemoryStorage['get']> {
    this.#answer();
    yield* super.get(...args);
  }

  #answer(): void {
    if (!this.isAway) return;
    this.refused += 1;
    throw new ArchiveError('STORAGE_UNAVAILABLE', 'the storage does not answer');
  }
}

/** Work that goes on until the test ends it. */
interface Ongoing {
  readonly context: WorkContext;
  readonly end: (done?: Partial<WorkDone>) => void;
  readonly fail: (error: unknown) => void;
}

export interface SceneOptions {
  readonly now?: string;
  readonly storages?: readonly AwayStorage[];
  /** Whether the work ends at once when it is cancelled. Default true. */
  readonly heedsSignal?: boolean;
}

/** What is there before and after a scheduler. */
export class Scene {
  readonly clock: ManualClock;
  readonly storages: readonly AwayStorage[];
  readonly repositories: readonly Repository[];
  readonly events: { readonly name: EventName; readonly data: ArchiveEvents[EventName] }[] = [];
  readonly ongoing = new Map<string, Ongoing>();
  readonly begun: string[] = [];
  readonly #heedsSignal: boolean;

  private constructor({
    now = '2026-05-01T00:00:00Z',
    storages = [new AwayStorage()],
    heedsSignal = true,
  }: SceneOptions) {
    this.clock = new ManualClock(now);
    this.storages = storages;
    this.repositories = storages.map((storage, at) => repositoryOn(storage, `repository${at}`));
    this.#heedsSignal = heedsSignal;
  }

  static async set(options: SceneOptions = {}): Promise<Scene> {
    const scene = new Scene(options);
    for (const repository of scene.repositories) await repository.open({ create: true });
    return scene;
  }

  /** A scheduler that has the lock, until the test takes it away. */
  scheduler(
    jobs: readonly JobConfig[],
    { takeLead = granted().takeLead, host = 'backup1' }: { takeLead?: TakeLead; host?: string } = {},
  ): JobScheduler {
    const { clock, repositories } = this;
    const scheduler = new JobScheduler({
      cluster: 'main',
      jobs,
      takeLead,
      repositories,
      writable: repositories,
      work: this.work,
      logger: recordingLogger(),
      emit: (name, data) => void this.events.push({ name, data }),
      clock,
      host,
    });
    onTestFinished(() => scheduler.close());
    return scheduler;
  }

  readonly work: Work = (context) =>
    new Promise((resolve, reject) => {
      const { id } = context.run;
      this.begun.push(id);
      const over = (): void => void this.ongoing.delete(id);
      this.ongoing.set(id, {
        context,
        end: (done = {}) => (over(), resolve({ summary: 'done', failure: undefined, ...done })),
        fail: (error) => (over(), reject(error)),
      });
      if (this.#heedsSignal)
        context.signal.addEventListener('abort', () => (over(), reject(context.signal.reason as Error)));
    });

  async begins(id: string): Promise<Ongoing> {
    await until(
      `${id} begins`,
      () => this.ongoing.has(id),
      () => `begun: ${this.begun.join(', ')}`,
    );
    return this.ongoing.get(id) as Ongoing;
  }

  async history(): Promise<readonly Run[]> {
    return (await readHistory(this.repositories, { limit: 1000 })).runs;
  }

  /** Waits for a run with this state on record. */
  async recorded(id: string, state: Run['state']): Promise<Run> {
    let found: Run | undefined;
    let all: readonly Run[] = [];
    await until(
      `${id} is ${state}`,
      async () => {
        all = await this.history();
        found = all.find((run) => run.id === id && run.state === state);
        return found !== undefined;
      },
      () => JSON.stringify(all),
    );
    return found as Run;
  }
}

/** A lock that is always there. */
export function granted(): { takeLead: TakeLead; lose: () => void; become: (systemId: string) => void } {
  let lost = new AbortController();
  let system = SYSTEM;
  const takeLead: TakeLead = async (): Promise<Lead> => {
    lost = new AbortController();
    return { systemId: system, host: 'db1:5432', lost: lost.signal, release: async () => undefined };
  };
  const lose = (): void => lost.abort(new ArchiveError('SCHEDULER_WAITING', 'the connection was lost'));
  const become = (systemId: string): void => {
    system = systemId;
    lose();
  };
  return { takeLead, lose, become };
}
