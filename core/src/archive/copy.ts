import { ArchiveError } from '../contracts/errors.ts';
import { runCopy, type CopyProgress, type CopyResult } from '../copy/copy.ts';
import { planCopy as plan, type CopyOptions, type CopyPlan, type CopyWal } from '../copy/plan.ts';
import type { Repository } from '../repository/repository.ts';
import type { LongCall, Outcome } from './call.ts';
import { forgetListing } from './draw-map.ts';
import { errorOf } from './telling.ts';
import type { Workplace } from './workplace.ts';

export interface CopyCall extends Omit<LongCall<CopyProgress>, 'onEvent'> {
  /** Name of the repository that has them. */
  readonly from: string;
  /** Name of the repository that gets them. */
  readonly to: string;
  /** Ids, or `latest`. Default: all complete backups that the other lacks. */
  readonly backups?: 'all' | readonly string[];
  /** Which WAL is carried along. Default `following`. */
  readonly wal?: CopyWal;
  /** Reads `from` as it was at this moment. */
  readonly asOf?: Date;
}

export interface CopyRunCall extends CopyCall {
  /** Told of the plan before anything is written; what it throws ends the copy. */
  readonly onPlan?: (plan: CopyPlan) => Promise<void> | void;
}

export interface PlannedCopy extends Outcome {
  readonly plan: CopyPlan;
}

export interface CopyDone extends CopyResult, Outcome {
  readonly plan: CopyPlan;
  /** How long it took, with the plan. */
  readonly milliseconds: number;
}

/** See `Archive.planCopy`. */
export async function planCopy(at: Workplace, call: CopyCall): Promise<PlannedCopy> {
  const made = await plan(await optionsOf(at, call));
  const [failure] = [...made.failures, ...made.conflicts];
  return { plan: made, failure: failure?.error };
}

/** See `Archive.copy`. */
export async function copy(at: Workplace, call: CopyRunCall): Promise<CopyDone> {
  const { config, logger, signal } = at;
  const options = await optionsOf(at, call);
  const begun = performance.now();
  const made = await plan(options);
  await call.onPlan?.(made);
  const result = await runCopy(made, {
    source: options.source,
    target: options.target,
    signal,
    concurrency: config.restore.concurrency,
    onWarning: (warning) => logger.warn({}, warning),
    ...(call.onProgress === undefined ? {} : { onProgress: call.onProgress }),
  });
  const milliseconds = performance.now() - begun;
  // Backups that are older than those of the target only a whole listing shows; without this it is made by and by.
  if (result.backups.some(({ state }) => state === 'copied'))
    await forgetListing(at, options.target).catch(() => undefined);
  return { ...result, plan: made, milliseconds, failure: failureOf(result) };
}

function failureOf({ failures: [first], stopped }: CopyResult): ArchiveError | undefined {
  return first?.error ?? (stopped === undefined ? undefined : errorOf(stopped));
}

async function optionsOf(at: Workplace, call: CopyCall): Promise<CopyOptions> {
  const { from, to, asOf, backups = 'all', wal = 'following' } = call;
  const { repositories } = await at.open(asOf === undefined ? {} : { asOf, asOfRepositories: [from] });
  const named = (name: string): Repository => {
    const found = repositories.find((repository) => repository.name === name);
    if (found !== undefined) return found;
    throw new ArchiveError('USAGE', `the config has no repository "${name}"`, {
      hint: `It has: ${repositories.map((repository) => repository.name).join(', ')}.`,
    });
  };
  return { source: named(from), target: named(to), signal: at.signal, backups, wal };
}
