import { ArchiveError } from '../contracts/errors.ts';
import { repositoryFailure, type RepositoryFailure } from '../repository/repository-failure.ts';
import type { Repository } from '../repository/repository.ts';
import {
  planExpire as plan,
  runExpire,
  type ExpireOptions,
  type ExpirePlan,
  type ExpireResult,
} from '../retention/expire.ts';
import type { RemovalCount } from '../retention/removal.ts';
import { failureAmong, showingOptions } from './backups.ts';
import type { ChosenRepositories, LongCall, Outcome } from './call.ts';
import { forgetListing } from './draw-map.ts';
import { extendLocksOf, type LockProgress } from './extend-locks.ts';
import { tellingOf } from './telling.ts';
import type { Opened, Workplace } from './workplace.ts';

export interface PlanExpireCall extends Omit<LongCall<never>, 'onProgress' | 'onEvent'>, ChosenRepositories {
  /** Backups, or all of a system identifier, that go whatever the policy says. Default: none. */
  readonly remove?: readonly string[];
}

/** How far a removal is in one repository. */
export type RemovalProgress = RemovalCount & { readonly stage: 'removing'; readonly repository: string };

export interface ExpireCall extends LongCall<RemovalProgress | LockProgress>, ChosenRepositories {
  readonly remove?: readonly string[];
  /** Told of the plan of a repository, and how many repositories there are, before anything is removed; what it throws keeps it. */
  readonly onPlan?: (plan: ExpirePlan, among: number) => Promise<void> | void;
  /** Told what was removed from a repository. */
  readonly onResult?: (result: ExpireResult) => void;
}

export interface PlannedExpire extends Outcome {
  /** Of each repository that could be looked at. */
  readonly plans: readonly ExpirePlan[];
  readonly failures: readonly RepositoryFailure[];
}

export interface ExpireDone extends Outcome {
  /** Of each repository that something was, or could have been, removed from. */
  readonly results: readonly ExpireResult[];
  readonly failures: readonly RepositoryFailure[];
}

/** See `Archive.planExpire`. */
export async function planExpire(at: Workplace, call: PlanExpireCall): Promise<PlannedExpire> {
  const { repositories } = await opened(at, call);
  const plans: ExpirePlan[] = [];
  const options = optionsOf(at, call);
  const { failures, failure } = await each(repositories, call, at, async (repository) => {
    const made = await plan(repository, options);
    plans.push(made);
    return made;
  });
  return { plans, failures, failure };
}

/** See `Archive.expire`. */
export async function expire(at: Workplace, call: ExpireCall): Promise<ExpireDone> {
  const { logger, signal } = at;
  const events = await at.hooks();
  const { writable } = await opened(at, call);
  const { onProgress } = call;
  const { emit, gate } = tellingOf(events, { onEvent: call.onEvent, signal });
  const options = optionsOf(at, call);
  const results: ExpireResult[] = [];
  const { failures, failure } = await each(
    writable,
    call,
    at,
    async (repository) => {
      const { name } = repository;
      const result = await runExpire(repository, {
        ...options,
        onPlan: async (made) => {
          await call.onPlan?.(made, writable.length);
          const going = [...made.backups, ...made.wal].filter(({ action }) => action === 'remove');
          const ids = made.backups.flatMap(({ id, action }) => (action === 'remove' ? [id] : []));
          const bytes = going.reduce((sum, one) => sum + one.bytes, 0);
          await gate('expire.planned', { repository: name, backups: ids, bytes });
        },
        onProgress: (done) => onProgress?.({ stage: 'removing', repository: name, ...done }),
        onFailure: (error) => logger.warn({ error }, 'the lease of the run could not be renewed, it is tried again'),
      });
      results.push(result);
      call.onResult?.(result);
      const { objects, bytes, removed, locked } = result;
      emit('expire.finished', { repository: name, backups: removed, locked, objects, bytes });
      return result.plan;
    },
    async (repository, made) => {
      await forgetListing(at, repository);
      for (const systemId of new Set(made.backups.map((backup) => backup.systemId))) {
        const unlocked = await extendLocksOf([repository], {
          systemId,
          logger,
          signal,
          ...(onProgress === undefined ? {} : { onProgress }),
        });
        if (unlocked !== undefined) throw unlocked;
      }
    },
  );
  return { results, failures, failure };
}

function opened(at: Workplace, { repositories = [] }: ChosenRepositories): Promise<Opened> {
  return at.open({ ...showingOptions(at.config), repositories });
}

function optionsOf({ config, signal }: Workplace, { remove = [] }: PlanExpireCall): ExpireOptions {
  return { policy: config.retention, remove, signal };
}

/** Does it in each repository: one that fails does not keep the others from it. Errors: `ABORTED`. */
async function each(
  repositories: readonly Repository[],
  { remove = [] }: PlanExpireCall,
  { logger, signal }: Workplace,
  work: (repository: Repository) => Promise<ExpirePlan>,
  afterwards?: (repository: Repository, plan: ExpirePlan) => Promise<void>,
): Promise<{ readonly failures: readonly RepositoryFailure[]; readonly failure: ArchiveError | undefined }> {
  const failures: RepositoryFailure[] = [];
  const known = new Set<string>();
  for (const repository of repositories) {
    try {
      const made = await work(repository);
      for (const { id, systemId } of made.backups) known.add(id).add(systemId);
      for (const { systemId } of made.wal) known.add(systemId);
      for (const note of made.notes) logger.warn({ repository: repository.name }, note);
      const unreadable = made.backups.find(({ state, action }) => state === 'unreadable' && action === 'keep');
      await afterwards?.(repository, made);
      if (unreadable !== undefined) throw holdsAll(unreadable.id);
    } catch (error) {
      if (signal.aborted) throw error;
      failures.push(repositoryFailure(repository.name, error));
    }
  }
  return { failures, failure: failureAmong(failures) ?? unknownAmong(remove, known) };
}

function unknownAmong(remove: readonly string[], known: ReadonlySet<string>): ArchiveError | undefined {
  const unknown = remove.find((id) => !known.has(id));
  return unknown === undefined
    ? undefined
    : new ArchiveError('BACKUP_NOT_FOUND', `there is no backup and no system ${unknown}, as --remove says`);
}

function holdsAll(id: string): ArchiveError {
  return new ArchiveError('REPOSITORY_FORMAT', `backup ${id} cannot be read: it stays, with what it may need`, {
    hint: `Look at it with "pgark show ${id}". To give it up, name it with --remove.`,
  });
}
