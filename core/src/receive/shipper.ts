import { statSync } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { ArchiveError } from '../contracts/errors.ts';
import type { EventSink } from '../contracts/hook.ts';
import type { Logger } from '../contracts/plugin.ts';
import {
  isSegmentSize,
  parseWalFileName,
  readSegmentHeader,
  SEGMENT_HEADER_BYTES,
  segmentNumberOf,
  type WalFile,
} from '../postgres/wal-file.ts';
import { within } from './backoff.ts';
import { asArchiveError } from './messages.ts';
import type { Outlet } from './outlet.ts';
import { holdsWal, pushEnd, writtenBytes } from './partial-segment.ts';
import type { Spool } from './spool.ts';
import { guard, spoolError } from './spool-error.ts';

export interface ShipperOptions {
  readonly spool: Spool;
  readonly systemId: string;
  /** Without any, files stay in the spool. */
  readonly outlets: readonly Outlet[];
  /** Files that are shipped at once. */
  readonly concurrency: number;
  readonly onEvent: EventSink;
  readonly logger: Logger;
  /** The list of waiting files has changed. */
  readonly onChange: () => void;
}

/**
 * How many segments shipping may be ahead of one that cannot be shipped: beyond that it waits. So a hole is never further from
 * the end of an archive than archive-ends.ts looks for it.
 */
export const AHEAD = 64n;

interface Item {
  readonly file: WalFile;
  readonly path: string;
  readonly size: number;
  /** Number of the segment; undefined for what is not a whole segment. */
  readonly number: bigint | undefined;
  running: boolean;
  /** Stays in the spool, nothing more is tried in this run. */
  aside: boolean;
}

/**
 * Ships finished files from the spool into all repositories; each leaves the spool when the last repository has confirmed
 * it, never earlier (H-04). What fails is tried again for ever and never delays receiving. The end of a timeline is archived as
 * slices: the name of the partial segment is PostgreSQL's, whose promoted server archives it with an end of its own.
 */
export class Shipper {
  readonly #options: ShipperOptions;
  readonly #queue: Item[] = [];
  readonly #running = new Set<Promise<void>>();
  readonly #cancel = new AbortController();

  constructor(options: ShipperOptions) {
    this.#options = options;
  }

  /** Files that are not in all repositories yet, in the order in which they are shipped. */
  get waiting(): readonly WalFile[] {
    return this.#queue.map(({ file }) => file);
  }

  /** Takes the whole segments and histories that an earlier run left; partial segments are the receiver's to give (H-04). */
  addLeftovers(): void {
    for (const { file } of this.#options.spool.files(this.#options.systemId)) {
      if (file.kind !== 'partial') this.add(file.name);
    }
  }

  /** Takes a file that the receiver has finished, once. */
  add(name: string): void {
    const file = parseWalFileName(name);
    if (file === undefined || this.#queue.some((item) => item.file.name === name)) return;
    const path = this.#options.spool.path(this.#options.systemId, name);
    const size = guard(path, () => statSync(path, { throwIfNoEntry: false }))?.size;
    if (size === undefined) return; // shipped by an earlier call
    const number = file.kind === 'segment' && isSegmentSize(size) ? segmentNumberOf(file, size) : undefined;
    const item: Item = { file, path, size, number, running: false, aside: false };
    // A history goes before the segments of its timeline.
    const before = this.#queue.findIndex(
      (other) => file.kind === 'history' && !other.running && other.file.timeline >= file.timeline,
    );
    this.#queue.splice(before < 0 ? this.#queue.length : before, 0, item);
    this.#options.onChange();
    this.#next();
  }

  /** Ships what there is, within a time in milliseconds; what fails now stays in the spool. Gives how many files are left. */
  async finish(milliseconds: number): Promise<number> {
    await within(milliseconds, this.#drained());
    this.#cancel.abort();
    return this.#queue.length;
  }

  async #drained(): Promise<void> {
    while (this.#running.size > 0) await Promise.race(this.#running);
  }

  #next(): void {
    if (this.#cancel.signal.aborted || this.#options.outlets.length === 0) return;
    const wanted = this.#queue.filter(({ aside }) => !aside);
    const oldest = this.#queue.reduce<bigint | undefined>((least, { number }) => lower(least, number), undefined);
    for (const item of wanted.slice(0, this.#options.concurrency)) {
      if (item.running || (oldest !== undefined && (item.number ?? oldest) >= oldest + AHEAD)) continue;
      item.running = true;
      const work = this.#ship(item).finally(() => {
        item.running = false;
        this.#running.delete(work);
        this.#next();
      });
      this.#running.add(work);
    }
  }

  async #ship(item: Item): Promise<void> {
    const { outlets, systemId, onEvent, onChange } = this.#options;
    const { file, path } = item;
    try {
      const length = file.kind === 'partial' ? await writtenBytes(path) : item.size;
      await Promise.all(
        outlets.map((outlet) =>
          outlet.run(
            async (repository, signal) => {
              const archive = repository.wal(systemId);
              if (file.kind === 'partial' && !holdsWal(length)) return;
              if (file.kind !== 'history') await checkHeader(file, path, systemId);
              if (file.kind === 'partial') {
                await pushEnd(archive, file.name.slice(0, -'.partial'.length), { path, length }, signal);
              } else await archive.push(file.name, { path }, { signal });
            },
            { subject: file.name, signal: this.#cancel.signal },
          ),
        ),
      );
      await rm(path, { force: true });
      onEvent('wal.shipped', { file: file.name, bytes: length });
      this.#queue.splice(this.#queue.indexOf(item), 1);
      onChange();
    } catch (error) {
      item.aside = true;
      this.#keep(file, asArchiveError(error));
    }
  }

  #keep(file: WalFile, error: ArchiveError): void {
    const { logger, onEvent } = this.#options;
    if (error.code === 'WAL_CONFLICT') onEvent('wal.conflict', { file: file.name, message: error.message });
    logger.warn({ file: file.name, code: error.code }, `${file.name} stays in the spool: ${error.message}`);
  }
}

function lower(a: bigint | undefined, b: bigint | undefined): bigint | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return a < b ? a : b;
}

/** Compares what a segment says about itself with its name. Throws `WAL_INVALID`. */
async function checkHeader(
  file: Exclude<WalFile, { readonly kind: 'history' }>,
  path: string,
  systemId: string,
): Promise<void> {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
  let size: number;
  try {
    const handle = await open(path);
    try {
      await handle.read(bytes, 0, bytes.length, 0);
      ({ size } = await handle.stat());
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw spoolError(path, error);
  }
  const header = readSegmentHeader(bytes, path);
  const address = segmentNumberOf(file, header.segmentSize) * BigInt(header.segmentSize);
  // The first segment of a timeline begins with pages that were written under its ancestor.
  const fits =
    header.systemId === systemId &&
    header.timeline <= file.timeline &&
    header.pageAddress === address &&
    header.segmentSize === size;
  if (fits) return;
  throw new ArchiveError('WAL_INVALID', `${path} holds other WAL than its name says`, {
    details: {
      path,
      size,
      system_id: header.systemId,
      timeline: header.timeline,
      segment_size: header.segmentSize,
      page_address: header.pageAddress.toString(16),
    },
  });
}
