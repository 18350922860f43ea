/** The runs of one system on record, in all repositories that answer. */
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { Logger } from '../contracts/plugin.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { allAnswers, answersOf } from '../repository/all-answers.ts';
import type { Fact } from '../repository/facts.ts';
import { jobSubject } from '../repository/layout.ts';
import { failureOf, repositoryFailure, type RepositoryFailure } from '../repository/repository-failure.ts';
import type { Repository } from '../repository/repository.ts';
import { BEGUN, ENDED, factOf, PLANNED, runOf } from './run-facts.ts';
import type { Run } from './run.ts';

/** Milliseconds for one repository: one that hangs must not keep a backup from being taken into another. */
const PATIENCE = 15_000;
/** Milliseconds for reading all names. */
const LISTING_PATIENCE = 120_000;

export interface RunRecordsOptions {
  readonly systemId: string;
  /** In the order of the config, which is the order of claiming. */
  readonly repositories: readonly Repository[];
  readonly writable: readonly Repository[];
  /** Tells what this scheduler wrote from what others did. */
  readonly claim: string;
  readonly logger: Logger;
}

/** What is on record of a job, by names alone. Times in epoch milliseconds, ascending. */
export interface JobRecords {
  readonly begun: readonly number[];
  /** Those without an end: they run, or whoever ran them is gone. */
  readonly open: readonly number[];
  readonly ended: readonly number[];
  /** Facts of the kind `planned`. */
  readonly planned: readonly number[];
}

/** Of one fact. */
interface Place {
  readonly job: string;
  readonly kind: string;
  /** Epoch milliseconds. */
  readonly time: number;
}

export class RunRecords {
  readonly systemId: string;
  readonly #options: RunRecordsOptions;
  /** Ends that are not in every repository yet. */
  #owed: readonly { readonly run: Run; readonly repositories: readonly Repository[] }[] = [];

  constructor(options: RunRecordsOptions) {
    this.systemId = options.systemId;
    this.#options = options;
  }

