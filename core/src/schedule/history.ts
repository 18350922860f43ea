/** The runs that are on record, read as one over several repositories. */
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { answersOf } from '../repository/all-answers.ts';
import type { Fact } from '../repository/facts.ts';
import { jobSubject } from '../repository/layout.ts';
import { failureOf, repositoryFailure, type RepositoryFailure } from '../repository/repository-failure.ts';
import type { Repository } from '../repository/repository.ts';
import { BEGUN, ENDED, parseRunId, runId, runOf } from './run-facts.ts';
import { compareRuns } from './run-order.ts';
import type { JobKind, Run, RunState } from './run.ts';

export interface HistoryOptions extends CallOptions {
  /** The most runs that are wanted. */
  readonly limit: number;
  /** Of each job so many at least, also beyond the limit: a frequent job must not hide a rare one. Default 0. */
  readonly ofEachJob?: number;
  /** Names of jobs. Default, or empty: all. */
  readonly jobs?: readonly string[];
  /** Default, or empty: all. */
  readonly states?: readonly RunState[];
  /** What they do. Default, or empty: all. */
  readonly kinds?: readonly JobKind[];
  /** Only those that come behind the run of this id, whether it is on record or not. */
  readonly before?: string;
  /** Only runs of these ids. */
  readonly ids?: readonly string[];
  /** Only runs that were due or asked for at this moment or later, epoch milliseconds: it spares listing years. */
  readonly since?: number;
}

export interface History {
  /** Newest first, by when they were due or asked for, then by the name of the job. One without an end on record is `running`. */
  readonly runs: readonly Run[];
  /**
   * What was due or asked for from then on is all here, epoch milliseconds; of what was before, some was left out for the limit. Absent: nothing
   * was left out.
   */
  readonly from?: number;
  /** Of repositories, and of records that cannot be read: there may be more runs. */
  readonly failures: readonly RepositoryFailure[];
}

/** Facts that are read at once, and remembered of one repository: a fact never changes. */
const AT_ONCE = 16;
const REMEMBERED = 4000;

interface Place {
  readonly repository: Repository;
  readonly systemId: string;
}

interface Named {
  readonly job: string;
  readonly planned: number;
  readonly begun: Place[];
  readonly ended: Place[];
}

/** Reads the history. Errors: `USAGE` for what is no id of a run; when no repository answers, theirs; `ABORTED`. */
export async function readHistory(repositories: readonly Repository[], options: HistoryOptions): Promise<History> {
  const { limit, ofEachJob = 0, states = [], kinds = [] } = options;
  const chosen = choiceOf(options);
  const { answers, failures: silent } = await answersOf(
    repositories,
    (repository) => namesIn(repository, { ...options, ...chosen }),
    options,
  );
  const [first, ...more] = silent;
  if (answers.length === 0 && first !== undefined) throw failureOf([first, ...more]);
  const named = newestFirst(answers.flatMap(({ value }) => value).filter(chosen.fits));
  const runs: Run[] = [];
  let newestLeft = Number.NEGATIVE_INFINITY;
  const failures: RepositoryFailure[] = [...silent];
  const counts = new Map<string, number>();
  const isWanted = ({ job, planned }: Pick<Run, 'job' | 'planned'>): boolean => {
    if (runs.length < limit || (counts.get(job) ?? 0) < ofEachJob) return true;
    newestLeft = Math.max(newestLeft, planned);
    return false;
  };
  const fits = ({ state, kind }: Run): boolean =>
    (states.length === 0 || states.includes(state)) && (kinds.length === 0 || kinds.includes(kind));
  for (let left: readonly Named[] = named; left.length > 0; left = left.filter(isWanted)) {
    const read = await Promise.all(left.slice(0, AT_ONCE).map((one) => readOne(one, options)));
    left = left.slice(AT_ONCE);
    for (const found of read) {
      if ('repository' in found) failures.push(found);
      else if (fits(found) && isWanted(found)) {
        runs.push(found);
        counts.set(found.job, (counts.get(found.job) ?? 0) + 1);
      }
    }
  }
  return { runs, failures, ...(newestLeft > Number.NEGATIVE_INFINITY && { from: newestLeft + 1 }) };
}

