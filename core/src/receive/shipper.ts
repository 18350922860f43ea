import { statSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import type { ArchiveError } from '../contracts/errors.ts';
import type { EventSink } from '../contracts/hook.ts';
import type { Logger } from '../contracts/plugin.ts';
import { isSegmentSize, parseWalFileName, segmentNumberOf, type WalFile } from '../postgres/wal-file.ts';
import { within } from './backoff.ts';
import type { ConfirmedFiles } from './confirmed-files.ts';
import type { Coming, HoleWatch } from './hole-watch.ts';
import { asArchiveError, type Lineage } from './messages.ts';
import type { Outlet } from './outlet.ts';
import { writtenBytes } from './partial-segment.ts';
import { shipFile } from './ship-file.ts';
import { ShippingLane, type SpooledFile } from './shipping-lane.ts';
import type { Spool, WalPosition } from './spool.ts';
import { guard, spoolError } from './spool-error.ts';
import type { TimesRecorder } from '../times/times-recorder.ts';

export interface ShipperOptions {
  readonly spool: Spool;
  readonly systemId: string;
  /** Without any, files stay in the spool. */
  readonly outlets: readonly Outlet[];
  /** What repositories have confirmed of the files that stay in the spool. */
  readonly confirmed: ConfirmedFiles;
  /** Files that are shipped at once into each repository. */
  readonly concurrency: number;
  /** With several repositories: tells what one lacks that another has. */
  readonly holes?: HoleWatch;
  /** Is given what is shipped, to keep when its transactions ended. */
  readonly times?: TimesRecorder;
  readonly onEvent: EventSink;
  readonly logger: Logger;
  /** A repository has a file. */
  readonly onShipped?: (outlet: Outlet, file: WalFile) => void;
}

interface QueuedFile extends SpooledFile {
  /** Repositories that have not confirmed it. */
  lacking: number;
}

/**
 * Ships finished files from the spool into all repositories, into each in a lane of its own that no other one holds up. A file
 * leaves the spool when the last repository has confirmed it, never earlier (H-04). What fails is tried again for ever and
 * never delays receiving.
 */
export class Shipper {
  readonly #options: ShipperOptions;
  readonly #files = new Map<string, QueuedFile>();
  readonly #lanes: ReadonlyMap<Outlet, ShippingLane<QueuedFile>>;

  constructor(options: ShipperOptions) {
    this.#options = options;
    this.#lanes = new Map(options.outlets.map((outlet) => [outlet, this.#lane(outlet)]));
  }

  /** Files that are not in all repositories yet, in the order in which they came. */
  get waiting(): readonly WalFile[] {
    return [...this.#files.values()].map(({ file }) => file);
  }

  /** How many files a repository lacks. */
  left(outlet: Outlet): number {
    return this.#lanes.get(outlet)?.left ?? 0;
  }

  /** The lowest number of a segment that a repository does not have yet; undefined when it has all. */
  firstMissing(outlet: Outlet): bigint | undefined {
    return this.#lanes.get(outlet)?.firstMissing;
  }

  /** Whether WAL of a timeline waits for its history on the way into a repository. */
  isHeld(outlet: Outlet, timeline: number): boolean {
    return this.#lanes.get(outlet)?.isHeld(timeline) ?? false;
  }

  /**
   * Whether a repository has all WAL of a line of descent before a position, but for what it gets from the spool. With one
   * repository it has: where to begin was decided by it alone. Throws as {@link Outlet.run}.
   */
  async isWhole(outlet: Outlet, to: WalPosition, segmentSize: number, signal: AbortSignal): Promise<boolean> {
    const coming = (): Coming => this.coming(outlet);
    return (await this.#options.holes?.isWhole(outlet, to, { segmentSize, coming }, signal)) ?? true;
  }

  /** Tells which repository lacks WAL before a position at which receiving goes on. */
  lookBefore(to: WalPosition, segmentSize: number, signal: AbortSignal): void {
    if (this.#options.holes === undefined) return;
    for (const outlet of this.#options.outlets) {
      // It is tried until it is known, or the run has ended.
      this.isWhole(outlet, to, segmentSize, signal).catch(() => undefined);
    }
  }

  /** The segments that wait for a repository at this moment. */
  coming(outlet: Outlet): Coming {
    return this.#lanes.get(outlet)?.segments ?? ((): boolean => false);
  }

  /** Remembers the line of descent of the server's timeline. */
  descent(timeline: number, lineage: Lineage): void {
    this.#options.holes?.descent(timeline, lineage);
  }

  /** Takes the whole segments and histories that an earlier run left; partial segments are the receiver's to give (H-04). */
  addLeftovers(): void {
    const { spool, systemId, confirmed, outlets } = this.#options;
    for (const { file } of spool.files(systemId)) {
      if (file.kind === 'partial') continue;
      const lacking = outlets.filter((outlet) => !confirmed.has(systemId, file.name, outlet));
      // What all have confirmed is asked for once more: it was to be removed, and is not lost for want of an object.
      this.#add(file.name, lacking.length > 0 ? lacking : outlets);
    }
  }

  /** Takes a file that the receiver has finished, once. */
  add(name: string): void {
    this.#add(name, this.#options.outlets);
  }

  #add(name: string, outlets: readonly Outlet[]): void {
    const file = parseWalFileName(name);
    if (file === undefined || this.#files.has(name)) return;
    const path = this.#path(file);
    const size = guard(path, () => statSync(path, { throwIfNoEntry: false }))?.size;
    if (size === undefined) return; // shipped by an earlier call
    const number = file.kind === 'segment' && isSegmentSize(size) ? segmentNumberOf(file, size) : undefined;
    const queued: QueuedFile = { file, size, number, lacking: outlets.length };
    this.#files.set(name, queued);
    if (file.kind === 'history') this.#options.holes?.history(file, path);
    this.#scan(queued);
    for (const outlet of outlets) this.#lanes.get(outlet)?.add(queued);
  }

  /** Ships what there is, within a time in milliseconds; what fails now stays in the spool. Gives how many files are left. */
  async finish(milliseconds: number): Promise<number> {
    const lanes = [...this.#lanes.values()];
    const drained = async (): Promise<void> => {
      await Promise.all(lanes.map((lane) => lane.drained()));
    };
    await within(milliseconds, drained());
    for (const lane of lanes) lane.cancel();
    return this.#files.size;
  }

  /** Segments are scanned in the order in which they come; of very many at once some only when they are shipped. */
  #scan({ file, size, number }: QueuedFile): void {
    if (number === undefined) return;
    this.#options.times?.take({ name: file.name, segmentSize: size, to: size }, [this.#path(file)]);
  }

  #lane(outlet: Outlet): ShippingLane<QueuedFile> {
    const { systemId, concurrency, holes, onShipped } = this.#options;
    return new ShippingLane<QueuedFile>({
      concurrency,
      ...(holes !== undefined && { prepare: (first, signal) => holes.check(outlet, first, signal) }),
      ship: (queued, signal) => {
        const { file } = queued;
        this.#scan(queued);
        return outlet.run(
          (repository, signal) => shipFile(repository.wal(systemId), { file, path: this.#path(file), signal }),
          { subject: file.name, signal },
        );
      },
      onShipped: (file) => this.#shipped(outlet, file),
      onLeft: ({ file }) => {
        onShipped?.(outlet, file);
        if (this.left(outlet) === 0) outlet.caughtUp();
      },
      onKept: ({ file }, error) => {
        this.#keep(outlet, file, error);
      },
    });
  }

  async #shipped(outlet: Outlet, queued: QueuedFile): Promise<void> {
    const { systemId, confirmed, onEvent, logger } = this.#options;
    const { file, size } = queued;
    queued.lacking -= 1;
    if (queued.lacking > 0) {
      try {
        confirmed.add(systemId, file.name, outlet);
      } catch (error) {
        logger.debug({ file: file.name }, `that it is shipped is not on record: ${asArchiveError(error).message}`);
      }
      return;
    }
    const path = this.#path(file);
    const bytes = file.kind === 'partial' ? await writtenBytes(path) : size;
    try {
      await rm(path, { force: true });
    } catch (error) {
      throw spoolError(path, error);
    }
    this.#files.delete(file.name);
    confirmed.drop(systemId, file.name);
    onEvent('wal.shipped', { file: file.name, bytes });
  }

  #keep(outlet: Outlet, file: WalFile, error: ArchiveError): void {
    const { outlets, logger, onEvent, times } = this.#options;
    if (error.code === 'WAL_CONFLICT') times?.drop(file.name);
    if (error.code === 'WAL_CONFLICT')
      onEvent('wal.conflict', { repository: outlet.name, file: file.name, message: error.message });
    const why = outlets.length > 1 ? `repository ${outlet.name}: ${error.message}` : error.message;
    logger.warn({ file: file.name, code: error.code }, `${file.name} stays in the spool: ${why}`);
  }

  #path(file: WalFile): string {
    return this.#options.spool.path(this.#options.systemId, file.name);
  }
}
