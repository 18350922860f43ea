/** Runs page by page, newest first: from memory as far as nothing is missing there, and from the archive behind that. */
import { isArchiveError, type ArchiveError } from '../../contracts/errors.ts';
import { compareRuns } from '../../schedule/run-order.ts';
import type { JobKind, Run, RunState } from '../../schedule/run.ts';
import type { DaemonCluster, Look } from '../daemon.ts';
import { notFound } from './answers.ts';
import { knownRuns } from './known-runs.ts';
import type { RecentRuns } from './recent-runs.ts';
import { isRefusal, type Refusal } from './refusal.ts';
import type { Turnstile } from './turnstile.ts';

export interface RunQuery {
  readonly limit: number;
  readonly job?: string | undefined;
  readonly kind?: JobKind | undefined;
  readonly state?: RunState | undefined;
  /** The id of the run behind which the page begins. Default: the newest comes first. */
  readonly before?: string | undefined;
}

export interface RunPage {
  readonly runs: readonly Run[];
  /** Whether there are older ones. Before the first look nobody knows, and it is true. */
  readonly more: boolean;
  /** What could not be read: there may be more runs than are shown. */
  readonly failures: readonly ArchiveError[];
}

export interface RunTools {
  readonly recent: Pick<RecentRuns, 'of'>;
  readonly heavy: Turnstile;
  readonly signal: AbortSignal;
}

type RunsOf = Pick<DaemonCluster, 'name' | 'latest' | 'scheduler' | 'archive'>;

/** Gives one page. Errors: those of reading the archive. */
export async function listRuns(cluster: RunsOf, query: RunQuery, tools: RunTools): Promise<RunPage | Refusal> {
  const { limit, job, kind, state, before } = query;
  const { heavy, recent, signal } = tools;
  const all = knownRuns(cluster, recent);
  const look = cluster.latest();
  const from = look?.runsFrom;
  const at = before === undefined ? 0 : all.findIndex(({ id }) => id === before) + 1;
  const isKnown = before === undefined || at > 0;
  if (!isKnown && isWhole(look)) return notFound(`run "${before}"`);
  const behind = isKnown ? all.slice(at) : [];
  const fits = (run: Run): boolean =>
    (job === undefined || run.job === job) &&
    (kind === undefined || run.kind === kind) &&
    (state === undefined || run.state === state);
  if (isKnown) {
    const whole = behind.filter(fits).filter(({ planned }) => from === undefined || planned >= from);
    const isFiltered = job !== undefined || kind !== undefined || state !== undefined;
    const more = look === undefined || whole.length > limit || from !== undefined;
    if (from === undefined || whole.length > limit || (whole.length === limit && !isFiltered))
      return { runs: whole.slice(0, limit), more, failures: look?.runsFailure === undefined ? [] : [look.runsFailure] };
  }
  const read = await heavy.run(signal, () =>
    cluster.archive.runs({
      limit: limit + 1,
      signal,
      ...(before !== undefined && { before }),
      ...(job !== undefined && { jobs: [job] }),
      ...(kind !== undefined && { kinds: [kind] }),
      ...(state !== undefined && { states: [state] }),
    }),
  );
  if (isRefusal(read)) return read;
  const known = new Map(all.map((run) => [run.id, run]));
  const found = new Map([...behind, ...read.runs].map((run): [string, Run] => [run.id, known.get(run.id) ?? run]));
  const runs = [...found.values()].filter(fits).toSorted(compareRuns);
  return {
    runs: runs.slice(0, limit),
    more: runs.length > limit,
    failures: read.failure === undefined ? [] : [read.failure],
  };
}

/** Finds one run. Errors: why it could not be looked for. */
export async function findRun(
  cluster: RunsOf,
  id: string,
  { heavy, recent, signal }: RunTools,
): Promise<Run | Refusal> {
  const none = notFound(`run "${id}"`);
  const known = knownRuns(cluster, recent).find((run) => run.id === id);
  if (known !== undefined) return known;
  if (isWhole(cluster.latest())) return none;
  try {
    const read = await heavy.run(signal, () => cluster.archive.runs({ ids: [id], signal }));
    if (isRefusal(read)) return read;
    const [run] = read.runs;
    if (run === undefined && read.failure !== undefined) throw read.failure;
    return run ?? none;
  } catch (error) {
    if (isArchiveError(error, 'USAGE')) return none;
    throw error;
  }
}

/** Whether a look has listed all runs on record: what is not among them is not there. */
function isWhole(look: Look | undefined): boolean {
  return look?.runs !== undefined && look.runsFrom === undefined && look.runsFailure === undefined;
}
