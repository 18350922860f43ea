import type { ArchiveError } from '../contracts/errors.ts';
import type { WalFile } from '../postgres/wal-file.ts';
import { asArchiveError } from './messages.ts';

/**
 * How many segments of a timeline shipping may be ahead of one that cannot be shipped: beyond that it waits. So a hole is never
 * further from the end of an archive than archive-ends.ts looks for it.
 */
export const AHEAD = 64n;

/** A file that waits in the spool. */
export interface SpooledFile {
  readonly file: WalFile;
  /** Bytes. */
  readonly size: number;
  /** Number of the segment; undefined for what is not a whole segment. */
  readonly number: bigint | undefined;
}

export interface ShippingLaneOptions<File extends SpooledFile> {
  /** Files that are shipped at once. */
  readonly concurrency: number;
  /** Work before the first segment of the run, tried again with the next one when it fails. */
  readonly prepare?: (first: File, signal: AbortSignal) => Promise<void>;
  /** Puts a file into the repository; tried until it succeeds. */
  readonly ship: (file: File, signal: AbortSignal) => Promise<void>;
  /** The repository has the file; when this fails the file is kept. */
  readonly onShipped: (file: File) => Promise<void>;
  /** The file has left the lane. */
  readonly onLeft: (file: File) => void;
  /** The file stays in the spool, nothing more is tried in this run. */
  readonly onKept: (file: File, error: ArchiveError) => void;
}

interface Entry<File> {
  readonly file: File;
  running: boolean;
  /** Stays in the spool, nothing more is tried in this run. */
  aside: boolean;
}

/**
 * The way of the files into one repository: in order, some at once, and never held up by another repository. A file costs a few
 * words while it waits; nothing is read or begun before its turn. WAL of a timeline waits until its history is there: that of another
 * server, which was promoted to the same number, may be there instead, and then it would lie under a history that is not its own.
 */
export class ShippingLane<File extends SpooledFile> {
  readonly #options: ShippingLaneOptions<File>;
  readonly #queue: Entry<File>[] = [];
  readonly #running = new Set<Promise<void>>();
  /** Timelines whose history the repository does not have yet. */
  readonly #withoutHistory = new Set<number>();
  readonly #cancel = new AbortController();
  /** The lowest number in the queue, unless it has to be looked for: that takes a while when many files wait. */
  #least: bigint | undefined;
  #prepared: Promise<void> | undefined;

  constructor(options: ShippingLaneOptions<File>) {
    this.#options = options;
  }

  /** Files that this repository does not have yet. */
  get left(): number {
    return this.#queue.length;
  }

  /** The lowest number of a segment, of any timeline, that this repository does not have yet. */
  get firstMissing(): bigint | undefined {
    this.#least ??= this.#queue.reduce<bigint | undefined>((least, { file }) => lower(least, file.number), undefined);
    return this.#least;
  }

  /** The segments that this repository does not have yet, at this moment; asked by timeline and number. */
  get segments(): (timeline: number, number: bigint) => boolean {
    const names = new Set(this.#queue.map(({ file }) => `${file.file.timeline} ${String(file.number)}`));
    return (timeline, number) => names.has(`${timeline} ${number}`);
  }

  /** Whether WAL of a timeline waits for its history. */
  isHeld(timeline: number): boolean {
    return this.#withoutHistory.has(timeline);
  }

  /** Takes a file: at the end, but a history before the segments of its timeline. */
  add(file: File): void {
    const { kind, timeline } = file.file;
    const before =
      kind === 'history'
        ? this.#queue.findIndex((other) => !other.running && other.file.file.timeline >= timeline)
        : -1;
    this.#queue.splice(before < 0 ? this.#queue.length : before, 0, { file, running: false, aside: false });
    if (kind === 'history') this.#withoutHistory.add(timeline);
    if (this.#least !== undefined) this.#least = lower(this.#least, file.number);
    this.#next();
  }

  /** Waits until nothing is under way. */
  async drained(): Promise<void> {
    while (this.#running.size > 0) await Promise.race(this.#running);
  }

  /** Ends what is under way. */
  cancel(): void {
    this.#cancel.abort();
  }

  #next(): void {
    if (this.#cancel.signal.aborted) return;
    let places = this.#options.concurrency;
    for (const entry of this.#queue) {
      const { kind, timeline } = entry.file.file;
      if (entry.aside || (kind !== 'history' && !entry.running && this.isHeld(timeline))) continue;
      if (places === 0) return;
      places -= 1;
      if (!entry.running && !this.#isTooFarAhead(entry.file)) this.#begin(entry);
    }
  }

  /** Segments of a timeline come in order, so that the first one in the queue is the lowest. */
  #isTooFarAhead({ file, number }: File): boolean {
    if (number === undefined) return false;
    const first = this.#queue.find(
      (other) => other.file.number !== undefined && other.file.file.timeline === file.timeline,
    );
    return number >= (first?.file.number ?? number) + AHEAD;
  }

  #begin(entry: Entry<File>): void {
    entry.running = true;
    const work = this.#ship(entry).finally(() => {
      entry.running = false;
      this.#running.delete(work);
      this.#next();
    });
    this.#running.add(work);
  }

  async #ship(entry: Entry<File>): Promise<void> {
    const { ship, onShipped, onLeft, onKept } = this.#options;
    const { file } = entry;
    try {
      if (file.number !== undefined) await this.#prepare(file);
      await ship(file, this.#cancel.signal);
      await onShipped(file);
      this.#queue.splice(this.#queue.indexOf(entry), 1);
      if (file.file.kind === 'history') this.#withoutHistory.delete(file.file.timeline);
      if (file.number === this.#least) this.#least = undefined;
      onLeft(file);
    } catch (error) {
      entry.aside = true;
      onKept(file, asArchiveError(error));
    }
  }

  #prepare(file: File): Promise<void> {
    this.#prepared ??= (this.#options.prepare?.(file, this.#cancel.signal) ?? Promise.resolve()).catch(
      (error: unknown) => {
        this.#prepared = undefined;
        throw error;
      },
    );
    return this.#prepared;
  }
}

function lower(a: bigint | undefined, b: bigint | undefined): bigint | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return a < b ? a : b;
}
