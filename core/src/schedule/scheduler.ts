/** Runs the jobs of one cluster, while it has the lock of the cluster. */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { JobConfig } from '../config/config.ts';
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { EventSink } from '../contracts/hook.ts';
import type { Logger } from '../contracts/plugin.ts';
import type { Repository } from '../repository/repository.ts';
import { pause, systemClock, type ScheduleClock } from './clock.ts';
import type { Lead, TakeLead } from './cluster-lock.ts';
import { blockedBy, decide, type Begin, type Skip } from './decide.ts';
import { JobLedger } from './job-ledger.ts';
import { interruptedRun, skippedRun } from './ended-run.ts';
import { runId } from './run-facts.ts';
import { RunLogs } from './run-log.ts';
import { RunRecords } from './run-records.ts';
import { RunningJob, type Ending, type Work } from './running-job.ts';
import { adoptJob, findOrphans, type Orphan } from './take-over.ts';
import type {
  ActiveRun,
  JobKind,
  PlannedRun,
  Run,
  RunLine,
  RunRequest,
  RunSink,
  Scheduler,
  SchedulerState,
} from './run.ts';

export interface SchedulerOptions {
  readonly cluster: string;
  readonly jobs: readonly JobConfig[];
  readonly takeLead: TakeLead;
  /** In the order of the config. */
  readonly repositories: readonly Repository[];
  readonly writable: readonly Repository[];
  readonly work: Work;
  readonly logger: Logger;
  readonly emit: EventSink;
  readonly onRun?: RunSink;
  /** Default that of this host. */
  readonly clock?: ScheduleClock;
  /** Default the name of this host. */
  readonly host?: string;
}

/**
 * Milliseconds by the clock of the scheduler before a run without an end is taken for interrupted: whoever began it may have lost the lock a
 * moment ago, and is about to say how it ended.
 */
const TAKEOVER = 15_000;
/** Milliseconds by the clock of the scheduler before something is tried again that a repository did not take. */
const RETRY = 10_000;
/** Milliseconds of real time in which runs have to end that are cancelled at the end of all. */
const END_PATIENCE = 20_000;

export class JobScheduler implements Scheduler {
  readonly #options: SchedulerOptions;
  readonly #clock: ScheduleClock;
  readonly #host: string;
  readonly #claim = randomUUID();
  readonly #logs: RunLogs;
  readonly #ledgers: readonly JobLedger[];
  readonly #active = new Map<string, { readonly job: RunningJob; readonly finished: Promise<Run> }>();
  /** Kinds whose run is about to begin, and those of runs that were given up and go on. */
  readonly #reserved = new Set<JobKind>();
  readonly #closing = new AbortController();
  readonly #main: Promise<void>;
  #orphans: readonly Orphan[] = [];
  #records: RunRecords | undefined;
  /** Set while this one runs the jobs. */
  #leading: { readonly records: RunRecords; readonly lost: AbortSignal } | undefined;
  #state: SchedulerState;
  #wake = new AbortController();
  #closed: Promise<void> | undefined;
  #drained: Promise<void> | undefined;

  /** Begins at once. */
  constructor(options: SchedulerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#host = options.host ?? hostname();
    this.#logs = new RunLogs(options.logger, () => this.#clock.now());
    const now = this.#clock.now();
    this.#ledgers = options.jobs.map((job) => new JobLedger(job, options.cluster, now));
    this.#state = { state: 'waiting', since: now, problem: 'the server is being asked who runs the jobs' };
    this.#main = this.#run();
  }

  get state(): SchedulerState {
    return this.#state;
  }