  /** Reads which runs there were, as one over all repositories that answer. Errors: when none does, theirs; `ABORTED`. */
  async load(options: CallOptions): Promise<ReadonlyMap<string, JobRecords>> {
    const { repositories } = this.#options;
    const { answers, failures } = await answersOf(
      repositories,
      (repository) => within(LISTING_PATIENCE, repository, options, (call) => this.#names(repository, call)),
      options,
    );
    this.#someAnswer(answers.length, failures);
    for (const { repository, error } of failures)
      this.#options.logger.warn({ repository, error }, `repository ${repository} does not say which runs there were`);
    const times = new Map<string, Map<string, Set<number>>>();
    for (const { subject, kind, time } of answers.flatMap(({ value }) => value)) {
      const of = times.get(subject) ?? new Map<string, Set<number>>();
      times.set(subject, of.set(kind, (of.get(kind) ?? new Set()).add(time)));
    }
    return new Map(
      [...times].map(([job, of]) => {
        const sorted = (kind: string): readonly number[] => [...(of.get(kind) ?? [])].sort((one, other) => one - other);
        const begun = sorted(BEGUN);
        const ended = of.get(ENDED) ?? new Set();
        return [
          job,
          { begun, ended: sorted(ENDED), planned: sorted(PLANNED), open: begun.filter((at) => !ended.has(at)) },
        ];
      }),
    );
  }

  /** Reads one fact from the first repository that has it whole; undefined when all that answer have none. Errors: when none answers, theirs. */
  async read(job: string, kind: string, time: number, options: CallOptions): Promise<Fact | undefined> {
    const failures: RepositoryFailure[] = [];
    for (const repository of this.#options.repositories) {
      try {
        return await this.#factIn(repository, { job, kind, time }, options);
      } catch (error) {
        // What is damaged says nothing, and must not keep all jobs from running.
        const saysNothing = isArchiveError(error, 'STORAGE_NOT_FOUND') || isArchiveError(error, 'REPOSITORY_FORMAT');
        if (!saysNothing) failures.push(repositoryFailure(repository.name, error));
      }
    }
    const [first, ...more] = failures;
    if (first !== undefined) throw failureOf([first, ...more]);
    return undefined;
  }

  /** The run of a fact; undefined when it is not there or not of a known form. Errors: as {@link read}. */
  async run(
    job: string,
    kind: typeof BEGUN | typeof ENDED,
    planned: number,
    options: CallOptions,
  ): Promise<Run | undefined> {
    const fact = await this.read(job, kind, planned, options);
    return fact === undefined ? undefined : runOf(job, fact);
  }

  /**
   * Claims a moment of a job: gives whether it is ours. The first repository of the config that answers decides, so that of two who claim
   * at once not both are refused; the others are told after it. Errors: when none answers, theirs; nothing may begin then.
   */
  async begin(run: Run, options: CallOptions): Promise<boolean> {
    const { writable } = this.#options;
    const fact = factOf(BEGUN, run, this.#options.claim);
    const failures: RepositoryFailure[] = [];
    for (const [at, repository] of writable.entries()) {
      try {
        if (!(await this.#addTo(repository, run.job, fact, options))) return false;
      } catch (error) {
        failures.push(repositoryFailure(repository.name, error));
        continue;
      }
      // They only make the record easier to find: its end is written to all.
      for (const other of writable.slice(at + 1))
        this.#addTo(other, run.job, fact, {}).catch((error: unknown) => this.#unwritten(other, run, error));
      return true;
    }
    this.#someAnswer(0, failures);
    return false;
  }

  /**
   * Puts the end of a run on record, in all repositories; in those that do not answer with {@link settle}. Gives whether it is ours: not when
   * somebody has taken it for interrupted before. It does not throw.
   */
  async end(run: Run): Promise<boolean> {
    return this.#endAll(run, this.#options.writable);
  }

  /**
   * As {@link end}, in those repositories alone that hold the beginning of the run: a system may have been removed from one, or never have been
   * in it. Gives false when none holds it. Errors: when one does not answer, its.
   */
  async endWhereBegun(run: Run, options: CallOptions): Promise<boolean> {
    const { job, planned: time } = run;
    const answers = await allAnswers(
      this.#options.writable,
      (repository) => this.#holds(repository, { job, kind: BEGUN, time }, options),
      options,
    );
    const holding = answers.flatMap(({ member, value }) => (value ? [member] : []));
    return holding.length > 0 && this.#endAll(run, holding);
  }

  /** Writes what could not be written before; a repository that does not take one is asked no more until the next call. It does not throw. */
  async settle(): Promise<void> {
    const silent = new Set<Repository>();
    for (const owed of this.#owed) {
      const asked = owed.repositories.filter((repository) => !silent.has(repository));
      if (asked.length === 0) continue;
      const { done } = await this.#endIn(owed.run, asked);
      const repositories = owed.repositories.filter((repository) => !done.includes(repository));
      for (const repository of asked) if (!done.includes(repository)) silent.add(repository);
      const rest = this.#owed.filter((one) => one !== owed);
      this.#owed = repositories.length === 0 ? rest : [...rest, { run: owed.run, repositories }];
    }
  }

  /** Whether the end of a run is still to be written somewhere. */
  get owes(): boolean {
    return this.#owed.length > 0;
  }

  /** Ids of the runs whose end is still to be written somewhere. */
  get owed(): ReadonlySet<string> {
    return new Set(this.#owed.map(({ run }) => run.id));
  }

  /** Puts on record from when on the moments of a job count. Errors: when no repository answers, theirs. */
  async plan(job: string, time: number, data: Readonly<Record<string, unknown>>, options: CallOptions): Promise<void> {
    const { writable } = this.#options;
    const fact: Fact = { kind: PLANNED, time, data };
    const { answers, failures } = await answersOf(
      writable,
      (repository) => this.#addTo(repository, job, fact, options),
      options,
    );
    this.#someAnswer(answers.length, failures);
  }

  async #endAll(run: Run, repositories: readonly Repository[]): Promise<boolean> {
    const { done, taken } = await this.#endIn(run, repositories);
    const left = repositories.filter((repository) => !done.includes(repository));
    if (left.length > 0) this.#owed = [...this.#owed, { run, repositories: left }].slice(-MOST_OWED);
    return !taken;
  }

  async #endIn(
    run: Run,
    repositories: readonly Repository[],
  ): Promise<{ readonly done: readonly Repository[]; readonly taken: boolean }> {
    const { claim } = this.#options;
    const done: Repository[] = [];
    let taken = false;
    await Promise.all(
      repositories.map(async (repository) => {
        try {
          // Where it could not be claimed, too, so that each repository tells of whole runs.
          await this.#addTo(repository, run.job, factOf(BEGUN, { ...run, state: begunAs(run) }, claim), {});
          if (!(await this.#addTo(repository, run.job, factOf(ENDED, run, claim), {}))) taken = true;
          done.push(repository);
        } catch (error) {
          this.#unwritten(repository, run, error);
        }
      }),
    );
    return { done, taken };
  }

  /** One outage is one line for each run, however often it is tried. */
  #unwritten({ name }: Repository, { id }: Run, error: unknown): void {
    const isKnown = this.#owed.some(
      ({ run, repositories }) => run.id === id && repositories.some((one) => one.name === name),
    );
    this.#options.logger[isKnown ? 'debug' : 'warn'](
      { repository: name, run: id, error },
      `run ${id} is not on record in repository ${name} yet`,
    );
  }

  /** Gives whether the fact that is there is ours. Errors: those of the repository. */
  async #addTo(repository: Repository, job: string, fact: Fact, options: CallOptions): Promise<boolean> {
    return within(PATIENCE, repository, options, async (call) => {
      // Below a disk that is not mounted is an empty folder: no archive, and nothing is on record there.
      await repository.open(call);
      try {
        await repository.facts(this.systemId).add(jobSubject(job), fact, call);
        return true;
      } catch (error) {
        if (!isArchiveError(error, 'STORAGE_EXISTS')) throw error;
        // What was cut off may have been written.
        return (await this.#claimOf(repository, job, fact, call)) === this.#options.claim;
      }
    });
  }

  async #holds(repository: Repository, place: Place, options: CallOptions): Promise<boolean> {
    try {
      await this.#factIn(repository, place, options);
      return true;
    } catch (error) {
      if (isArchiveError(error, 'STORAGE_NOT_FOUND')) return false;
      if (isArchiveError(error, 'REPOSITORY_FORMAT')) return true; // whatever it says, it is there
      throw error;
    }
  }

  async #factIn(repository: Repository, { job, kind, time }: Place, options: CallOptions): Promise<Fact> {
    const facts = repository.facts(this.systemId);
    const key = facts.keyOf(jobSubject(job), { kind, time });
    return within(PATIENCE, repository, options, (call) => facts.read({ key }, call));
  }

