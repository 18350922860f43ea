import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { EventSink } from '../contracts/hook.ts';
import { repositoryFailure } from '../repository/repository-failure.ts';
import type { Repository } from '../repository/repository.ts';
import { recordResults } from '../verify/fact.ts';
import type { VerifyLevel } from '../verify/finding.ts';
import { heal } from '../verify/heal.ts';
import { FileJournal } from '../verify/journal.ts';
import type { HealOutcome } from '../verify/replace.ts';
import type { VerifyResult } from '../verify/result.ts';
import { newSeed, verify as verifyRepository, type VerifyOptions, type VerifyProgress } from '../verify/verify.ts';
import type { ChosenRepositories, LongCall, Outcome } from './call.ts';
import { errorOf, tellingOf } from './telling.ts';
import { verifyFailure } from './verify-failure.ts';
import type { Workplace } from './workplace.ts';

export interface VerifyCall extends LongCall<VerifyProgress>, ChosenRepositories {
  /**
   * `chain`: names, sizes, records and histories; `sample` (default): beside it some objects are read, others each time; `full`: all are.
   */
  readonly level?: VerifyLevel;
  /** Ids, or `latest`, each with the WAL that it needs. Default: all, without `wal`. */
  readonly backups?: 'all' | readonly string[];
  /** All of the WAL. Default: with all backups. */
  readonly wal?: boolean;
  /** Bytes a second that are read of each repository. Default: as the config allows. */
  readonly rate?: number;
  /** Draws the sample that an earlier run with this seed has drawn. */
  readonly seed?: number;
  /** A file in which is kept what was found good, to go on from there; it is removed at the end. */
  readonly resume?: string;
  /** Told when there is such a file from an earlier run. */
  readonly onResume?: () => void;
  /** Puts good copies from other repositories in the place of what is missing or damaged. Default false. */
  readonly heal?: boolean;
}

/** What came of one repository. */
export type Verification = { readonly repository: string } & (
  | {
      readonly result: VerifyResult;
      readonly healed: readonly HealOutcome[];
      /** Why the result is not on record there. */
      readonly unrecorded: ArchiveError | undefined;
    }
  | { readonly error: ArchiveError }
);

export interface VerifyDone extends Outcome {
  readonly repositories: readonly Verification[];
}

/** See `Archive.verify`. */
export async function verify(at: Workplace, call: VerifyCall): Promise<VerifyDone> {
  const { config, logger, signal } = at;
  const { repositories: names = [], rate, level = 'sample' } = call;
  // A good copy may be in any repository of the config.
  const { emit } = tellingOf(await at.hooks(), { onEvent: call.onEvent, signal });
  const opening = {
    repositories: call.heal === true ? [] : names,
    ...(rate !== undefined && { maxDownloadRate: rate }),
  };
  const { repositories: all } = await at.open(opening).catch((error: unknown) => {
    const { code, message } = errorOf(error);
    const wanted = names.length === 0 ? config.repositories.map(({ name }) => name) : names;
    // That a name is wrong says nothing of a repository.
    if (code !== 'USAGE' && code !== 'ABORTED')
      for (const repository of wanted) emit('verify.failed', { repository, level, outcome: 'incomplete', message });
    throw error;
  });
  const repositories = names.length === 0 ? all : all.filter(({ name }) => names.includes(name));
  const begun = { level, seed: call.seed ?? newSeed(), repositories: repositories.map(({ name }) => name) };
  const journal = call.resume === undefined ? undefined : new FileJournal(call.resume, begun);
  if (journal?.isResumed === true) call.onResume?.();
  const backups = call.backups ?? (call.wal === true ? [] : 'all');
  const options: Omit<VerifyOptions, 'repository'> = {
    level,
    signal,
    concurrency: config.restore.concurrency,
    seed: journal?.seed ?? begun.seed,
    backups,
    wal: call.wal ?? backups === 'all',
    ...(journal === undefined ? {} : { journal }),
    ...(call.onProgress === undefined ? {} : { onProgress: call.onProgress }),
  };
  const each: Verification[] = [];
  for (const repository of repositories) {
    const others = all.filter((other) => other !== repository);
    each.push(await verifyOne(repository, { ...options, others, heal: call.heal === true }, at));
    if (signal.aborted) break;
  }
  const verified = withoutStrangers(each);
  for (const one of verified)
    if ('result' in one && one.unrecorded !== undefined)
      logger.warn(
        { repository: one.repository },
        `the result is not on record in repository ${one.repository}: ${one.unrecorded.message}`,
      );
  const isWhole = level === 'full' && options.backups === 'all' && options.wal === true;
  for (const one of verified) tell(emit, one, { level, isWhole });
  const failure = verifyFailure(verified, { wantsBackups: backups === 'all' });
  if (failure === undefined || failure.code === 'VERIFY_DAMAGED') journal?.remove();
  return { repositories: verified, failure };
}

function tell(
  emit: EventSink,
  one: Verification,
  { level, isWhole }: { readonly level: VerifyLevel; readonly isWhole: boolean },
): void {
  const { repository } = one;
  const failure = verifyFailure([one], { wantsBackups: false });
  if (failure === undefined) emit('verify.finished', { repository, level, whole: isWhole });
  else if (failure.code !== 'ABORTED') {
    const outcome = failure.code === 'VERIFY_DAMAGED' ? 'damaged' : 'incomplete';
    emit('verify.failed', { repository, level, outcome, message: failure.message });
  }
}

/** A backup that one repository has need not be in the others. */
function withoutStrangers(each: readonly Verification[]): readonly Verification[] {
  const found = each.filter((one) => !('error' in one && one.error.code === 'BACKUP_NOT_FOUND'));
  return found.length === 0 ? each : found;
}

interface OneOptions extends Omit<VerifyOptions, 'repository'> {
  readonly others: readonly Repository[];
  readonly heal: boolean;
}

/** Verifies one repository, heals it when that is wanted, and puts the result on record. */
async function verifyOne(
  repository: Repository,
  { others, heal: wanted, ...options }: OneOptions,
  { config, signal }: Workplace,
): Promise<Verification> {
  const { name } = repository;
  try {
    const elsewhere = await completeIn(others, signal);
    const result = await verifyRepository({ ...options, repository, elsewhere });
    const concurrency = config.restore.concurrency;
    const healed = wanted && !signal.aborted ? await heal(result, { repository, others, concurrency, signal }) : [];
    const isReadOnly = config.repositories.some((section) => section.name === name && section.readOnly);
    if (signal.aborted) return { repository: name, result, healed, unrecorded: undefined };
    const unrecorded = isReadOnly
      ? new ArchiveError('STORAGE_DENIED', 'the config says that it is only read')
      : await recordResults(repository, result, { signal });
    return { repository: name, result, healed, unrecorded };
  } catch (error) {
    const known = repositoryFailure(name, error).error;
    if (known.code === 'ABORTED' || known.code === 'USAGE' || known.code === 'INTERNAL') throw error;
    return { repository: name, error: known };
  }
}

/** Ids of backups that some of these repositories have complete; what cannot be asked is left out. */
async function completeIn(repositories: readonly Repository[], signal: AbortSignal): Promise<ReadonlySet<string>> {
  const ids = new Set<string>();
  for (const repository of repositories) {
    try {
      for (const systemId of await repository.systemIds({ signal }))
        for (const { id, state } of await repository.backups(systemId).list({ signal }))
          if (state === 'complete') ids.add(id);
    } catch (error) {
      if (isArchiveError(error, 'ABORTED')) throw error; // all else is told where it is verified itself
    }
  }
  return ids;
}
