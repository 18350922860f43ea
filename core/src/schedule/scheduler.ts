/** Runs the jobs of one cluster, while it has the lock of the cluster. */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { JobConfig } from '../config/config.ts';
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { EventSink } from '../contracts/hook.ts';
import type { Logger } from '../contracts/plugin.ts';
import type { Repository } from '../repository/repository.ts';
import { ActiveRuns } from './active-runs.ts';
import { pause, systemClock, type ScheduleClock } from './clock.ts';
import type { Lead, TakeLead } from './cluster-lock.ts';
import { blockedBy, decide, type Begin, type Skip } from './decide.ts';
import { keepEndingFormerRuns } from './former-runs.ts';
import { JobLedger } from './job-ledger.ts';
import { interruptedRun, skippedRun } from './ended-run.ts';
import { runId } from './run-facts.ts';
import type { RunRecords } from './run-records.ts';
import type { Ending, Work } from './running-job.ts';
import { SystemRecords } from './system-records.ts';
import { adoptJob, findOrphans, type Orphan } from './take-over.ts';
import { toldRuns } from './told-runs.ts';
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
/** Milliseconds by the clock of the scheduler after which it looks what is due, whatever it expects. */
const LONGEST = 86_400_000;
/** Milliseconds of real time in which runs have to end that are cancelled at the end of all, and then the rest. */
const END_PATIENCE = 20_000;