/** What ids say of the names that are wanted. */
function choiceOf({ ids, before, jobs, since }: HistoryOptions): Pick<HistoryOptions, 'jobs' | 'since'> & {
  readonly fits: (name: Pick<Name, 'job' | 'planned'>) => boolean;
} {
  const last = before === undefined ? undefined : parsed(before);
  const isBehind = (name: Pick<Name, 'job' | 'planned'>): boolean => last === undefined || compareRuns(last, name) < 0;
  if (ids === undefined) return { ...(jobs && { jobs }), ...(since !== undefined && { since }), fits: isBehind };
  const wanted = ids.map(parsed);
  return {
    jobs: [...new Set(wanted.map(({ job }) => job))],
    since: Math.max(since ?? 0, Math.min(...wanted.map(({ planned }) => planned))),
    fits: (name) => isBehind(name) && wanted.some((one) => compareRuns(one, name) === 0),
  };
}

function parsed(id: string): { readonly job: string; readonly planned: number } {
  const run = parseRunId(id);
  if (run !== undefined) return run;
  throw new ArchiveError('USAGE', `not the id of a run: "${id.slice(0, 120)}"`, {
    hint: 'Take one as "pgark runs" shows it.',
  });
}

type Name = { readonly job: string; readonly kind: string; readonly planned: number } & Place;

async function namesIn(
  repository: Repository,
  { jobs: wanted = [], since, ...options }: HistoryOptions,
): Promise<readonly Name[]> {
  const call: CallOptions = options.signal === undefined ? {} : { signal: options.signal };
  try {
    await repository.open(call);
  } catch (error) {
    if (isArchiveError(error, 'REPOSITORY_NOT_FOUND')) return [];
    throw error;
  }
  const names: Name[] = [];
  for (const systemId of await repository.systemIds(call)) {
    const facts = repository.facts(systemId);
    for (const job of wanted.length > 0 ? wanted : await facts.jobs(call))
      for await (const { kind, time } of facts.names({
        ...call,
        subject: jobSubject(job),
        ...(since === undefined ? {} : { since }),
      }))
        if (kind === BEGUN || kind === ENDED) names.push({ repository, systemId, job, kind, planned: time });
  }
  return names;
}

function newestFirst(names: readonly Name[]): readonly Named[] {
  const byId = new Map<string, Named>();
  for (const { job, kind, planned, repository, systemId } of names) {
    const id = `${systemId} ${runId(job, planned)}`;
    const one: Named = byId.get(id) ?? { job, planned, begun: [], ended: [] };
    byId.set(id, one);
    (kind === BEGUN ? one.begun : one.ended).push({ repository, systemId });
  }
  return [...byId.values()].sort(compareRuns);
}

/** The end of a run says all that its beginning does. */
async function readOne({ job, planned, begun, ended }: Named, call: CallOptions): Promise<Run | RepositoryFailure> {
  let failure: RepositoryFailure | undefined;
  const places = ended.length > 0 ? ended : begun;
  const kind = ended.length > 0 ? ENDED : BEGUN;
  for (const place of places) {
    try {
      const fact = await factAt(place, { job, planned, kind }, call);
      const run = runOf(job, fact);
      if (run !== undefined) return run;
      const text = `run ${runId(job, planned)} is on record in a form that this version does not know`;
      throw new ArchiveError('REPOSITORY_FORMAT', text);
    } catch (error) {
      failure = repositoryFailure(place.repository.name, error);
    }
  }
  return failure ?? repositoryFailure('', new Error(`run ${runId(job, planned)} is nowhere`));
}

const known = new WeakMap<Repository, Map<string, Fact>>();

async function factAt(
  { repository, systemId }: Place,
  { job, planned, kind }: { readonly job: string; readonly planned: number; readonly kind: string },
  { signal }: CallOptions,
): Promise<Fact> {
  const facts = repository.facts(systemId);
  const key = facts.keyOf(jobSubject(job), { kind, time: planned });
  const own = known.get(repository) ?? new Map<string, Fact>();
  known.set(repository, own);
  const before = own.get(key);
  if (before !== undefined) return before;
  const fact = await facts.read({ key }, signal === undefined ? {} : { signal });
  own.set(key, fact);
  const [oldest] = own.keys();
  if (own.size > REMEMBERED && oldest !== undefined) own.delete(oldest);
  return fact;
}
