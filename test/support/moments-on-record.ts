/** Holds the record of runs against the moments at which their job was due. */

/** A run as `pgark runs --json` prints it. */
export interface RunDocument {
  readonly id: string;
  readonly job: string;
  readonly kind: string;
  readonly state: string;
  readonly planned: string;
  readonly started: string;
  readonly ended?: string;
  readonly repeats?: string;
  readonly summary?: string;
  readonly error?: { readonly code: string; readonly message: string };
  readonly result?: { readonly backup?: string; readonly moments?: number; readonly first?: string };
}

/** A job that is due every so many milliseconds, by whole periods of the epoch and a phase. */
export interface EvenJob {
  readonly name: string;
  readonly period: number;
  readonly phase: number;
}

export interface MomentsOnRecord {
  /** Epoch milliseconds. */
  readonly first: number;
  readonly last: number;
  /** Moments from the first to the last one that came to a run, were skipped, are on no record, and on more than one. */
  readonly run: readonly number[];
  readonly skipped: readonly number[];
  readonly missing: readonly number[];
  readonly doubled: readonly number[];
  /** Ids of runs whose record cannot be: due at no moment of the job, or repeating what was not interrupted right before. */
  readonly strange: readonly string[];
}

export function momentsOnRecord(runs: readonly RunDocument[], { name, period, phase }: EvenJob): MomentsOnRecord {
  const own = runs.filter(({ job }) => job === name);
  const byId = new Map(own.map((run) => [run.id, run]));
  const times = new Map<number, number>();
  const run: number[] = [];
  const skipped: number[] = [];
  const strange: string[] = [];
  for (const one of own) {
    const planned = Date.parse(one.planned);
    if (one.repeats !== undefined) {
      const before = byId.get(one.repeats);
      const follows = before?.state === 'interrupted' && planned === Date.parse(before.planned) + 1;
      if (!follows) strange.push(one.id);
      continue;
    }
    const { moments = 1, first } = one.result ?? {};
    const from = first === undefined ? planned : Date.parse(first);
    if (planned % period !== phase || planned - from !== (moments - 1) * period) strange.push(one.id);
    for (let at = from; at <= planned; at += period) {
      times.set(at, (times.get(at) ?? 0) + 1);
      (one.state === 'skipped' ? skipped : run).push(at);
    }
  }
  const first = Math.min(...times.keys());
  const last = Math.max(...times.keys());
  const missing: number[] = [];
  for (let at = first; at < last; at += period) if (!times.has(at)) missing.push(at);
  const doubled = [...times].flatMap(([at, count]) => (count > 1 ? [at] : []));
  return { first, last, run, skipped, missing, doubled, strange };
}
