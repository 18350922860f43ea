/** The repositories that a restore reads from. */
import { ArchiveError, isArchiveError, throwIfAborted } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { READING } from '../repository/all-answers.ts';
import {
  failureOf,
  failureText,
  isObjectFault,
  repositoryFailure,
  type RepositoryFailure,
} from '../repository/repository-failure.ts';
import type { Repository } from '../repository/repository.ts';
import type { WalReader } from '../repository/wal.ts';
import { walReader } from '../repository/wal-union.ts';
import type { PlanProblem } from './plan-types.ts';

/** Milliseconds that the others have to answer in, once one repository has. */
const OTHERS = 15_000;

/** In place of the hint to create the repository, which is wrong where an archive is looked for. */
const NOT_THERE = 'Check that its storage is mounted, and bucket, path and prefix in the config.';

export interface OpenSourcesOptions extends CallOptions {
  /** Milliseconds that the others have to answer in, once one repository has. Default 15 s. */
  readonly patience?: number;
}

/** Those of the configured repositories that answer, in their order, and what is to be said of the others. */
export class RestoreSources {
  #repositories: readonly [Repository, ...Repository[]];
  readonly #warnings = new Set<string>();
  readonly #unread: RepositoryFailure[] = [];
  #follow: ((warning: string) => void) | undefined;

  constructor(repositories: readonly [Repository, ...Repository[]]) {
    this.#repositories = repositories;
  }

  /** Opens all at once. Errors: when none can be read, theirs; `ABORTED`. */
  static async open(
    repositories: readonly [Repository, ...Repository[]],
    { signal, patience = OTHERS }: OpenSourcesOptions = {},
  ): Promise<RestoreSources> {
    const sources = new RestoreSources(repositories);
    if (repositories.length === 1) {
      await repositories[0].open(signal === undefined ? {} : { signal });
      return sources;
    }
    const failures = await openAll(repositories, patience, signal);
    if (failures.length === repositories.length) throw failureOf(failures as [RepositoryFailure]);
    for (const failure of failures) sources.#drop(failure);
    return sources;
  }

  get repositories(): readonly [Repository, ...Repository[]] {
    return this.#repositories;
  }

  /** What was said so far, each once. */
  get warnings(): readonly string[] {
    return [...this.#warnings];
  }

  /** From now on `follow` is told of warnings. */
  follow(follow: (warning: string) => void): void {
    this.#follow = follow;
  }

  warn(warning: string): void {
    if (this.#warnings.has(warning)) return;
    this.#warnings.add(warning);
    this.#follow?.(warning);
  }

  wal(systemId: string): WalReader {
    return walReader(this.#repositories, systemId, {
      onFailure: (failure) => this.warn(`${failureText(failure)}; another repository was used`),
    });
  }

  /** Goes on without a repository that fails as a whole. False when there is no other, or the error is none of that kind. */
  leaveOut(error: unknown): boolean {
    if (!isArchiveError(error) || isObjectFault(error) || this.#repositories.length === 1) return false;
    if (error.code === 'ABORTED' || error.code === 'WAL_CONFLICT') return false;
    const { repository } = error.details;
    if (!this.#repositories.some(({ name }) => name === repository)) return false;
    // Its own words, without the name that a union put before them.
    const own = isArchiveError(error.cause, error.code) ? error.cause : error;
    this.#drop({ repository: String(repository), error: own });
    return true;
  }

  /**
   * Goes on without repositories that answered that they hold nothing which is wanted. That may be the folder of a disk which is not
   * mounted: what they should hold is as unknown as with those that do not answer.
   */
  leaveOutEmpty(names: readonly string[], systemId: string): void {
    for (const repository of names) {
      const text = `repository ${repository} holds nothing of the cluster ${systemId}`;
      this.#drop({ repository, error: new ArchiveError('REPOSITORY_NOT_FOUND', text) });
    }
  }

  /** The problem that what was found, `said`, may be wrong because of a repository that is left out; undefined when all were read. */
  doubt(said: readonly string[]): PlanProblem | undefined {
    const [first] = this.#unread;
    if (first === undefined) return undefined;
    const message = [...said, ...this.#unread.map(leftOutText)].join('; ');
    return { code: first.error.code, message, hint: this.#wayOut(first) };
  }

  /** What helps against a repository that cannot be read: that it can, or that the operator decides to do without it. */
  #wayOut({ error }: RepositoryFailure): string {
    const hint = error.code === 'REPOSITORY_NOT_FOUND' ? NOT_THERE : error.hint;
    const rest = this.#repositories.map(({ name }) => `--repository ${name}`).join(' ');
    return `${hint} To do without it, name what to restore from: ${rest}.`;
  }

  /** Says with an error which repositories are left out. What is not found may be there: then the error is theirs. */
  withDoubt(error: unknown): unknown {
    const [first] = this.#unread;
    if (first === undefined || !isArchiveError(error)) return error;
    if (error.code === 'ABORTED' || error.code === 'USAGE') return error;
    const unknown = error.code === 'BACKUP_NOT_FOUND' || error.code === 'RESTORE_UNREACHABLE';
    const { code, details } = unknown ? first.error : error;
    const hint = unknown ? this.#wayOut(first) : error.hint;
    const said = [error.message, ...this.#unread.map(leftOutText)];
    return new ArchiveError(code, said.join('; '), { hint, details, cause: error });
  }

  #drop(failure: RepositoryFailure): void {
    const [first, ...more] = this.#repositories.filter(({ name }) => name !== failure.repository);
    if (first === undefined) return;
    this.#repositories = [first, ...more];
    this.#unread.push(failure);
    this.warn(`${leftOutText(failure)}; what only it holds is unknown`);
  }
}

function leftOutText(failure: RepositoryFailure): string {
  const { repository, error } = failure;
  if (error.code === 'REPOSITORY_NOT_FOUND') return `${failureText(failure)}: left out`;
  return `repository ${repository} could not be read (${error.message}): left out`;
}

/** Those that cannot be opened, in their order: once one has answered, the others have so many milliseconds. */
async function openAll(
  repositories: readonly Repository[],
  patience: number,
  signal: AbortSignal | undefined,
): Promise<readonly RepositoryFailure[]> {
  const cancel = new AbortController();
  const either = signal === undefined ? cancel.signal : AbortSignal.any([signal, cancel.signal]);
  const found = new Map<Repository, RepositoryFailure | undefined>();
  let timer: NodeJS.Timeout | undefined;
  await new Promise<void>((resolve) => {
    const settled = (repository: Repository, failure?: RepositoryFailure): void => {
      found.set(repository, failure);
      if (found.size === repositories.length) resolve();
      if (failure === undefined) timer ??= setTimeout(resolve, patience);
    };
    for (const repository of repositories)
      repository.open({ signal: either }).then(
        () => settled(repository),
        (error: unknown) => settled(repository, repositoryFailure(repository.name, error)),
      );
  });
  clearTimeout(timer);
  cancel.abort();
  throwIfAborted(signal, READING);
  const silence = new ArchiveError('STORAGE_UNAVAILABLE', `it gave no answer within ${patience / 1000} s`);
  return repositories.flatMap((repository) => {
    const failure = found.has(repository) ? found.get(repository) : { repository: repository.name, error: silence };
    return failure === undefined ? [] : [failure];
  });
}
