import { ArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import type { RepositoryFailure } from '../repository/repository-failure.ts';
import { readHistory } from '../schedule/history.ts';
import type { JobKind, Run, RunState } from '../schedule/run.ts';
import { failureAmong, showingOptions } from './backups.ts';
import type { ChosenRepositories, Outcome } from './call.ts';
import type { Workplace } from './workplace.ts';

export interface RunsCall extends CallOptions, ChosenRepositories {
  /** The most runs that are given. Default 100. */
  readonly limit?: number;
  /** Of each job so many at least, also beyond the limit. Default 0. */
  readonly ofEachJob?: number;
  /** Names of jobs. Default, or empty: all, also those that the config does not have any more. */
  readonly jobs?: readonly string[];
  /** Default, or empty: all. */
  readonly states?: readonly RunState[];
  /** What they do. Default, or empty: all. */
  readonly kinds?: readonly JobKind[];
  /** Only those that come behind the run of this id: the last of the list before. */
  readonly before?: string;
  /** Only runs of these ids. */
  readonly ids?: readonly string[];
  /** Only those that were due or asked for from then on. Default: all, years of which take their time. */
  readonly since?: Date;
}

/** `failure`: of a repository that could not be read, or of a record in it. */
export interface RunList extends Outcome {
  /** Newest first, by when they were due or asked for, then by the name of the job. */
  readonly runs: readonly Run[];
  /**
   * What was due or asked for from then on is all here, epoch milliseconds; of what was before, some was left out for the limit. Absent: nothing
   * was left out.
   */
  readonly from?: number;
  readonly failures: readonly RepositoryFailure[];
}

const LIMIT = 100;

/** As the config takes it. */
const JOB = /^[a-z0-9][a-z0-9-]{0,40}$/;

/** See `Archive.runs`. */
export async function runs(at: Workplace, call: RunsCall): Promise<RunList> {
  const { limit = LIMIT, repositories: names = [], ofEachJob, jobs, states, kinds, before, ids, since } = call;
  if (!Number.isSafeInteger(limit) || limit < 1) throw new ArchiveError('USAGE', `not a number of runs: ${limit}`);
  const unknown = jobs?.find((job) => !JOB.test(job));
  if (unknown !== undefined) throw new ArchiveError('USAGE', `not the name of a job: "${unknown}"`);
  const { repositories } = await at.open({ ...showingOptions(at.config), repositories: names });
  const { failures, ...found } = await readHistory(repositories, {
    limit,
    signal: at.signal,
    ...(ofEachJob === undefined ? {} : { ofEachJob }),
    ...(jobs === undefined ? {} : { jobs }),
    ...(states === undefined ? {} : { states }),
    ...(kinds === undefined ? {} : { kinds }),
    ...(before === undefined ? {} : { before }),
    ...(ids === undefined ? {} : { ids }),
    ...(since === undefined ? {} : { since: since.getTime() }),
  });
  return { ...found, failures, failure: failureAmong(failures) };
}
