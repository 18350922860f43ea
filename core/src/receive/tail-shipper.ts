import { ArchiveError } from '../contracts/errors.ts';
import type { Logger } from '../contracts/plugin.ts';
import { parseWalFileName } from '../postgres/wal-file.ts';
import { pause, within } from './backoff.ts';
import type { Slice, SystemInfo } from './messages.ts';
import type { Outlet } from './outlet.ts';
import type { Spool, WalPosition } from './spool.ts';
import { TailLane } from './tail-lane.ts';

export interface TailShipperOptions {
  readonly spool: Spool;
  readonly system: SystemInfo;
  /** At least one. */
  readonly outlets: readonly Outlet[];
  /** The least time between two slices, milliseconds. */
  readonly interval: number;
  /** The lowest number of a whole segment in the spool that a repository does not have. */
  readonly firstMissing: (outlet: Outlet) => bigint | undefined;
  /** Whether WAL of a timeline waits for its history. Default: it does not. */
  readonly isHeld?: (outlet: Outlet, timeline: number) => boolean;
  /** As that of {@link import('./tail-lane.ts').TailLaneOptions}. */
  readonly isWhole?: (outlet: Outlet, to: WalPosition, signal: AbortSignal) => Promise<boolean>;
  /** Asks the receiver for the next slice. */
  readonly want: () => void;
  readonly logger: Logger;
  /** A repository has WAL up to here, on the timeline of the open segment. */
  readonly onConfirmed: (position: WalPosition) => void;
}

/**
 * Archives the open segment slice by slice, into each repository in a lane of its own, and knows how far the one that is ahead has the
 * WAL without a hole: that is what the policy `remote` acknowledges, so that one that is down stops no commit. The next slice is
 * asked for when the first repository has the last one.
 */
export class TailShipper {
  readonly #options: TailShipperOptions;
  readonly #cancel = new AbortController();
  readonly #lanes: readonly TailLane[];
  /** Ends the present pause. */
  #hurry = new AbortController();
  #hurried = false;
  #timeline: number | undefined;
  #asked = false;
  /** The slice that no repository has yet. */
  #awaited: Slice | undefined;
  /** Counts the slices: only behind the last one another is asked for. */
  #slices = 0;
  #finishing = false;

  constructor(options: TailShipperOptions) {
    this.#options = options;
    const { spool, system, outlets, firstMissing, isHeld, isWhole, logger } = options;
    this.#lanes = outlets.map(
      (outlet) =>
        new TailLane({
          spool,
          system,
          outlet,
          firstMissing: () => firstMissing(outlet),
          isHeld: (timeline) => isHeld?.(outlet, timeline) ?? false,
          ...(isWhole !== undefined && { isWhole: (to, signal) => isWhole(outlet, to, signal) }),
          logger,
          signal: this.#cancel.signal,
          onProgress: () => {
            this.#confirm();
            this.#goOn();
          },
        }),
    );
  }

  /** The receiver has opened a segment. */
  opened(name: string, start: bigint): void {
    this.#timeline = parseWalFileName(name)?.timeline;
    if (this.#timeline === undefined) throw new ArchiveError('INTERNAL', `${name} is no segment`);
    for (const lane of this.#lanes) lane.opened(name, start);
    this.#confirm();
    this.#want();
  }

  /** A repository has a file of the spool. */
  shipped(outlet: Outlet, name: string): void {
    this.#lanes.find((lane) => lane.outlet === outlet)?.hasWhole(name);
    this.#confirm();
    this.#goOn();
  }

  /** The end of what a repository has without a hole, if that is known. */
  reached(outlet: Outlet): bigint | undefined {
    return this.#lanes.find((lane) => lane.outlet === outlet)?.reached;
  }

  /** The server waits for a report: the next slice is wanted now. */
  hurry(): void {
    this.#hurried = true;
    this.#hurry.abort();
  }

  /** Archives a slice, then asks for the next one. */
  take(slice: Slice): void {
    this.#asked = false;
    this.#hurried = false;
    this.#awaited = slice;
    this.#slices += 1;
    for (const lane of this.#lanes) lane.archive(slice.name, slice.to);
    this.#goOn();
  }

  /** The receiver has ended: archives what is durable in the open segment, within a time in milliseconds. */
  async finish(durable: bigint, milliseconds: number): Promise<void> {
    this.#finishing = true;
    this.hurry();
    const rest = Promise.all(this.#lanes.map((lane) => lane.finish(durable)));
    await within(
      milliseconds,
      rest.then(() => undefined),
    );
    this.#cancel.abort();
  }

  #want(): void {
    if (this.#asked || this.#finishing) return;
    this.#asked = true;
    this.#options.want();
  }

  /** Asks for the next slice, after a time, once a repository has the last one. */
  #goOn(): void {
    const slice = this.#awaited;
    if (slice === undefined || !this.#lanes.some((lane) => lane.isDone(slice.name, slice.to))) return;
    this.#awaited = undefined;
    void this.#wantLater(this.#slices);
  }

  async #wantLater(slices: number): Promise<void> {
    this.#hurry = new AbortController();
    const signal = AbortSignal.any([this.#cancel.signal, this.#hurry.signal]);
    if (!this.#hurried) await pause(this.#options.interval, signal);
    if (slices === this.#slices) this.#want();
  }

  #confirm(): void {
    const timeline = this.#timeline;
    if (timeline === undefined) return;
    let furthest = 0n;
    for (const { reached } of this.#lanes) if (reached !== undefined && reached > furthest) furthest = reached;
    this.#options.onConfirmed({ timeline, lsn: furthest });
  }
}
