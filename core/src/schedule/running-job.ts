/** One run while it goes on: its work, its timeout, and how it ends. */
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { Logger } from '../contracts/plugin.ts';
import { pause, type ScheduleClock } from './clock.ts';
import type { ActiveRun, Run } from './run.ts';

/** What the work of a run comes to. */
export interface WorkDone {
  /** One line for people. */
  readonly summary: string;
  /** Holds nothing out of the database: it is stored, and facts are not encrypted. */
  readonly result?: Readonly<Record<string, unknown>>;
  /** What it falls short of. */
  readonly failure: ArchiveError | undefined;
}

/** What the work of a run is given. */
export interface WorkContext {
  readonly run: Run;
  readonly label?: string;
  readonly level?: 'chain' | 'sample' | 'full';
  readonly signal: AbortSignal;
  /** Adds the id of the run to each line. */
  readonly logger: Logger;
  readonly onProgress: (progress: NonNullable<ActiveRun['progress']>) => void;
}

/** Does what a run is there for. It rejects when it could not, and soon after the signal has fired. */
export type Work = (context: WorkContext) => Promise<WorkDone>;

/** Why a run is made to end. */
export type Ending =
  | { readonly reason: 'asked'; readonly by: string }
  | { readonly reason: 'timeout'; readonly text: string }
  /** The process ends, or another daemon runs the jobs by now: whoever has them then does it again. */
  | { readonly reason: 'left'; readonly text: string };

/** Milliseconds of real time in which work that was cancelled has to end before it is given up. */
const PATIENCE = 60_000;

export interface RunningOptions {
  readonly run: Run;
  readonly work: Work;
  readonly clock: ScheduleClock;
  readonly logger: Logger;
  /** Milliseconds by the clock, from now on. */
  readonly timeout?: number;
  /** Default {@link PATIENCE}. */
  readonly patience?: number;
  readonly label?: string;
  readonly level?: 'chain' | 'sample' | 'full';
}

export class RunningJob {
  readonly #options: RunningOptions;
  readonly #abort = new AbortController();
  readonly #over = new AbortController();
  #ending: Ending | undefined;
  #progress: ActiveRun['progress'];
  /** How the run ended. It never rejects. */
  readonly ended: Promise<{ readonly run: Run; readonly error: ArchiveError | undefined }>;
  /** Resolves when nothing of the work goes on any more, also after it was given up. */
  readonly gone: Promise<void>;

  constructor(options: RunningOptions) {
    this.#options = options;
    const { run, work, logger, label, level } = options;
    const doing = (async () =>
      work({
        run,
        logger,
        signal: this.#abort.signal,
        onProgress: (progress) => (this.#progress = progress),
        ...(label === undefined ? {} : { label }),
        ...(level === undefined ? {} : { level }),
      }))();
    this.gone = doing.then(
      () => undefined,
      () => undefined,
    );
    this.ended = this.#watch(doing);
  }

  get active(): ActiveRun {
    const run = { ...this.#options.run, state: 'running' as const };
    return this.#progress === undefined ? run : { ...run, progress: this.#progress };
  }

  /** Makes it end; the first reason counts. */
  end(ending: Ending): void {
    if (this.#over.signal.aborted) return;
    this.#ending ??= ending;
    this.#abort.abort(new ArchiveError('ABORTED', textOf(this.#ending)));
  }

  async #watch(doing: Promise<WorkDone>): Promise<{ run: Run; error: ArchiveError | undefined }> {
    const { timeout, patience = PATIENCE } = this.#options;
    if (timeout !== undefined) void this.#endAfter(timeout);
    const givenUp = new Promise<'given up'>((resolve) => {
      this.#abort.signal.addEventListener('abort', () => {
        void pause(patience, this.#over.signal).then(() => resolve('given up'));
      });
    });
    const outcome = await Promise.race([settled(doing), givenUp]);
    this.#over.abort();
    return this.#finish(outcome === 'given up' ? { error: wedged(patience) } : outcome);
  }

  async #endAfter(timeout: number): Promise<void> {
    await this.#options.clock.sleep(timeout, this.#over.signal);
    this.end({ reason: 'timeout', text: `it was not done in ${timeout / 1000} s, its timeout` });
  }

  #finish(outcome: { readonly done: WorkDone } | { readonly error: ArchiveError }): {
    run: Run;
    error: ArchiveError | undefined;
  } {
    const { clock } = this.#options;
    const base = { ...this.#options.run, ended: Math.max(clock.now(), this.#options.run.started) };
    if ('done' in outcome && outcome.done.failure?.code !== 'ABORTED') {
      const { summary, result, failure } = outcome.done;
      const common = { ...base, summary, ...(result === undefined ? {} : { result }) };
      if (failure === undefined) return { run: { ...common, state: 'succeeded' }, error: undefined };
      return { run: { ...common, state: 'failed', error: errorFacts(failure) }, error: failure };
    }
    const error = 'done' in outcome ? (outcome.done.failure ?? wedged(0)) : outcome.error;
    // Nobody has asked for the end of what was cancelled without a word: the process ends.
    const reason = this.#ending?.reason ?? (error.code === 'ABORTED' ? 'left' : undefined);
    const summary = this.#ending === undefined ? error.message : textOf(this.#ending);
    if (reason === 'asked') return { run: { ...base, state: 'cancelled', summary }, error: undefined };
    if (reason === 'left') return { run: { ...base, state: 'interrupted', summary }, error: undefined };
    const known = this.#ending === undefined ? error : new ArchiveError('ABORTED', summary, { cause: error });
    return { run: { ...base, state: 'failed', summary, error: errorFacts(known) }, error: known };
  }
}

function errorFacts({ code, message, hint }: ArchiveError): NonNullable<Run['error']> {
  return { code, message, hint };
}

const wedged = (patience: number): ArchiveError =>
  new ArchiveError('ABORTED', `it was cancelled, and had not ended ${patience / 1000} s later`);

async function settled(doing: Promise<WorkDone>): Promise<{ done: WorkDone } | { error: ArchiveError }> {
  try {
    return { done: await doing };
  } catch (error) {
    if (isArchiveError(error)) return { error };
    const message = error instanceof Error ? error.message : String(error);
    return { error: new ArchiveError('INTERNAL', `unexpected failure: ${message}`, { cause: error }) };
  }
}

function textOf(ending: Ending): string {
  return ending.reason === 'asked' ? `cancelled by ${ending.by}` : ending.text;
}