  planned(): readonly PlannedRun[] {
    const now = this.#clock.now();
    return this.#ledgers.map(({ job, moments }) => {
      const next = moments.nextBegin(now);
      return next === undefined ? { job } : { job, next };
    });
  }

  running(): readonly ActiveRun[] {
    return [...this.#active.values()].map(({ job }) => job.active);
  }

  log(id: string): readonly RunLine[] | undefined {
    return this.#logs.of(id);
  }

  async start(request: RunRequest): Promise<ActiveRun> {
    const { kind, by, label, level } = request;
    const leading = this.#leading;
    if (leading === undefined || leading.lost.aborted || this.#closing.signal.aborted)
      throw new ArchiveError(
        'SCHEDULER_WAITING',
        `this daemon does not run the jobs of cluster "${this.#options.cluster}": ${this.#state.problem ?? 'it is being stopped'}`,
      );
    const { records } = leading;
    const other = blockedBy(kind, this.#busy());
    if (other !== undefined)
      throw new ArchiveError('RUN_BUSY', `a run of ${other} goes on in cluster "${this.#options.cluster}"`);
    this.#reserved.add(kind);
    try {
      const now = this.#clock.now();
      // No whole second: those are of the cron expressions.
      let planned = now % 1000 === 0 ? now + 1 : now;
      for (;;) {
        const run = this.#newRun({ job: kind, kind, planned, trigger: 'request', by });
        if (await records.begin(run, { signal: this.#closing.signal })) {
          const settings = { ...(label === undefined ? {} : { label }), ...(level === undefined ? {} : { level }) };
          return this.#launch(run, records, settings);
        }
        planned += planned % 1000 === 999 ? 2 : 1;
      }
    } finally {
      this.#release(kind);
    }
  }

  async cancel(id: string, by: string): Promise<Run> {
    const active = this.#active.get(id);
    if (active === undefined) throw new ArchiveError('RUN_NOT_FOUND', `run ${id} does not go on in this daemon`);
    active.job.end({ reason: 'asked', by });
    return active.finished;
  }

  close(grace = 0): Promise<void> {
    this.#closed ??= (async () => {
      this.#drained = this.#drain(grace);
      this.#closing.abort(new ArchiveError('ABORTED', 'the scheduler is being stopped'));
      this.#wake.abort();
      await this.#drained;
      await this.#main;
      this.#set('stopped');
    })();
    return this.#closed;
  }

  /** Waits for what runs, cancels it after a grace, and waits until that is on record. */
  async #drain(grace: number): Promise<void> {
    const over = new AbortController();
    const all = async (): Promise<void> => {
      while (this.#active.size > 0) await Promise.all([...this.#active.values()].map(({ finished }) => finished));
      over.abort();
    };
    const ended = all();
    await pause(grace, over.signal);
    this.#endAll({ reason: 'left', text: `the daemon on ${this.#host} was stopped` });
    await Promise.race([ended, pause(END_PATIENCE, over.signal)]);
    over.abort();
    if (this.#records?.owes === true) await this.#records.settle();
  }

  #endAll(ending: Ending): void {
    for (const { job } of this.#active.values()) job.end(ending);
  }

  async #run(): Promise<void> {
    const { takeLead, logger, cluster } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      let lead: Lead | undefined;
      try {
        lead = await takeLead({
          signal,
          onWaiting: ({ taken, problem }) => {
            if (this.#state.problem !== problem) logger.info({}, `no job begins here: ${problem}`);
            this.#set('waiting', problem);
            // From now on they are another one's: it takes them for interrupted, and does them again.
            if (taken) this.#endAll({ reason: 'left', text: `the lock of the cluster was lost, and ${problem}` });
          },
        });
        await this.#lead(lead);
      } catch (error) {
        if (signal.aborted) break;
        this.#set('waiting', messageOf(error));
        logger.error({ error }, `the scheduler of cluster "${cluster}" begins anew: ${messageOf(error)}`);
        await this.#clock.sleepUntil(this.#clock.now() + RETRY, signal);
      } finally {
        this.#leading = undefined;
        // What runs is put on record while nobody else can take it for interrupted.
        if (signal.aborted) await this.#drained;
        await lead?.release();
      }
    }
  }

  /** Runs the jobs until the lock is lost. */
  async #lead({ systemId, host, lost }: Lead): Promise<void> {
    const { logger, cluster } = this.#options;
    const stop = AbortSignal.any([this.#closing.signal, lost]);
    if (this.#records?.systemId !== systemId)
      this.#records = new RunRecords({ ...this.#options, systemId, claim: this.#claim });
    const records = this.#records;
    if (!(await this.#takeOver(records, stop))) return this.#lostLead(lost);
    let since = this.#clock.now();
    let judgeAt = since + TAKEOVER;
    logger.info({ host }, `this daemon runs the jobs of cluster "${cluster}"`);
    this.#set('running');
    this.#leading = { records, lost };
    let mayWrite = since;
    stop.addEventListener('abort', () => this.#wake.abort(), { once: true });
    while (!stop.aborted) {
      this.#wake = new AbortController();
      const now = this.#clock.now();
      // A clock that was put back must not make anything wait for what it showed before.
      since = Math.min(since, now);
      judgeAt = Math.min(judgeAt, now + TAKEOVER);
      mayWrite = Math.min(mayWrite, now + RETRY);
      let wake: number | undefined;
      try {
        if (this.#orphans.length > 0) {
          if (now >= judgeAt) await this.#judge(records);
          else wake = judgeAt;
        }
        if (records.owes && now >= mayWrite) await records.settle();
        const decision = decide(
          this.#ledgers.map((ledger) => ledger.view(now)),
          { now, since, running: this.#busy() },
        );
        for (const skip of decision.skips) await this.#skip(skip, records, stop);
        for (const begin of decision.begins) await this.#begin(begin, records, stop);
        wake = Math.min(wake ?? Number.POSITIVE_INFINITY, decision.wake ?? Number.POSITIVE_INFINITY);
        if (!stop.aborted) this.#set('running');
      } catch (error) {
        if (stop.aborted) break;
        // Nothing begins that is not on record; what is due stays due.
        const problem = messageOf(error);
        // One outage is one line.
        if (this.#state.problem !== problem)
          logger.error({ error }, `a run could not be put on record, and does not begin: ${problem}`);
        this.#set('running', problem);
        mayWrite = now + RETRY;
        await this.#clock.sleepUntil(mayWrite, stop);
        continue;
      }
      if (records.owes) {
        mayWrite = Math.max(mayWrite, now + RETRY);
        wake = Math.min(wake, mayWrite);
      }
      await this.#clock.sleepUntil(Number.isFinite(wake) ? wake : now + 86_400_000, this.#wake.signal);
    }
    this.#lostLead(lost);
  }

  #lostLead(lost: AbortSignal): void {
    if (!lost.aborted || this.#closing.signal.aborted) return;
    const problem = messageOf(lost.reason);
    this.#set('waiting', problem);
    this.#options.logger.warn({ problem }, `no more jobs begin here until the lock of the cluster is back: ${problem}`);
  }

  /** Reads what is on record; gives whether it could before it was stopped. */
  async #takeOver(records: RunRecords, stop: AbortSignal): Promise<boolean> {
    while (!stop.aborted) {
      try {
        const loaded = await records.load({ signal: stop });
        for (const ledger of this.#ledgers)
          await adoptJob(ledger, loaded.get(ledger.job.name), { records, now: this.#clock.now(), signal: stop });
        this.#orphans = await findOrphans(loaded, { records, running: new Set(this.#active.keys()), signal: stop });
        return true;
      } catch (error) {
        if (stop.aborted) return false;
        const problem = `which runs there were is not known: ${messageOf(error)}`;
        if (this.#state.problem !== problem) this.#options.logger.warn({ error }, `no job begins: ${problem}`);
        this.#set('waiting', problem);
        await this.#clock.sleepUntil(this.#clock.now() + RETRY, stop);
      }
    }
    return false;
  }

  /** Puts on record of runs whose daemon is gone that they were interrupted. */
  async #judge(records: RunRecords): Promise<void> {
    const orphans = this.#orphans;
    const loaded = await records.load({ signal: this.#closing.signal });
    for (const { job, planned, run } of orphans) {
      const isOpen = loaded.get(job)?.open.includes(planned) === true;
      if (!isOpen) continue;
      if (run !== undefined) await this.#interrupted(run, records);
      else
        this.#options.logger.warn(
          { job },
          `the record of run ${runId(job, planned)} cannot be read: how it ended is not known`,
        );
    }
    this.#orphans = [];
  }

  async #interrupted(begun: Run, records: RunRecords): Promise<void> {
    const run = interruptedRun(begun, this.#clock.now());
    // It may have said in this very moment how it ended.
    const isOurs = await records.end(run);
    if (run.state === 'skipped' || !isOurs) return;
    const ledger = this.#ledgers.find(({ job }) => job.name === run.job);
    if (run.trigger !== 'request') ledger?.interrupted(run.id, run.planned);
    this.#tell(run, undefined);
  }

  async #skip(skip: Skip, records: RunRecords, signal: AbortSignal): Promise<void> {
    const { name, do: kind } = skip.view.job;
    const trigger = skip.reason === 'away' ? 'catch-up' : 'schedule';
    const run = skippedRun(this.#newRun({ job: name, kind, planned: skip.last, trigger }), skip);
    const isOurs = await records.begin(run, { signal });
    this.#ledger(name)?.add([skip.last]);
    if (!isOurs) return;
    await records.end(run);
    this.#tell(run, undefined);
  }

  async #begin({ view, planned, trigger, repeats }: Begin, records: RunRecords, signal: AbortSignal): Promise<void> {
    const { name, do: kind, timeout, label, level } = view.job;
    // A request may have come first while others were put on record.
    if (blockedBy(kind, this.#busy()) !== undefined || signal.aborted) return;
    this.#reserved.add(kind);
    try {
      const run = {
        ...this.#newRun({ job: name, kind, planned, trigger }),
        ...(repeats === undefined ? {} : { repeats }),
      };
      const isOurs = await records.begin(run, { signal });
      this.#ledger(name)?.begun(planned);
      if (!isOurs) {
        this.#options.logger.warn({ run: run.id }, `run ${run.id} is another one's already`);
        return;
      }
      this.#launch(run, records, {
        ...(timeout === undefined ? {} : { timeout }),
        ...(label === undefined ? {} : { label }),
        ...(level === undefined ? {} : { level }),
      });
    } finally {
      this.#release(kind);
    }
  }

  /** What was due and could not begin beside it may do so now. */
  #release(kind: JobKind): void {
    this.#reserved.delete(kind);
    this.#wake.abort();
  }

  #ledger(name: string): JobLedger | undefined {
    return this.#ledgers.find(({ job }) => job.name === name);
  }

  #newRun(of: Pick<Run, 'job' | 'kind' | 'planned' | 'trigger'> & { readonly by?: string }): Run {
    return { id: runId(of.job, of.planned), ...of, started: this.#clock.now(), state: 'running', host: this.#host };
  }

  /** Begins the work of a run that is on record. */
  #launch(run: Run, records: RunRecords, settings: Pick<JobConfig, 'timeout' | 'label' | 'level'>): ActiveRun {
    const logger = this.#logs.begin(run.id);
    logger.info({ trigger: run.trigger }, `run ${run.id} begins`);
    const job = new RunningJob({ run, work: this.#options.work, clock: this.#clock, logger, ...settings });
    this.#active.set(run.id, { job, finished: this.#finish(job, records, logger) });
    this.#options.onRun?.(run);
    // Whoever stops does not wait for what has just begun.
    if (this.#closing.signal.aborted) job.end({ reason: 'left', text: `the daemon on ${this.#host} was stopped` });
    return job.active;
  }

  /** Puts the end of a run on record, and gives it. */
  async #finish(job: RunningJob, records: RunRecords, logger: Logger): Promise<Run> {
    let isGone = false;
    const gone = job.gone.then(() => (isGone = true));
    const { run, error } = await job.ended;
    const isOurs = await records.end(run);
    if (!isOurs) logger.warn({}, `run ${run.id} was taken for interrupted by another daemon`);
    else if (run.state === 'failed') logger.error({ code: error?.code }, `run ${run.id} failed: ${run.summary}`);
    else logger.info({}, `run ${run.id} ${run.state}: ${run.summary}`);
    if (run.state === 'interrupted' && run.trigger !== 'request')
      this.#ledger(run.job)?.interrupted(run.id, run.planned);
    this.#active.delete(run.id);
    if (!isGone) {
      // What does not end keeps its kind, and nothing else, from running.
      this.#reserved.add(run.kind);
      void this.#free(run.kind, gone);
    }
    if (isOurs) this.#tell(run, error);
    this.#wake.abort();
    return run;
  }

  async #free(kind: JobKind, gone: Promise<unknown>): Promise<void> {
    await gone;
    this.#release(kind);
  }

  #busy(): ReadonlySet<JobKind> {
    const active = [...this.#active.values()].map(({ job }) => job.active.kind);
    const orphans = this.#orphans.flatMap(({ run }) =>
      run === undefined || run.state === 'skipped' ? [] : [run.kind],
    );
    return new Set([...this.#reserved, ...active, ...orphans]);
  }

  #tell(run: Run, error: ArchiveError | undefined): void {
    const { emit, onRun } = this.#options;
    const { id, job, kind, state, summary = '' } = run;
    onRun?.(run, error);
    if (state === 'succeeded') emit('run.finished', { run: id, job, kind, message: summary });
    else if (state === 'failed' || state === 'interrupted' || state === 'skipped')
      emit('run.failed', { run: id, job, kind, state, code: error?.code ?? '', message: error?.message ?? summary });
  }

  #set(state: SchedulerState['state'], problem?: string): void {
    if (this.#state.state === 'stopped') return;
    const since = this.#state.state === state ? this.#state.since : this.#clock.now();
    this.#state = { state, since, ...(problem === undefined ? {} : { problem }) };
  }
}

function messageOf(error: unknown): string {
  return isArchiveError(error) || error instanceof Error ? error.message : String(error);
}
