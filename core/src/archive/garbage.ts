import { repositoryFailure, type RepositoryFailure } from '../repository/repository-failure.ts';
import { planGarbage, runGarbage, type Garbage, type GarbageResult } from '../retention/gc.ts';
import type { Repository } from '../repository/repository.ts';
import { failureAmong, showingOptions } from './backups.ts';
import type { ChosenRepositories, LongCall, Outcome } from './call.ts';
import { forgetListing } from './draw-map.ts';
import type { RemovalProgress } from './expire.ts';
import type { Workplace } from './workplace.ts';

export interface GarbageCall extends Omit<LongCall<RemovalProgress>, 'onEvent'>, ChosenRepositories {
  /** Milliseconds: nothing younger is touched. Default 7 days. */
  readonly grace?: number;
}

/** What was removed from a repository. */
export type RepositoryGarbage = { readonly repository: string } & GarbageResult;

export interface GarbageRunCall extends GarbageCall {
  /** Told what was removed from a repository, and how many repositories there are. */
  readonly onResult?: (result: RepositoryGarbage, among: number) => void;
}

export interface PlannedGarbage extends Outcome {
  readonly repositories: readonly { readonly repository: string; readonly found: readonly Garbage[] }[];
  readonly failures: readonly RepositoryFailure[];
}

export interface GarbageDone extends Outcome {
  readonly repositories: readonly RepositoryGarbage[];
  readonly failures: readonly RepositoryFailure[];
}

/** See `Archive.planGc`. */
export async function planGc(at: Workplace, call: GarbageCall): Promise<PlannedGarbage> {
  const { config, signal } = at;
  const { repositories } = await at.open({ ...showingOptions(config), repositories: call.repositories ?? [] });
  return each(repositories, at, async (repository) => ({
    repository: repository.name,
    found: await planGarbage(repository, { signal, ...graceOf(call) }),
  }));
}

/** See `Archive.gc`. */
export async function gc(at: Workplace, call: GarbageRunCall): Promise<GarbageDone> {
  const { config, logger, signal } = at;
  const { writable } = await at.open({ ...showingOptions(config), repositories: call.repositories ?? [] });
  return each(writable, at, async (repository) => {
    const { name } = repository;
    const result = await runGarbage(repository, {
      signal,
      ...graceOf(call),
      onProgress: (done) => call.onProgress?.({ stage: 'removing', repository: name, ...done }),
      onFailure: (error) => logger.warn({ error }, 'the lease of the run could not be renewed, it is tried again'),
    });
    await forgetListing(at, repository);
    const done = { repository: name, ...result };
    call.onResult?.(done, writable.length);
    return done;
  });
}

function graceOf({ grace }: GarbageCall): { readonly grace?: number } {
  return grace === undefined ? {} : { grace };
}

/** Does it in each repository: one that fails does not keep the others from it. Errors: `ABORTED`. */
async function each<Result>(
  repositories: readonly Repository[],
  { signal }: Workplace,
  work: (repository: Repository) => Promise<Result>,
): Promise<Outcome & { readonly repositories: readonly Result[]; readonly failures: readonly RepositoryFailure[] }> {
  const results: Result[] = [];
  const failures: RepositoryFailure[] = [];
  for (const repository of repositories) {
    try {
      results.push(await work(repository));
    } catch (error) {
      if (signal.aborted) throw error;
      failures.push(repositoryFailure(repository.name, error));
    }
  }
  return { repositories: results, failures, failure: failureAmong(failures) };
}
