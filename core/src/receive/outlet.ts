import { ArchiveError, isArchiveError, type ErrorCode } from '../contracts/errors.ts';
import type { EventSink } from '../contracts/hook.ts';
import type { Logger } from '../contracts/plugin.ts';
import type { Repository } from '../repository/repository.ts';
import { Backoff, pause } from './backoff.ts';
import type { KnownRepositories } from './known-repositories.ts';
import { asArchiveError } from './messages.ts';

export interface OutletOptions {
  readonly repository: Repository;
  readonly known: KnownRepositories;
  readonly onEvent: EventSink;
  readonly logger: Logger;
  /** Whether an earlier run has told that it does not work, and nobody has told its end. */
  readonly wasTroubled?: boolean;
  /** Milliseconds before the second try of what may pass by itself, and the most between two. */
  readonly retry?: { readonly first: number; readonly most: number };
}

export interface TryOptions {
  /** What it is about, such as a file; names the trouble. */
  readonly subject: string;
  /** Ends waiting and trying with `ABORTED`. */
  readonly signal: AbortSignal;
  /** Once it fires nothing waits any more: what waits is tried once more, and a failure is thrown. */
  readonly last?: AbortSignal;
}

const RETRY = { first: 500, most: 30_000 };
/** Milliseconds between tries of what only an operator can repair. */
const HARD_RETRY = 60_000;
/** Milliseconds for which it is believed that the repository is still the same. */
const CHECK_EVERY = 1000;
/** What is wrong with the storage as a whole, whatever the file. */
const OF_STORAGE: ReadonlySet<ErrorCode> = new Set([
  'STORAGE_UNAVAILABLE',
  'STORAGE_FULL',
  'STORAGE_DENIED',
  'STORAGE_MISCONFIGURED',
  'REPOSITORY_CHANGED',
]);
/** Stands for subjects that were given up: their trouble is over when anything works. */
const GIVEN_UP = '';

/** One repository as the receiver uses it: opened when first needed, tried again until it works, its troubles told once each. */
export class Outlet {
  readonly repository: Repository;
  readonly #options: OutletOptions;
  readonly #finish = new AbortController();
  /** What does not work at present: subject and code. */
  readonly #troubles = new Map<string, string>();
  /** Whether it was told that the storage itself does not work. */
  #degraded = false;
  /** Whether the trouble of an earlier run is still to be told to be over. */
  #wasTroubled: boolean;
  /** Fires when anything works again after the storage itself did not: whoever waits for that need not wait to the end. */
  #worksAgain: AbortController | undefined;
  #opened: Promise<void> | undefined;
  #checkedAt = -Infinity;

  constructor(options: OutletOptions) {
    this.#options = options;
    this.repository = options.repository;
    this.#wasTroubled = options.wasTroubled === true;
  }

  get name(): string {
    return this.repository.name;
  }

  /** The id of the repository as it was used last; undefined for a new one. */
  get id(): string | undefined {
    return this.#options.known.idOf(this.name);
  }