  async #claimOf(repository: Repository, job: string, { kind, time }: Fact, call: CallOptions): Promise<unknown> {
    try {
      return (await this.#factIn(repository, { job, kind, time }, call)).data['claim'];
    } catch (error) {
      if (isArchiveError(error, 'REPOSITORY_FORMAT')) return undefined; // whoever wrote it, it is claimed
      throw error;
    }
  }

  async #names(
    repository: Repository,
    call: CallOptions,
  ): Promise<readonly { readonly subject: string; readonly kind: string; readonly time: number }[]> {
    await repository.open(call);
    const facts = repository.facts(this.systemId);
    const names: { subject: string; kind: string; time: number }[] = [];
    for (const job of await facts.jobs(call))
      for await (const { kind, time } of facts.names({ ...call, subject: jobSubject(job) }))
        names.push({ subject: job, kind, time });
    return names;
  }

  #someAnswer(answers: number, [first, ...more]: readonly RepositoryFailure[]): void {
    if (answers === 0 && first !== undefined) throw failureOf([first, ...more]);
  }
}

/** Ends that are remembered: a process that cannot write for months must not grow. */
const MOST_OWED = 200;

const begunAs = ({ state }: Run): Run['state'] => (state === 'skipped' ? 'skipped' : 'running');

/** Does what takes one repository not longer than so many milliseconds. Errors: those of the work, `STORAGE_UNAVAILABLE` when it takes longer. */
async function within<Value>(
  milliseconds: number,
  { name }: Repository,
  { signal }: CallOptions,
  work: (call: { readonly signal: AbortSignal }) => Promise<Value>,
): Promise<Value> {
  const late = AbortSignal.timeout(milliseconds);
  try {
    return await work({ signal: signal === undefined ? late : AbortSignal.any([signal, late]) });
  } catch (error) {
    if (!late.aborted || signal?.aborted === true) throw error;
    throw new ArchiveError('STORAGE_UNAVAILABLE', `repository ${name} gave no answer in ${milliseconds / 1000} s`, {
      cause: error,
    });
  }
}
