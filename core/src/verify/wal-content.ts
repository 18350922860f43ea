/** Reads WAL: digests, headers, pages, and records along the segments that follow each other. */
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import { isLeased, releaseChunk } from '../contracts/lease.ts';
import { SEGMENT_HEADER_BYTES } from '../postgres/wal-file.ts';
import { WalRecordReader } from '../postgres/wal-records.ts';
import { collect } from '../repository/objects.ts';
import type { WalArchive, WalObject, WalSlice } from '../repository/wal.ts';
import { checkSegment, checkTextFile, isSegmentFile, type SegmentFile } from '../wal-command/segment-check.ts';
import type { ClosedObjects } from './closed-objects.ts';
import { drawFor, evenDraw } from './draw.ts';
import { NOTHING, type Unrestorable } from './finding.ts';
import type { Impact } from './impact.ts';
import { readAhead } from './read-ahead.ts';
import { isClosed, problemOf, type Report } from './report.ts';
import type { VerifySettings } from './settings.ts';
import { entriesOf, ListingDigest, numberOf, plainSizeOf, type WalListing, type WalStretch } from './wal-listing.ts';

/** Objects of a timeline that a sample reads, beside the first and the last segment of each backup. */
const SAMPLED = 64;
/** Objects between two marks in the journal. */
const MARKED = 4;
/** Objects that are to be read again; with more the marks end. */
const MOST_AGAIN = 1000;

type Entry = WalObject | WalSlice;

interface Read {
  readonly entry: Entry;
  readonly number: bigint;
  /** What of the listing lies up to here. */
  readonly listing: string | undefined;
}

export interface WalContentOptions extends VerifySettings {
  readonly wal: WalArchive;
  readonly stretch: WalStretch;
  readonly listing: WalListing;
  readonly impact: Impact;
  /** Of all stretches, in their order. */
  readonly closed: ClosedObjects;
}

/** Reads what the level asks for of a stretch. What is found goes to the report. Errors: those of the storage as a whole; `ABORTED`. */
export async function readWal(report: Report, options: WalContentOptions): Promise<void> {
  await new WalContent(report, options).run();
}

class WalContent {
  readonly #report: Report;
  readonly #options: WalContentOptions;
  readonly #place: string;
  readonly #again: string[] = [];
  /** Reads records from segment to segment; undefined when the next segment begins anew. */
  #reader: WalRecordReader | undefined;
  #last: bigint | undefined;
  #sinceMark = 0;
  readonly #closed: ClosedObjects;

  constructor(report: Report, options: WalContentOptions) {
    this.#report = report;
    this.#options = options;
    const { repository, wal, stretch } = options;
    this.#place = `${repository.name} ${wal.systemId} ${stretch.timeline} ${stretch.first}`;
    this.#closed = options.closed;
  }

  async run(): Promise<void> {
    const { listing, stretch, level, concurrency, call, wal } = this.#options;
    if (level === 'full') this.#options.onPlan(listing.plainBytes);
    const open = (read: Read, signal: AbortSignal): AsyncIterable<Uint8Array> => streamOf(wal, read.entry, signal);
    for await (const { item, chunks } of readAhead(this.#wanted(), open, { atOnce: concurrency, ...call })) {
      const before = this.#trouble;
      await this.#entry(item, chunks, stretch.segmentSize);
      this.#mark(item, this.#trouble === before);
    }
  }

  /** Grows with each object that was not found good. */
  get #trouble(): number {
    return this.#report.findingCount + this.#report.skippedCount + this.#closed.count;
  }

