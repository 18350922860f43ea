/** A scheduler whose runs last until they are cancelled or told to end: what they do is no matter of HTTP. */
import { ArchiveError } from '../../../src/contracts/errors.ts';
import type {
  ActiveRun,
  PlannedRun,
  Run,
  RunLine,
  RunRequest,
  Scheduler,
  SchedulerState,
} from '../../../src/schedule/run.ts';

export class TestScheduler implements Scheduler {
  state: SchedulerState = { state: 'running', since: Date.now() };
  readonly asked: RunRequest[] = [];
  readonly #running = new Map<string, ActiveRun>();

  planned(): readonly PlannedRun[] {
    const job = { name: 'backup', do: 'backup', at: '0 3 * * *', timeZone: 'UTC', jitter: 0 } as const;
    return [{ job, next: Date.now() + 60_000 }];
  }

  running(): readonly ActiveRun[] {
    return [...this.#running.values()];
  }

  log(id: string): readonly RunLine[] | undefined {
    return this.#running.has(id) ? [{ time: Date.now(), level: 'info', message: 'it runs' }] : undefined;
  }

  start(request: RunRequest): Promise<ActiveRun> {
    const { kind, by } = request;
    if (this.state.state !== 'running')
      return Promise.reject(new ArchiveError('SCHEDULER_WAITING', 'another daemon runs the jobs'));
    if (this.running().some((one) => one.kind === kind))
      return Promise.reject(new ArchiveError('RUN_BUSY', `a ${kind} runs`));
    this.asked.push(request);
    const now = Date.now();
    const run: ActiveRun = {
      id: `${kind}-20261130T020000Z`,
      job: kind,
      kind,
      trigger: 'request',
      by,
      planned: now,
      started: now,
      state: 'running',
      host: 'here',
      progress: { done: 1, total: 2, text: 'half of it' },
    };
    this.#running.set(run.id, run);
    return Promise.resolve(run);
  }

  cancel(id: string, by: string): Promise<Run> {
    const run = this.#running.get(id);
    if (run === undefined) return Promise.reject(new ArchiveError('RUN_NOT_FOUND', `no run ${id} goes on here`));
    this.#running.delete(id);
    const { progress: _, ...rest } = run;
    return Promise.resolve({ ...rest, state: 'cancelled', ended: Date.now(), summary: `cancelled by ${by}` });
  }

  async close(): Promise<void> {
    this.#running.clear();
  }
}