  /** Runs an operation until it succeeds. After {@link finish}, or {@link TryOptions.last}, a failure is thrown. */
  async run<Value>(
    operation: (repository: Repository, signal: AbortSignal) => Promise<Value>,
    options: TryOptions,
  ): Promise<Value> {
    const { signal, subject } = options;
    const last = options.last ?? new AbortController().signal;
    const backoff = new Backoff(this.#options.retry ?? RETRY);
    // Milliseconds, lest what fails for itself alone be tried with everything that works.
    let soonest = (this.#options.retry ?? RETRY).first;
    for (;;) {
      try {
        await this.#open(signal);
        await this.#check(signal);
        const value = await operation(this.repository, signal);
        this.#works(subject);
        return value;
      } catch (error) {
        const failure = asArchiveError(error);
        if (signal.aborted) {
          this.#givesUp(subject);
          throw new ArchiveError('ABORTED', `${subject} was given up`, { cause: error });
        }
        this.#fails(subject, failure);
        if (this.#finish.signal.aborted || last.aborted) {
          this.#givesUp(subject);
          throw failure;
        }
        const wake = AbortSignal.any([signal, this.#finish.signal, last]);
        const delay = failure.retriable ? backoff.next() : HARD_RETRY;
        if (!OF_STORAGE.has(failure.code)) await pause(delay, wake);
        else {
          const { signal: worksAgain } = (this.#worksAgain ??= new AbortController());
          await pause(Math.min(delay, soonest), wake);
          await pause(Math.max(0, delay - soonest), AbortSignal.any([wake, worksAgain]));
          soonest *= 2;
        }
      }
    }
  }

  /**
   * Opens the repository and makes sure that it is still the same, with one try and without telling anybody. Errors: those of the storage,
   * `REPOSITORY_CHANGED`, `ABORTED`.
   */
  async check(signal: AbortSignal): Promise<void> {
    await this.#open(signal);
    await this.#check(signal);
  }

  /** All that waited is in the repository: what was wrong in an earlier run is so no more. */
  caughtUp(): void {
    if (this.#wasTroubled && this.#troubles.size === 0) this.#tellWorks();
  }

  /** The run ends: waits end, each operation that waits is tried once more. */
  finish(): void {
    this.#finish.abort();
  }

  /** Makes a repository that was never used, once for all that need it: two at once could make two of it. */
  async #open(signal: AbortSignal): Promise<void> {
    while (this.#opened !== undefined) {
      try {
        await this.#opened;
        return;
      } catch (error) {
        // Whoever began it was cancelled, which says nothing about the repository.
        if (signal.aborted || !isArchiveError(error, 'ABORTED')) throw error;
      }
    }
    this.#opened = this.#make(signal).catch((error: unknown) => {
      this.#opened = undefined;
      throw error;
    });
    await this.#opened;
  }

  async #make(signal: AbortSignal): Promise<void> {
    const { repository, known, logger } = this.#options;
    const { name } = repository;
    if (known.idOf(name) === undefined) known.remember(name, (await repository.open({ create: true, signal })).id);
    const twin = known.use(name);
    if (twin === undefined) return;
    // Not refused: a copy by other means is an archive like any other, and what is confirmed is kept apart by name and id.
    const hint = `If both are one place, remove one from the config: there is one copy less than it says. Else it is a copy that was not made by "pgark copy"; it is used as it is.`;
    logger.warn({ repository: name, hint }, `repository ${name} has the id of repository ${twin}`);
  }

  /** The disk of a storage may be gone from one file to the next, and the spool must not be emptied into its mount point. */
  async #check(signal: AbortSignal): Promise<void> {
    const { repository, known } = this.#options;
    const now = performance.now();
    if (now - this.#checkedAt < CHECK_EVERY) return;
    const expected = known.idOf(repository.name);
    let found: string | undefined;
    try {
      found = (await repository.open({ signal })).id;
    } catch (error) {
      if (!isArchiveError(error, 'REPOSITORY_NOT_FOUND')) throw error;
    }
    if (found === expected) {
      this.#checkedAt = now;
      return;
    }
    const what = found === undefined ? 'is no longer there' : 'is another one than before';
    throw new ArchiveError('REPOSITORY_CHANGED', `repository ${repository.name} ${what}`, {
      hint: `Check that the disk of the storage is mounted, and its section of the config. If it was changed on purpose, remove its line from ${known.path} and start the receiver again.`,
      details: { repository: repository.name, expected, found },
    });
  }

  #fails(subject: string, error: ArchiveError): void {
    const known = [...this.#troubles.values()].includes(error.code);
    this.#troubles.set(subject, error.code);
    if (known) return;
    const { onEvent, logger } = this.#options;
    const fields = { repository: this.repository.name, file: subject, code: error.code, hint: error.hint };
    const message = `repository ${this.repository.name}: ${error.message}`;
    const { code } = error;
    const repository = this.repository.name;
    if (OF_STORAGE.has(code)) {
      this.#degraded = true;
      onEvent('storage.degraded', { repository, code, message });
    }
    onEvent('wal.ship_failed', { repository, file: subject, code, message });
    if (error.retriable) {
      logger.warn(fields, `shipping waits: ${error.message}`);
      return;
    }
    logger.error(fields, `shipping is stuck: ${error.message}`);
    if (isArchiveError(error, 'WAL_CONFLICT')) onEvent('wal.conflict', { repository, file: subject, message });
    onEvent('wal.state', { state: code, message, repository });
  }

  /** What was given up stays a trouble, told already, until something works: the next subject may be another one. */
  #givesUp(subject: string): void {
    const code = this.#troubles.get(subject);
    if (code === undefined) return;
    this.#troubles.delete(subject);
    this.#troubles.set(GIVEN_UP, code);
  }

  #works(subject: string): void {
    this.#worksAgain?.abort();
    this.#worksAgain = undefined;
    const mended = [subject, GIVEN_UP].filter((trouble) => this.#troubles.delete(trouble));
    if (mended.length > 0 && this.#troubles.size === 0) this.#tellWorks();
  }

  #tellWorks(): void {
    const { onEvent, logger } = this.#options;
    this.#wasTroubled = false;
    const repository = this.repository.name;
    logger.info({ repository }, 'shipping goes on');
    if (this.#degraded) onEvent('storage.recovered', { repository });
    this.#degraded = false;
    onEvent('wal.state', { state: 'shipping', message: `repository ${repository} works again`, repository });
  }
}
