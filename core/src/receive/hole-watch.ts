import { readFileSync } from 'node:fs';
import { isArchiveError } from '../contracts/errors.ts';
import type { EventSink } from '../contracts/hook.ts';
import type { Logger } from '../contracts/plugin.ts';
import { formatLsn } from '../postgres/lsn.ts';
import { ancestry, parseHistory } from '../postgres/timeline.ts';
import type { WalFile } from '../postgres/wal-file.ts';
import type { Fact } from '../repository/facts.ts';
import type { Repository } from '../repository/repository.ts';
import { holeBefore, type Hole, type Look } from './frontier.ts';
import { asArchiveError, type Lineage } from './messages.ts';
import type { Outlet } from './outlet.ts';
import type { SpooledFile } from './shipping-lane.ts';
import type { WalPosition } from './spool.ts';

export interface HoleWatchOptions {
  readonly systemId: string;
  /** All of the run. */
  readonly outlets: readonly Outlet[];
  /** Records of gaps that a repository does not have yet: what is lost for all is not behind in one. */
  readonly owed: (outlet: Outlet) => readonly Fact[];
  /** Whether the archive begins with this run: no repository that answered at its start held any WAL. */
  readonly isNew: () => boolean;
  readonly onEvent: EventSink;
  readonly logger: Logger;
}

/** Whether a segment, by timeline and number, is on its way into a repository. */
export type Coming = (timeline: number, number: bigint) => boolean;

interface LookOptions {
  readonly segmentSize: number;
  /** What waits in the spool for the repository, at the moment of the call. */
  readonly coming: () => Coming;
}

/**
 * Tells when a repository lacks WAL that another one has: what was shipped while it was not in the config, or was left out of the
 * decision where to begin. Asked of each repository before the first segment of a run is shipped into it, and before anything is
 * acknowledged because it has it.
 */
export class HoleWatch {
  readonly #options: HoleWatchOptions;
  readonly #lineages = new Map<number, Lineage>();
  /** The first look at each repository, which comes before anything is shipped into it; undefined when it cannot be looked into. */
  readonly #first = new Map<Outlet, Promise<Look | undefined>>();
  readonly #holed = new Set<Outlet>();
  readonly #told = new Set<string>();

  constructor(options: HoleWatchOptions) {
    this.#options = options;
  }

  /** Remembers a line of descent, as the server tells it. */
  descent(timeline: number, lineage: Lineage): void {
    this.#lineages.set(timeline, lineage);
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

  /** Looks before the first segment is shipped, and tells. Tries until the repository answers; throws as {@link Outlet.run}. */
  async check(outlet: Outlet, { file, size, number }: SpooledFile, signal: AbortSignal): Promise<void> {
    const first = this.#first.get(outlet);
    if (first !== undefined) {
      try {
        await first;
        return;
      } catch {
        // Whoever looked was cancelled: nothing is known yet.
      }
    }
    const to = { timeline: file.timeline, lsn: (number ?? 0n) * BigInt(size) };
    await this.#look(outlet, to, { segmentSize: size, coming: () => () => false }, signal);
  }

  /**
   * Whether what a repository has counts as all there is before a position: it has no hole but what is on its way, none was found in this
   * run, and it is not empty beside one that holds WAL, for then nothing can be restored from it alone. Tries until that is known;
   * throws as {@link Outlet.run}.
   */
  async isWhole(outlet: Outlet, to: WalPosition, options: LookOptions, signal: AbortSignal): Promise<boolean> {
    const look = await this.#look(outlet, to, options, signal);
    if (look === undefined || this.#holed.has(outlet)) return false;
    if (!look.empty || this.#options.isNew()) return true;
    for (const other of this.#options.outlets) {
      // One that was never used by this spool, and does not answer, is taken for new.
      if (other === outlet || other.id === undefined) continue;
      const looked = await this.#first.get(other);
      if (looked?.empty !== true) return false;
    }
    return true;
  }

  #look(outlet: Outlet, to: WalPosition, options: LookOptions, signal: AbortSignal): Promise<Look | undefined> {
    const looked = outlet
      .run((repository, signal) => this.#ask(outlet, repository, to, options, signal), {
        subject: 'the end of the archive',
        signal,
      })
      .then((look) => {
        if (look?.hole !== undefined) this.#tell(outlet, look.hole);
        return look;
      });
    if (!this.#first.has(outlet)) {
      this.#first.set(outlet, looked);
      looked.catch(() => this.#first.delete(outlet));
    }
    return looked;
  }

  #tell(outlet: Outlet, hole: Hole): void {
    const { onEvent, logger } = this.#options;
    this.#holed.add(outlet);
    const [from, end] = [hole.from, hole.to].map(({ timeline, lsn }) => `${formatLsn(lsn)} on timeline ${timeline}`);
    // Once for each hole, from wherever it is seen.
    const known = `${outlet.name} ${from}`;
    if (this.#told.has(known)) return;
    this.#told.add(known);
    const message = `repository ${outlet.name} lacks WAL from ${from} to ${end}, which was not in the spool for it`;
    const hint = `Run "pgark copy" to bring it from a repository that has it, then start the receiver again: until then what ${outlet.name} has is not acknowledged.`;
    logger.warn({ repository: outlet.name, hint }, message);
    onEvent('wal.state', { state: 'REPOSITORY_BEHIND', message, repository: outlet.name });
  }

  async #ask(
    outlet: Outlet,
    repository: Repository,
    to: WalPosition,
    { segmentSize, coming }: LookOptions,
    signal: AbortSignal,
  ): Promise<Look | undefined> {
    const { systemId, logger, owed } = this.#options;
    const { timeline } = to;
    // Without its history only the timeline itself can be looked at.
    const lineage = this.#lineages.get(timeline) ?? [{ timeline, start: 0n, end: undefined }];
    // What leaves the spool from here on is in the repository when that is listed.
    const options = { segmentSize, lineage, owed: owed(outlet), coming: coming(), signal };
    try {
      return await holeBefore(repository, systemId, to, options);
    } catch (error) {
      // Shipping must not wait for an object that is damaged.
      if (!isArchiveError(error, 'REPOSITORY_FORMAT')) throw error;
      logger.warn({ repository: repository.name, code: error.code }, `cannot look for holes: ${error.message}`);
      return undefined;
    }
  }
}