  /** What the level asks for, without what an interrupted run has read. */
  async *#wanted(): AsyncGenerator<Read> {
    const { wal, stretch, listing, level, seed, impact, call, journal, onPlan, onBytes } = this.#options;
    const { segmentSize, timeline } = stretch;
    const random = drawFor(seed, this.#place);
    const drawn = level === 'full' ? undefined : evenDraw(listing.objects, SAMPLED, random);
    const mark = listing.isMarked ? journal.mark(this.#place) : undefined;
    const again = new Set(mark?.again);
    const digest = drawn === undefined ? new ListingDigest() : undefined;
    let isPassing = mark !== undefined;
    let at = 0;
    for await (const entry of entriesOf(wal, stretch, call)) {
      const number = numberOf(entry, segmentSize);
      digest?.add(entry);
      // The last one is read again, for the record that goes on behind it.
      if (entry.key === mark?.through) isPassing = false;
      const isEdge = drawn !== undefined && impact.isEdge(timeline, number);
      const isWanted = drawn === undefined || drawn.has(at) || isEdge;
      at++;
      if (isWanted && isPassing && !again.has(entry.key)) {
        this.#report.looked(entry.size);
        onBytes(plainSizeOf(entry, segmentSize));
        continue;
      }
      if (!isWanted) continue;
      if (drawn !== undefined) onPlan(plainSizeOf(entry, segmentSize));
      yield { entry, number, listing: digest?.value };
    }
  }

  #mark({ entry, listing }: Read, isGood: boolean): void {
    if (!isGood && this.#again.length <= MOST_AGAIN) this.#again.push(entry.key);
    this.#sinceMark++;
    if (listing === undefined || this.#sinceMark < MARKED || this.#again.length > MOST_AGAIN) return;
    this.#sinceMark = 0;
    this.#options.journal.setMark(this.#place, { through: entry.key, listing, again: this.#again });
  }

  async #entry(read: Read, chunks: AsyncIterable<Uint8Array>, segmentSize: number): Promise<void> {
    const { entry, number } = read;
    const lost = this.#lostWith(entry, number, segmentSize);
    try {
      if ('segment' in entry) await this.#drain(chunks);
      else if (isSegmentFile(entry.file)) await this.#segment(entry, entry.file, number, chunks, lost);
      else checkTextFile(await collect(this.#counted(chunks), entry.key), entry.file);
      this.#closed.opened(entry);
    } catch (error) {
      this.#reader = undefined;
      if (isClosed(error)) this.#closed.add(entry, error, lost);
      else this.#failed(entry, error, lost);
    }
    this.#report.looked(entry.size);
  }

  /** What was listed a moment ago and is not there any more was removed by somebody: nothing is known of it. */
  #failed({ key }: Entry, error: unknown, lost: Unrestorable): void {
    if (isArchiveError(error, 'STORAGE_NOT_FOUND'))
      this.#report.skip(key, new ArchiveError('STORAGE_NOT_FOUND', `${key} is gone since it was listed`), lost);
    else if (problemOf(error) === undefined) this.#report.failed(key, error, lost);
    else {
      const { message } = error as ArchiveError;
      this.#report.failed(
        key,
        new ArchiveError((error as ArchiveError).code, message.includes(key) ? message : `${key}: ${message}`),
        lost,
      );
    }
  }

  async #segment(
    { key }: WalObject,
    file: SegmentFile,
    number: bigint,
    chunks: AsyncIterable<Uint8Array>,
    lost: Unrestorable,
  ): Promise<void> {
    const { wal } = this.#options;
    // A second copy of a segment, and the unfinished one of a timeline, are no part of the chain of records.
    const reader = file.kind === 'segment' && number !== this.#last ? this.#readerFor(number) : undefined;
    const head = Buffer.alloc(SEGMENT_HEADER_BYTES);
    let size = 0;
    for await (const chunk of this.#counted(chunks)) {
      if (size < head.byteLength) head.set(chunk.subarray(0, head.byteLength - size), size);
      size += chunk.byteLength;
      reader?.push(chunk);
    }
    if (file.kind === 'segment') this.#last = number;
    const { systemId } = checkSegment(head.subarray(0, size), size, file);
    if (systemId !== wal.systemId) throw new ArchiveError('WAL_INVALID', `${key} is of the system ${systemId}`);
    if (reader?.end === undefined) return;
    // Its bytes are those of its name, so it came like this: PostgreSQL would end a recovery here.
    this.#reader = undefined;
    const { detail } = reader.end;
    this.#report.found(
      key,
      'invalid',
      `${key} was archived as it is, but its WAL ends before the segment does: ${detail}`,
      lost,
    );
  }

  #readerFor(number: bigint): WalRecordReader {
    const { wal, stretch } = this.#options;
    const { segmentSize, timeline } = stretch;
    if (this.#reader !== undefined && this.#last === number - 1n) return this.#reader;
    this.#reader = new WalRecordReader(() => undefined, {
      start: number * BigInt(segmentSize),
      segmentSize,
      timeline,
      systemId: wal.systemId,
    });
    return this.#reader;
  }

  #lostWith(entry: Entry, number: bigint, segmentSize: number): Unrestorable {
    const { impact, listing, stretch } = this.#options;
    const { timeline } = stretch;
    if ('segment' in entry) {
      // What came whole later makes its slices superfluous.
      return listing.tail?.number === number ? impact.ofTail(timeline, number, segmentSize, entry.from) : NOTHING;
    }
    if (entry.file.kind === 'segment') return impact.ofSegment(timeline, number, segmentSize);
    const isEnd = listing.last === undefined || number > listing.last;
    return entry.file.kind === 'partial' && isEnd ? impact.ofTail(timeline, number, segmentSize, 0) : NOTHING;
  }

  async #drain(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    for await (const chunk of this.#counted(chunks)) void chunk;
  }

  async *#counted(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      this.#options.onBytes(chunk.byteLength);
      yield chunk;
      if (isLeased(chunk)) releaseChunk(chunk);
    }
  }
}

/** The plain bytes of an object, verified by its end. */
async function* streamOf(wal: WalArchive, entry: Entry, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  if ('segment' in entry) yield await wal.readSlice(entry, { signal });
  else yield* wal.read(entry, { signal });
}
