/** What a daemon finds on record when it begins to run the jobs of a cluster. */
import type { JobLedger } from './job-ledger.ts';
import { BEGUN, ENDED, PLANNED, runId } from './run-facts.ts';
import type { JobRecords, RunRecords } from './run-records.ts';
import type { Run } from './run.ts';

/** A run of another process, or of an earlier one, without an end on record. */
export interface Orphan {
  readonly job: string;
  /** Epoch milliseconds. */
  readonly planned: number;
  /** Undefined when its record cannot be read. */
  readonly run: Run | undefined;
}

export interface AdoptOptions {
  readonly records: RunRecords;
  /** Epoch milliseconds. */
  readonly now: number;
  readonly signal: AbortSignal;
}

/** Takes over what is on record of a job, or begins its record. Errors: those of the repositories. */
export async function adoptJob(
  ledger: JobLedger,
  found: JobRecords | undefined,
  { records, now, signal }: AdoptOptions,
): Promise<void> {
  const { name, at, timeZone } = ledger.job;
  ledger.add(found?.begun ?? []);
  // Of an expression that was another one before nothing is due that was due only since.
  const seen = found?.planned.findLast((time) => time <= now);
  const plan = seen === undefined ? undefined : await records.read(name, PLANNED, seen, { signal });
  if (seen !== undefined && plan?.data['at'] === at && plan.data['timeZone'] === timeZone) ledger.begin(seen);
  else {
    await records.plan(name, now, { at, timeZone }, { signal });
    ledger.begin(now);
  }
  const last = found?.ended.findLast((planned) => planned <= now);
  if (last === undefined) return;
  const run = await records.run(name, ENDED, last, { signal });
  if (run?.state === 'interrupted' && run.trigger !== 'request') ledger.interrupted(run.id, last);
}

export interface FindOrphansOptions {
  readonly records: RunRecords;
  /** Ids of the runs of this process. */
  readonly running: ReadonlySet<string>;
  readonly signal: AbortSignal;
}

/** The runs that have begun, and of which nobody here knows how they ended. Errors: those of the repositories. */
export async function findOrphans(
  loaded: ReadonlyMap<string, JobRecords>,
  { records, running, signal }: FindOrphansOptions,
): Promise<readonly Orphan[]> {
  const orphans: Orphan[] = [];
  for (const [job, { open }] of loaded)
    for (const planned of open)
      if (!running.has(runId(job, planned)))
        orphans.push({ job, planned, run: await records.run(job, BEGUN, planned, { signal }) });
  return orphans;
}
