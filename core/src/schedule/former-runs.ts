/** Runs that were begun while the cluster had another system identifier, and of which nobody has said how they ended. */
import type { Logger } from '../contracts/plugin.ts';
import type { ScheduleClock } from './clock.ts';
import { lostRun } from './ended-run.ts';
import { ENDED } from './run-facts.ts';
import type { RunRecords } from './run-records.ts';
import type { Run } from './run.ts';
import { findOrphans } from './take-over.ts';

export interface FormerRunsOptions {
  /** Under the former identifiers. */
  readonly records: readonly RunRecords[];
  /** Ids of the runs of this process, which say themselves how they end. */
  readonly running: ReadonlySet<string>;
  readonly clock: ScheduleClock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * Milliseconds for which they may go on: the lock of the cluster says nothing of another system, whose server may still be there, with a daemon
 * of its own, such as while one moves to a new version.
 */
const PATIENCE = 86_400_000;

/** Puts on record of each, once it is old enough, that its end is not known. Ends when all have one, or the signal fires. Errors: those of the repositories. */
export async function endFormerRuns({
  records: all,
  running,
  clock,
  logger,
  signal,
}: FormerRunsOptions): Promise<void> {
  const found: { readonly run: Run; readonly records: RunRecords; readonly due: number }[] = [];
  for (const records of all) {
    const known = new Set([...running, ...records.owed]);
    const orphans = await findOrphans(await records.load({ signal }), { records, running: known, signal });
    for (const { run } of orphans) {
      if (run === undefined) continue;
      // From here on time is measured: no clock that is put forward judges one. And none has begun in the future.
      const left = Math.min(PATIENCE, Math.max(0, run.started + PATIENCE - clock.now()));
      found.push({ run, records, due: clock.elapsed() + left });
    }
  }
  found.sort((one, other) => one.due - other.due);
  for (const { run, records, due } of found) {
    await clock.sleep(due - clock.elapsed(), signal);
    if (signal.aborted) return;
    // Another one may have said by now how it ended, and not in every repository.
    if ((await records.read(run.job, ENDED, run.planned, { signal })) !== undefined) continue;
    const isOurs = await records.endWhereBegun(lostRun(run, clock.now()), { signal });
    if (isOurs && run.state !== 'skipped')
      logger.warn({ run: run.id, system: records.systemId }, `how run ${run.id} ended is not known, and never will be`);
  }
}

/** Milliseconds before they are looked for again that could not be looked after. */
const RETRY = 3_600_000;

export interface KeepEndingOptions extends Pick<FormerRunsOptions, 'clock' | 'logger' | 'signal'> {
  /** Gives the records under the former identifiers. */
  readonly find: () => Promise<readonly RunRecords[]>;
  readonly running: () => ReadonlySet<string>;
}

/** As {@link endFormerRuns}. It is no matter of the jobs: what fails is told, and tried again later. It does not throw. */
export async function keepEndingFormerRuns({ find, running, ...options }: KeepEndingOptions): Promise<void> {
  const { clock, logger, signal } = options;
  while (!signal.aborted) {
    try {
      return await endFormerRuns({ ...options, records: await find(), running: running() });
    } catch (error) {
      if (signal.aborted) return;
      const message = error instanceof Error ? error.message : String(error);
      logger.warn({ error }, `runs of a former system are not looked after: ${message}`);
      await clock.sleep(RETRY, signal);
    }
  }
}
