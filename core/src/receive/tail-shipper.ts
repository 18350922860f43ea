import { open } from 'node:fs/promises';
import { ArchiveError, errnoOf } from '../contracts/errors.ts';
import { parseWalFileName, segmentNumberOf, type WalFile } from '../postgres/wal-file.ts';
import { pause, within } from './backoff.ts';
import type { Logger } from '../contracts/plugin.ts';
import { asArchiveError, MOST_OF_SLICE, type Slice, type SystemInfo } from './messages.ts';
import type { Outlet } from './outlet.ts';
import { readBytes } from './partial-segment.ts';
import type { Spool, WalPosition } from './spool.ts';
import { spoolError } from './spool-error.ts';

export interface TailShipperOptions {
  readonly spool: Spool;
  readonly system: SystemInfo;
  readonly outlets: readonly Outlet[];
  /** The least time between two slices, milliseconds. */
  readonly interval: number;
  /** Asks the receiver for the next slice. */
  readonly want: () => void;
  readonly logger: Logger;
  /** The storage has WAL up to here, on the timeline of the open segment. */
  readonly onConfirmed: (position: WalPosition) => void;
}

/**
 * Archives the open segment slice by slice, and knows how far the storage has the WAL without a hole: that is what the
 * policy `remote` acknowledges. One slice is under way at a time; what comes meanwhile goes into the next.
 */
export class TailShipper {
  readonly #options: TailShipperOptions;
  readonly #cancel = new AbortController();
  /** Ends the present pause. */
  #hurry = new AbortController();
  #hurried = false;
  #open: { readonly name: string; readonly timeline: number; readonly start: bigint; archived: number } | undefined;
  #waiting: readonly WalFile[] = [];
  #work: Promise<void> = Promise.resolve();
  #asked = false;
  #finishing = false;

  constructor(options: TailShipperOptions) {
    this.#options = options;
  }

  /** The receiver has opened a segment. */
  opened(name: string, start: bigint): void {
    const timeline = parseWalFileName(name)?.timeline;
    if (timeline === undefined) throw new ArchiveError('INTERNAL', `${name} is no segment`);
    if (name !== this.#open?.name) this.#open = { name, timeline, start, archived: 0 };
    this.#confirm();
    this.#want();
  }

  /** The finished files that are not archived yet have changed. */
  waiting(files: readonly WalFile[]): void {
    const open = this.#open;
    const holds = (list: readonly WalFile[]): boolean => list.some(({ name }) => name === open?.name);
    if (open !== undefined && holds(this.#waiting) && !holds(files)) open.archived = this.#options.system.segmentSize;
    this.#waiting = files;
    this.#confirm();
  }

  /** The server waits for a report: the next slice is wanted now. */
  hurry(): void {
    this.#hurried = true;
    this.#hurry.abort();
  }

  /** Archives a slice, then asks for the next one. */
  take(slice: Slice): void {
    this.#asked = false;
    this.#work = this.#shipThenWait(slice);
  }

  /** The receiver has ended: archives what is durable in the open segment, within a time in milliseconds. */
  async finish(durable: bigint, milliseconds: number): Promise<void> {
    this.#finishing = true;
    this.hurry();
    await within(milliseconds, this.#shipRest(durable));
    this.#cancel.abort();
  }

  async #shipRest(durable: bigint): Promise<void> {
    await this.#work;
    for (let open = this.#open; open !== undefined; open = this.#open) {
      const from = open.archived;
      const to = Math.min(Number(durable - open.start), from + MOST_OF_SLICE);
      if (to <= from || !(await this.#ship({ name: open.name, from, to }))) return;
    }
  }

  #want(): void {
    if (this.#asked || this.#finishing) return;
    this.#asked = true;
    this.#options.want();
  }

  async #shipThenWait(slice: Slice): Promise<void> {
    this.#hurried = false;
    await this.#ship(slice);
    this.#hurry = new AbortController();
    const signal = AbortSignal.any([this.#cancel.signal, this.#hurry.signal]);
    if (!this.#hurried) await pause(this.#options.interval, signal);
    this.#want();
  }

  /** Archives a slice; gives whether it is in all repositories now. */
  async #ship({ name, from, to }: Slice): Promise<boolean> {
    const { spool, system, outlets, logger } = this.#options;
    const { signal } = this.#cancel;
    try {
      const bytes = await readSlice(spool.path(system.systemId, name), from, to);
      await Promise.all(
        outlets.map((outlet) =>
          outlet.run((repository) => repository.wal(system.systemId).pushTail(name, from, to, bytes, { signal }), {
            subject: `${name}.tail`,
            signal,
          }),
        ),
      );
    } catch (error) {
      // The slice is missing now, but its bytes are in the spool, and in the archive with the whole segment.
      logger.debug({ file: name, from, to }, `a slice was not archived: ${asArchiveError(error).message}`);
      return false;
    }
    const open = this.#open;
    if (open?.name === name && from <= open.archived) open.archived = Math.max(open.archived, to);
    this.#confirm();
    return true;
  }

  #confirm(): void {
    const open = this.#open;
    if (open === undefined) return;
    const { segmentSize } = this.#options.system;
    let confirmed = open.start + BigInt(open.archived);
    for (const file of this.#waiting) {
      if (file.kind !== 'segment') continue;
      const start = segmentNumberOf(file, segmentSize) * BigInt(segmentSize);
      if (start < confirmed) confirmed = start;
    }
    this.#options.onConfirmed({ timeline: open.timeline, lsn: confirmed });
  }
}

/** Reads bytes of a segment that may be finished, and renamed, at any time. */
async function readSlice(path: string, from: number, to: number): Promise<Uint8Array> {
  try {
    const handle = await open(`${path}.partial`).catch((error: unknown) => {
      if (errnoOf(error) !== 'ENOENT') throw error;
      return open(path);
    });
    try {
      return await readBytes(handle, from, to);
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw spoolError(path, error);
  }
}
