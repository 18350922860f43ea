/** Work that goes on while the client looks at it now and then. */
import { randomUUID } from 'node:crypto';
import { isArchiveError } from 'pgark';

export interface Job {
  readonly id: string;
  readonly kind: string;
  readonly state: 'running' | 'done' | 'failed';
  /** How far it is, as pgark says. */
  readonly progress: unknown;
  readonly result?: unknown;
  readonly error?: { readonly code: string; readonly message: string; readonly hint?: string };
}

interface Running {
  job: Job;
  readonly controller: AbortController;
  readonly ended: Promise<void>;
}

export class Jobs {
  readonly #jobs = new Map<string, Running>();

  /** Starts work, which is told to stop by the signal, and reports how far it is. */
  start(kind: string, work: (signal: AbortSignal, report: (progress: unknown) => void) => Promise<unknown>): Job {
    const id = randomUUID();
    const controller = new AbortController();
    const job: Job = { id, kind, state: 'running', progress: undefined };
    const report = (progress: unknown): void => change({ progress });
    const ended = work(controller.signal, report).then(
      (result) => change({ state: 'done', result }),
      (error: unknown) => change({ state: 'failed', error: errorOf(error) }),
    );
    const running: Running = { job, controller, ended };
    const change = (changed: Partial<Job>): void => void (running.job = { ...running.job, ...changed });
    this.#jobs.set(id, running);
    return job;
  }

  get(id: string): Job | undefined {
    return this.#jobs.get(id)?.job;
  }

  /** Tells it to stop; it then fails with `ABORTED`. Gives whether there is such a job. */
  cancel(id: string): boolean {
    const running = this.#jobs.get(id);
    running?.controller.abort();
    return running !== undefined;
  }

  async stop(): Promise<void> {
    for (const { controller } of this.#jobs.values()) controller.abort();
    await Promise.all([...this.#jobs.values()].map(({ ended }) => ended));
  }
}

export function errorOf(error: unknown): NonNullable<Job['error']> {
  if (!isArchiveError(error)) return { code: 'INTERNAL', message: String(error) };
  const { code, message, hint } = error;
  return { code, message, hint };
}
