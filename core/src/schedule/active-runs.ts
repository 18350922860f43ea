/** The runs of this process, from their claim to the record of their end. */
import type { JobConfig } from '../config/config.ts';
import type { Logger } from '../contracts/plugin.ts';
import type { ScheduleClock } from './clock.ts';
import { RunLogs } from './run-log.ts';
import type { RunRecords } from './run-records.ts';
import type { ActiveRun, JobKind, Run, RunLine, RunSink } from './run.ts';
import { RunningJob, type Ending, type Work } from './running-job.ts';

export interface ActiveRunsOptions {
  readonly work: Work;
  readonly clock: ScheduleClock;
  readonly logger: Logger;
  /** Told of each run as it begins, and as it ends when its end is ours to tell. It must not throw. */
  readonly tell: RunSink;
  /** Told of each run that has ended, whoever tells of it. It must not throw. */
  readonly onEnded: (run: Run) => void;
  /** What was due and could not begin may do so now. */
  readonly onFree: () => void;
}

export class ActiveRuns {
  readonly #options: ActiveRunsOptions;
  readonly #logs: RunLogs;
  readonly #active = new Map<string, { readonly job: RunningJob; readonly finished: Promise<Run> }>();
  /** Kinds whose run is about to begin, and those of runs that were given up and go on. */
  readonly #reserved = new Set<JobKind>();
  /** Why what begins from now on is to end at once. */
  #ending: Ending | undefined;

  constructor(options: ActiveRunsOptions) {
    this.#options = options;
    this.#logs = new RunLogs(options.logger, () => options.clock.now());
  }

  get all(): readonly ActiveRun[] {
    return [...this.#active.values()].map(({ job }) => job.active);
  }

  get ids(): ReadonlySet<string> {
    return new Set(this.#active.keys());
  }

  /** Kinds of which a run goes on, or is about to begin. */
  get kinds(): readonly JobKind[] {
    return [...this.#reserved, ...this.all.map(({ kind }) => kind)];
  }

  log(id: string): readonly RunLine[] | undefined {
    return this.#logs.of(id);
  }

  /** No other run of this kind is to begin until it is launched, or released. */
  reserve(kind: JobKind): void {
    this.#reserved.add(kind);
  }

  release(kind: JobKind): void {
    this.#reserved.delete(kind);
    this.#options.onFree();
  }

  /** Begins the work of a run that is on record. */
  launch(run: Run, records: RunRecords, settings: Pick<JobConfig, 'timeout' | 'label' | 'level'>): ActiveRun {
    const { work, clock, tell } = this.#options;
    const logger = this.#logs.begin(run.id);
    logger.info({ trigger: run.trigger }, `run ${run.id} begins`);
    const { timeout, label, level } = settings;
    const job = new RunningJob({
      run,
      work,
      clock,
      logger,
      ...(timeout === undefined ? {} : { timeout }),
      ...(label === undefined ? {} : { label }),
      ...(level === undefined ? {} : { level }),
    });
    this.#active.set(run.id, { job, finished: this.#finish(job, records, logger) });
    tell(run);
    if (this.#ending !== undefined) job.end(this.#ending);
    return job.active;
  }

  /** Makes one end, and gives it when that is on record; undefined when there is none. */
  end(id: string, ending: Ending): Promise<Run> | undefined {
    const active = this.#active.get(id);
    active?.job.end(ending);
    return active?.finished;
  }

  /** Makes all end; they are not waited for. */
  endAll(ending: Ending): void {
    for (const { job } of this.#active.values()) job.end(ending);
  }

  /** From now on what begins is made to end at once: whoever stops does not wait for what has just begun. */
  endNew(ending: Ending): void {
    this.#ending = ending;
  }

  /** Resolves when nothing goes on any more, and that is on record. */
  async over(): Promise<void> {
    while (this.#active.size > 0) await Promise.all([...this.#active.values()].map(({ finished }) => finished));
  }

  /** Puts the end of a run on record, and gives it. */
  async #finish(job: RunningJob, records: RunRecords, logger: Logger): Promise<Run> {
    const { tell, onEnded, onFree } = this.#options;
    let isGone = false;
    const gone = job.gone.then(() => (isGone = true));
    const { run, error } = await job.ended;
    const isOurs = await records.end(run);
    if (!isOurs) logger.warn({}, `run ${run.id} was taken for interrupted by another daemon`);
    else if (run.state === 'failed') logger.error({ code: error?.code }, `run ${run.id} failed: ${run.summary}`);
    else logger.info({}, `run ${run.id} ${run.state}: ${run.summary}`);
    onEnded(run);
    this.#active.delete(run.id);
    if (!isGone) {
      // What does not end keeps its kind, and nothing else, from running.
      this.reserve(run.kind);
      void gone.then(() => this.release(run.kind));
    }
    if (isOurs) tell(run, error);
    onFree();
    return run;
  }
}
