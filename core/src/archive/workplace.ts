/** What the operations of an archive work with: its config, and its repositories and hooks, opened when they are wanted. */
import {
  openEvents,
  openRepositories,
  registryOf,
  serverOf,
  type OpenRepositories,
  type RepositoriesOptions,
  type TargetOptions,
} from '../archive-parts.ts';
import type { Config } from '../config/config.ts';
import type { LoadedConfig } from '../config/load.ts';
import type { Logger, MetricSample, Plugin } from '../contracts/plugin.ts';
import type { HookDelivery } from '../hooks/courier.ts';
import type { Events } from '../hooks/events.ts';
import type { Registry } from '../plugins/registry.ts';
import type { ConnectionTarget } from '../postgres/target.ts';

export interface WorkplaceOptions extends Pick<RepositoriesOptions, 'onStorageCall'> {
  readonly loaded: LoadedConfig;
  readonly logger: Logger;
  readonly plugins?: readonly Plugin[];
  readonly onMetric?: (sample: MetricSample) => void;
  readonly onDelivery?: (delivery: HookDelivery) => void;
  /** See `OpenArchiveOptions.command`. */
  readonly command?: readonly string[];
  /** Fires when the archive is to stop. */
  readonly signal: AbortSignal;
}

/** How an operation wants the repositories; see {@link RepositoriesOptions}. */
export type OpeningOptions = Omit<RepositoriesOptions, 'logger' | 'onStorageCall'>;

/** What an operation works with. */
export type Opened = Pick<OpenRepositories, 'repositories' | 'writable'>;

/** A call of an archive, for the operation that does it. */
export interface Workplace {
  readonly loaded: LoadedConfig;
  readonly config: Config;
  readonly logger: Logger;
  readonly registry: Registry;
  readonly command: readonly string[] | undefined;
  /** Fires when the call is cancelled, when the archive is to stop, and when it is closed. */
  readonly signal: AbortSignal;
  /** Repositories. They stay open for later calls, unless they are for this one alone, by a rate or a moment. */
  open(options?: OpeningOptions): Promise<Opened>;
  /**
   * Hooks, for work that tells of events: whoever only reads needs neither their plugins nor their secrets. Asked for before {@link open}, they
   * can be told that there is no repository.
   */
  hooks(): Promise<Events>;
  /** Where the server is. Errors: `SECRET_UNAVAILABLE`, `CONFIG_INVALID`. */
  target(options?: TargetOptions): Promise<ConnectionTarget>;
  /** Closes this too when the archive is closed, and before its repositories. */
  onClose(close: () => Promise<void>): void;
}

/** All that one archive has open. */
export class Holdings {
  readonly registry: Registry;
  readonly #options: WorkplaceOptions;
  readonly #sets = new Map<string, Promise<OpenRepositories>>();
  readonly #closing = new Set<() => Promise<void>>();
  #events: Promise<Events> | undefined;

  constructor(options: WorkplaceOptions) {
    this.#options = options;
    this.registry = registryOf(options.loaded, options);
  }

  /** Runs an operation, and closes what was opened for it alone. */
  async run<Result>(signal: AbortSignal, work: (at: Workplace) => Promise<Result>): Promise<Result> {
    const { loaded, logger, command } = this.#options;
    const own: Promise<OpenRepositories>[] = [];
    try {
      return await work({
        loaded,
        config: loaded.config,
        logger,
        registry: this.registry,
        command,
        signal,
        open: async (options = {}) => {
          const { repositories, writable } = await this.#repositories(options, own);
          return { repositories, writable };
        },
        hooks: () => this.#hooks(),
        target: (options = {}) => serverOf(loaded, { ...options, logger, signal }),
        onClose: (close) => void this.#closing.add(close),
      });
    } finally {
      for (const opening of own) await closeQuietly(opening, logger);
    }
  }

  #repositories(options: OpeningOptions, own: Promise<OpenRepositories>[]): Promise<OpenRepositories> {
    const { loaded, logger, onStorageCall } = this.#options;
    const open = (): Promise<OpenRepositories> =>
      openRepositories(loaded, this.registry, {
        ...options,
        logger,
        ...(onStorageCall === undefined ? {} : { onStorageCall }),
      });
    if (options.asOf !== undefined || options.maxDownloadRate !== undefined) {
      const opening = open();
      own.push(opening);
      return opening;
    }
    const key = JSON.stringify([options.repositories ?? [], options.retry ?? {}]);
    let opening = this.#sets.get(key);
    if (opening === undefined) {
      opening = open();
      this.#sets.set(key, opening);
      // It is tried again at the next call.
      opening.catch(() => this.#sets.delete(key));
    }
    return opening;
  }

  #hooks(): Promise<Events> {
    const { loaded } = this.#options;
    if (this.#events === undefined) {
      const opening = openEvents(loaded, this.registry, this.#options);
      this.#events = opening;
      opening.catch(() => (this.#events = undefined));
    }
    return this.#events;
  }

  /** Frees everything, and throws the first failure of doing so. */
  async close(): Promise<void> {
    const first = await Promise.allSettled([...this.#closing].map((close) => close()));
    const openings = [...this.#sets.values(), ...(this.#events === undefined ? [] : [this.#events])];
    const rest = await Promise.allSettled(
      openings.map(async (opening) => {
        const opened = await opening.catch(() => undefined); // it was told to who wanted it
        await opened?.close();
      }),
    );
    const failed = [...first, ...rest].find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }
}

/** The work is done; what is left open shows in the log. */
async function closeQuietly(opening: Promise<OpenRepositories>, logger: Logger): Promise<void> {
  const opened = await opening.catch(() => undefined); // it was told to who wanted it
  try {
    await opened?.close();
  } catch (error) {
    logger.warn({ error }, 'a repository was not closed cleanly');
  }
}