export class JobScheduler implements Scheduler {
  readonly #options: SchedulerOptions;
  readonly #clock: ScheduleClock;
  readonly #host: string;
  readonly #records: SystemRecords;
  readonly #ledgers: readonly JobLedger[];
  readonly #active: ActiveRuns;
  readonly #tell: RunSink;
  readonly #closing = new AbortController();
  readonly #main: Promise<void>;
  #orphans: readonly Orphan[] = [];
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
    this.#tell = toldRuns(options);
    this.#records = new SystemRecords({ ...options, claim: randomUUID() });
    this.#active = new ActiveRuns({
      work: options.work,
      clock: this.#clock,
      logger: options.logger,
      tell: this.#tell,
      onEnded: (run) => this.#noteInterrupted(run),
      onFree: () => this.#wake.abort(),
    });
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
    return this.#active.all;
  }

  log(id: string): readonly RunLine[] | undefined {
    return this.#active.log(id);
  }

  async start(request: RunRequest): Promise<ActiveRun> {
    const { kind, by } = request;
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
    this.#active.reserve(kind);
    try {
      const now = this.#clock.now();
      // No whole second: those are of the cron expressions.
      let planned = now % 1000 === 0 ? now + 1 : now;
      for (;;) {
        const run = this.#newRun({ job: kind, kind, planned, trigger: 'request', by });
        if (await records.begin(run, { signal: this.#closing.signal }))
          return this.#active.launch(run, records, request);
        planned += planned % 1000 === 999 ? 2 : 1;
      }
    } finally {
      this.#active.release(kind);
    }
  }

  async cancel(id: string, by: string): Promise<Run> {
    const ended = this.#active.end(id, { reason: 'asked', by });
    if (ended === undefined) throw new ArchiveError('RUN_NOT_FOUND', `run ${id} does not go on in this daemon`);
    return ended;
  }

  close(grace = 0): Promise<void> {
    this.#closed ??= (async () => {
      this.#active.endNew(this.#stopped);
      this.#drained = this.#drain(grace);
      this.#closing.abort(new ArchiveError('ABORTED', 'the scheduler is being stopped'));
      this.#wake.abort();
      await this.#drained;
      const over = new AbortController();
      // A server that hangs must not keep the process from its end.
      await Promise.race([this.#main.then(() => over.abort()), pause(END_PATIENCE, over.signal)]);
      this.#set('stopped');
    })();
    return this.#closed;
  }

  /** Waits for what runs, cancels it after a grace, and waits until that is on record. */
  async #drain(grace: number): Promise<void> {
    const over = new AbortController();
    const ended = this.#active.over().then(() => over.abort());
    await pause(grace, over.signal);
    this.#active.endAll(this.#stopped);
    await Promise.race([ended, pause(END_PATIENCE, over.signal)]);
    over.abort();
    await this.#records.settle();
  }

  get #stopped(): Ending {
    return { reason: 'left', text: `the daemon on ${this.#host} was stopped` };
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
            if (taken)
              this.#active.endAll({ reason: 'left', text: `the lock of the cluster was lost, and ${problem}` });
          },
        });
        await this.#lead(lead);
      } catch (error) {
        if (signal.aborted) break;
        this.#set('waiting', messageOf(error));
        logger.error({ error }, `the scheduler of cluster "${cluster}" begins anew: ${messageOf(error)}`);
        await this.#clock.sleep(RETRY, signal);
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
    const records = this.#records.of(systemId);
    if (!(await this.#takeOver(records, stop))) return this.#lostLead(lost);
    const former = keepEndingFormerRuns({
      find: () => this.#records.others(systemId, { signal: stop }),
      running: () => this.#active.ids,
      clock: this.#clock,
      logger,
      signal: stop,
    });
    let since = this.#clock.now();
    const judgeAt = this.#clock.elapsed() + TAKEOVER;
    let settleAt = 0;
    logger.info({ host }, `this daemon runs the jobs of cluster "${cluster}"`);
    this.#set('running');
    this.#leading = { records, lost };
    stop.addEventListener('abort', () => this.#wake.abort(), { once: true });
    while (!stop.aborted) {
      this.#wake = new AbortController();
      const now = this.#clock.now();
      const elapsed = this.#clock.elapsed();
      // A clock that was put back must not make a moment seem missed that is yet to come.
      since = Math.min(since, now);
      const wakes: number[] = [];
      try {
        if (this.#records.owes && elapsed >= settleAt) {
          await this.#records.settle();
          settleAt = this.#clock.elapsed() + RETRY;
        }
        if (this.#orphans.length > 0) {
          if (elapsed >= judgeAt) await this.#judge(records);
          else wakes.push(now + judgeAt - elapsed);
        }
        const decision = decide(
          this.#ledgers.map((ledger) => ledger.view(now)),
          { now, since, running: this.#busy() },
        );
        for (const skip of decision.skips) await this.#skip(skip, records, stop);
        for (const begin of decision.begins) await this.#begin(begin, records, stop);
        if (decision.wake !== undefined) wakes.push(decision.wake);
        if (!stop.aborted) this.#set('running');
      } catch (error) {
        if (stop.aborted) break;
        // Nothing begins that is not on record; what is due stays due.
        const problem = messageOf(error);
        // One outage is one line.
        if (this.#state.problem !== problem)
          logger.error({ error }, `a run could not be put on record, and does not begin: ${problem}`);
        this.#set('running', problem);
        await this.#clock.sleep(elapsed + RETRY - this.#clock.elapsed(), stop);
        continue;
      }
      if (this.#records.owes) wakes.push(now + Math.max(0, settleAt - elapsed));
      await this.#clock.sleepUntil(Math.min(now + LONGEST, ...wakes), this.#wake.signal);
    }
    this.#lostLead(lost);
    await former;
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
        // How one ended here is known, also where it could not be written yet.
        const running = new Set([...this.#active.ids, ...records.owed]);
        this.#orphans = await findOrphans(loaded, { records, running, signal: stop });
        return true;
      } catch (error) {
        if (stop.aborted) return false;
        const problem = `which runs there were is not known: ${messageOf(error)}`;
        if (this.#state.problem !== problem) this.#options.logger.warn({ error }, `no job begins: ${problem}`);
        this.#set('waiting', problem);
        await this.#clock.sleep(RETRY, stop);
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
    this.#noteInterrupted(run);
    this.#tell(run);
  }

  /** Its moment may be tried once more. */
  #noteInterrupted({ id, job, planned, state, trigger }: Run): void {
    if (state === 'interrupted' && trigger !== 'request') this.#ledger(job)?.interrupted(id, planned);
  }

  async #skip(skip: Skip, records: RunRecords, signal: AbortSignal): Promise<void> {
    const { name, do: kind } = skip.view.job;
    const trigger = skip.reason === 'away' ? 'catch-up' : 'schedule';
    const run = skippedRun(this.#newRun({ job: name, kind, planned: skip.last, trigger }), skip);
    const isOurs = await records.begin(run, { signal });
    this.#ledger(name)?.add([skip.last]);
    if (!isOurs) return;
    await records.end(run);
    this.#tell(run);
  }

  async #begin({ view, planned, trigger, repeats }: Begin, records: RunRecords, signal: AbortSignal): Promise<void> {
    const { name, do: kind } = view.job;
    // A request may have come first while others were put on record.
    if (blockedBy(kind, this.#busy()) !== undefined || signal.aborted) return;
    this.#active.reserve(kind);
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
      this.#active.launch(run, records, view.job);
    } finally {
      this.#active.release(kind);
    }
  }

  #ledger(name: string): JobLedger | undefined {
    return this.#ledgers.find(({ job }) => job.name === name);
  }

  #newRun(of: Pick<Run, 'job' | 'kind' | 'planned' | 'trigger'> & { readonly by?: string }): Run {
    return { id: runId(of.job, of.planned), ...of, started: this.#clock.now(), state: 'running', host: this.#host };
  }

  #busy(): ReadonlySet<JobKind> {
    const orphans = this.#orphans.flatMap(({ run }) =>
      run === undefined || run.state === 'skipped' ? [] : [run.kind],
    );
    return new Set([...this.#active.kinds, ...orphans]);
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
