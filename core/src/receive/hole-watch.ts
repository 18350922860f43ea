import { readFileSync } from 'node:fs';
import { isArchiveError } from '../contracts/errors.ts';
import type { EventSink } from '../contracts/hook.ts';
import type { Logger } from '../contracts/plugin.ts';
import { formatLsn } from '../postgres/lsn.ts';
import { ancestry, parseHistory, type TimelineRange } from '../postgres/timeline.ts';
import type { WalFile } from '../postgres/wal-file.ts';
import type { Fact } from '../repository/facts.ts';
import type { Repository } from '../repository/repository.ts';
import type { ArchiveEndsOptions } from './archive-ends.ts';
import { holeBefore, type Hole } from './frontier.ts';
import { asArchiveError } from './messages.ts';
import type { Outlet } from './outlet.ts';
import type { SpooledFile } from './shipping-lane.ts';

export interface HoleWatchOptions {
  readonly systemId: string;
  /** Records of gaps that a repository does not have yet: what is lost for all is not behind in one. */
  readonly owed: (outlet: Outlet) => readonly Fact[];
  readonly onEvent: EventSink;
  readonly logger: Logger;
}

/**
 * Tells when a repository lacks WAL that another one has: what was shipped while it was not in the config, or was left out of the
 * decision where to begin. Asked of each repository before the first segment of a run is shipped into it.
 */
export class HoleWatch {
  readonly #options: HoleWatchOptions;
  readonly #lineages = new Map<number, readonly TimelineRange[]>();

  constructor(options: HoleWatchOptions) {
    this.#options = options;
  }

  /** Remembers a history that is in the spool: it may have left it when a repository is back. */
  history({ name, timeline }: WalFile, path: string): void {
    try {
      this.#lineages.set(timeline, ancestry(timeline, parseHistory(readFileSync(path), name)));
    } catch (error) {
      const message = `holes before timeline ${timeline} will not be seen: ${asArchiveError(error).message}`;
      this.#options.logger.warn({ file: name }, message);
    }
  }

  /** Looks, and tells. Tries until the repository answers; throws as {@link Outlet.run}. */
  async check(outlet: Outlet, { file, size, number }: SpooledFile, signal: AbortSignal): Promise<void> {
    const { owed, onEvent, logger } = this.#options;
    const to = { timeline: file.timeline, lsn: (number ?? 0n) * BigInt(size) };
    const hole = await outlet.run(
      (repository, signal) => this.#look(repository, to, { segmentSize: size, owed: owed(outlet), signal }),
      {
        subject: 'the end of the archive',
        signal,
      },
    );
    if (hole === undefined) return;
    const [from, end] = [hole.from, hole.to].map(({ timeline, lsn }) => `${formatLsn(lsn)} on timeline ${timeline}`);
    const message = `repository ${outlet.name} lacks WAL from ${from} to ${end}, which was not in the spool for it`;
    logger.warn(
      { repository: outlet.name, hint: 'Run "pgark copy" to bring it from a repository that has it.' },
      message,
    );
    onEvent('wal.state', { state: 'REPOSITORY_BEHIND', message });
  }

  async #look(
    repository: Repository,
    to: Hole['to'],
    options: Omit<ArchiveEndsOptions, 'lineage'>,
  ): Promise<Hole | undefined> {
    const { systemId, logger } = this.#options;
    const { timeline } = to;
    // Without its history only the timeline itself can be looked at.
    const lineage = this.#lineages.get(timeline) ?? [{ timeline, start: 0n, end: undefined }];
    try {
      return await holeBefore(repository, systemId, to, { ...options, lineage });
    } catch (error) {
      // Shipping must not wait for an object that is damaged.
      if (!isArchiveError(error, 'REPOSITORY_FORMAT')) throw error;
      logger.warn({ repository: repository.name, code: error.code }, `cannot look for holes: ${error.message}`);
      return undefined;
    }
  }
}
