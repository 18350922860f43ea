/**
 * Reads WAL as it lies in segments, page by page, the way the server's own reader does (PostgreSQL source:
 * `access/transam/xlogreader.c`): checks page headers, joins records across pages and segments, follows the chain of records and
 * stops where valid WAL ends.
 */
import { ArchiveError, throwIfAborted } from '../contracts/errors.ts';
import { CRC32C_START, finishCrc32c, updateCrc32c } from './crc32c.ts';
import { formatLsn } from './lsn.ts';
import { decodeWalRecord, isRelevant, isSwitch, WAL_RECORD_HEADER, type WalRecord } from './wal-record-data.ts';
import { isSegmentSize } from './wal-file.ts';

/** How WAL is read. */
export interface WalReadOptions {
  /** The bytes begin with the segment that holds this LSN; records that begin before it are checked but not given. */
  readonly start: bigint;
  /** Bytes. */
  readonly segmentSize: number;
  /**
   * The timeline whose WAL this is. Pages of its ancestors come before its own; the page on which it was forked bears the number of
   * the ancestor, so from a segment of the fork take that of the newer timeline.
   */
  readonly timeline: number;
  /** Decimal text: WAL of another cluster is not read. Default: the first segment's. */
  readonly systemId?: string;
  /** Compares the checksum of every record, at half the speed; default true. Without it only the chain is checked. */
  readonly checkCrc?: boolean;
}

/** Where valid WAL ends. */
export interface WalEnd {
  readonly kind: 'end';
  /** End of the last valid record; the start of the first segment when there was none. */
  readonly lsn: bigint;
  /**
   * `source-end`: no more bytes, all were valid so far; `zeroes`: nothing was written here yet; `page`: a page of another position
   * or cluster, such as in a recycled segment; `timeline`: a page of a timeline that does not follow; `record`: no record of this
   * chain; `continuation`: a record whose rest is not there; `checksum`: an altered or half-written record.
   */
  readonly reason: 'source-end' | 'zeroes' | 'page' | 'timeline' | 'record' | 'continuation' | 'checksum';
  /** What was found, for people. */
  readonly detail: string;
}

const FIRST_IS_CONTINUATION = 0x0001;
const LONG_HEADER = 0x0002;
const FIRST_IS_OVERWRITE = 0x0008;
const ALL_FLAGS = 0x000f;
const SHORT_HEADER_BYTES = 24;
const LONG_HEADER_BYTES = 40;
/** Page magic of 15, 16, 17 and 18: another one means records of another form. */
const KNOWN_MAGIC: ReadonlySet<number> = new Set([0xd110, 0xd113, 0xd116, 0xd118]);

/**
 * Reads WAL as its bytes arrive, and hands over the records that matter. Memory: one page, and one record of those that
 * matter. Throws `USAGE` for a segment size that cannot be; never for what the bytes hold: that is an {@link WalEnd}.
 */
export class WalRecordReader {
  readonly #record: (record: WalRecord) => void;
  readonly #start: bigint;
  readonly #segmentSize: number;
  readonly #timeline: number;
  readonly #checkCrc: boolean;
  #systemId: string | undefined;
  /** 0 until the first segment has said it. */
  #pageSize = 0;
  #magic = 0;
  #pageTimeline = 0;
  /** LSN of the present page in halves: a bigint for each record would cost more than its checksum. */
  #pageHigh: number;
  #pageLow: number;
  /** Offset of the present page in its segment. */
  #segmentOffset = 0;
  #previousHigh = 0;
  #previousLow = 0;
  #chained = false;
  #afterSwitch = false;
  #endHigh: number;
  #endLow: number;
  #end: WalEnd | undefined;
  /** Bytes of a page that has not arrived in full. */
  #held: Uint8Array = new Uint8Array(64 * 1024);
  #heldBytes = 0;

  // A record that goes on on the next page.
  #restBytes = 0;
  #partHigh = 0;
  #partLow = 0;
  #partBytes = 0;
  #partCrc = 0;
  #part: Uint8Array = new Uint8Array(64 * 1024);

  constructor(record: (record: WalRecord) => void, options: WalReadOptions) {
    if (!isSegmentSize(options.segmentSize))
      throw new ArchiveError('USAGE', `no WAL segment has a size of ${options.segmentSize} bytes`);
    const first = options.start - (options.start % BigInt(options.segmentSize));
    this.#record = record;
    this.#start = options.start;
    this.#segmentSize = options.segmentSize;
    this.#timeline = options.timeline;
    this.#checkCrc = options.checkCrc ?? true;
    this.#systemId = options.systemId;
    this.#pageHigh = this.#endHigh = Number(first >> 32n);
    this.#pageLow = this.#endLow = Number(first & 0xffffffffn);
  }

  /** Where valid WAL ended; undefined as long as more may come. */
  get end(): WalEnd | undefined {
    return this.#end;
  }

  /** Where the last valid record begins; undefined before the first one. */
  get lastRecord(): bigint | undefined {
    return this.#chained ? join(this.#previousHigh, this.#previousLow) : undefined;
  }

  /** Takes the next bytes. What comes after the end of valid WAL is not looked at. */
  push(chunk: Uint8Array): void {
    let at = 0;
    while (this.#end === undefined && at < chunk.byteLength) {
      const left = chunk.byteLength - at;
      const wanted = this.#pageSize === 0 ? LONG_HEADER_BYTES : this.#pageSize;
      if (this.#heldBytes === 0 && left >= wanted) {
        if (this.#pageSize === 0) {
          this.#readPageSize(chunk, at);
        } else {
          this.#page(chunk, at, wanted);
          at += wanted;
        }
        continue;
      }
      const taken = Math.min(left, wanted - this.#heldBytes);
      this.#held.set(chunk.subarray(at, at + taken), this.#heldBytes);
      this.#heldBytes += taken;
      at += taken;
      if (this.#heldBytes < wanted) return;
      if (this.#pageSize === 0) {
        this.#readPageSize(this.#held, 0);
      } else {
        this.#page(this.#held, 0, wanted);
        this.#heldBytes = 0;
      }
    }
  }

  /** Says that no more bytes come, and gives where valid WAL ends. */
  finish(): WalEnd {
    if (this.#end === undefined && this.#heldBytes >= LONG_HEADER_BYTES) this.#page(this.#held, 0, this.#heldBytes);
    return (this.#end ??= this.#endOf('source-end', 'the WAL that was given ends'));
  }

  #readPageSize(bytes: Uint8Array, at: number): void {
    const size = read32(bytes, at + 36);
    const known = size >= 1024 && size <= 64 * 1024 && (size & (size - 1)) === 0;
    if ((read16(bytes, at) & 0xff00) === 0xd100 && known) this.#pageSize = size;
    else if (isZero(bytes, at, LONG_HEADER_BYTES)) this.#stop('zeroes', 'the first page is empty');
    else this.#stop('page', 'the first page has no WAL header');
  }

  /** Reads one page; less than a whole one only as the very last. */
  #page(bytes: Uint8Array, from: number, length: number): void {
    if (this.#segmentOffset === 0) this.#afterSwitch = false;
    if (!this.#afterSwitch) this.#readPage(bytes, from, length);
    this.#pageLow += this.#pageSize;
    if (this.#pageLow >= 0x100000000) {
      this.#pageLow = 0;
      this.#pageHigh++;
    }
    this.#segmentOffset = (this.#segmentOffset + this.#pageSize) % this.#segmentSize;
  }

  #readPage(bytes: Uint8Array, from: number, length: number): void {
    const header = this.#readHeader(bytes, from);
    if (header === 0) return;
    const flags = read16(bytes, from + 2);
    let at = from + header;
    const to = from + length;
    if (this.#restBytes > 0 && (flags & FIRST_IS_OVERWRITE) !== 0) {
      // The server crashed inside that record and went on here without it.
      this.#restBytes = 0;
    } else if (this.#restBytes > 0) {
      const rest = read32(bytes, from + 16);
      if ((flags & FIRST_IS_CONTINUATION) === 0 || rest !== this.#restBytes)
        return this.#stop('continuation', `the record at ${this.#partText()} is not continued on the next page`);
      const here = Math.min(rest, to - at);
      this.#continue(bytes, at, at + here, at - from + align(here));
      if (this.#restBytes > 0 || this.#end !== undefined || this.#afterSwitch) return;
      at += align(rest);
    } else if ((flags & FIRST_IS_CONTINUATION) !== 0) {
      if (this.#chained) return this.#stop('continuation', 'a page continues a record that does not reach it');
      at += align(read32(bytes, from + 16));
    }
    this.#readRecords(bytes, from, at, to);
  }

  /** Reads the records that begin on a page. */
  #readRecords(bytes: Uint8Array, page: number, first: number, to: number): void {
    const checkCrc = this.#checkCrc;
    for (let at = first; at + 4 <= to;) {
      const length = read32(bytes, at);
      if (length === 0) return this.#stop('zeroes', 'nothing is written after the last record');
      if (length < WAL_RECORD_HEADER)
        return this.#stop('record', `the record at ${this.#text(at - page)} has a length of ${length}`);
      if (at + length > to) {
        this.#partHigh = this.#pageHigh;
        this.#partLow = this.#pageLow + at - page;
        this.#partBytes = 0;
        this.#partCrc = CRC32C_START;
        this.#restBytes = length;
        return this.#continue(bytes, at, to, 0);
      }
      const low = this.#pageLow + at - page;
      if (!this.#follows(bytes, at, this.#pageHigh, low)) return;
      if (checkCrc) {
        let crc = updateCrc32c(CRC32C_START, bytes, at + WAL_RECORD_HEADER, at + length);
        crc = updateCrc32c(crc, bytes, at, at + 20);
        if (finishCrc32c(crc) !== read32(bytes, at + 20)) return this.#stopChecksum(this.#text(at - page));
      }
      const next = at + align(length);
      this.#accept(bytes, at, length, this.#pageHigh, low, next - page);
      if (this.#afterSwitch || this.#end !== undefined) return;
      at = next;
    }
  }

  /** Takes bytes of a record that began on an earlier page; `next` is where the record after it would begin on this page. */
  #continue(bytes: Uint8Array, from: number, to: number, next: number): void {
    let at = from;
    if (this.#partBytes < WAL_RECORD_HEADER) {
      const taken = Math.min(to - at, WAL_RECORD_HEADER - this.#partBytes);
      this.#part.set(bytes.subarray(at, at + taken), this.#partBytes);
      this.#partBytes += taken;
      this.#restBytes -= taken;
      at += taken;
      if (this.#partBytes < WAL_RECORD_HEADER) return;
      if (!this.#follows(this.#part, 0, this.#partHigh, this.#partLow)) return;
    }
    if (this.#checkCrc) this.#partCrc = updateCrc32c(this.#partCrc, bytes, at, to);
    // Images of pages and rows pass by; only records that are decoded are kept.
    if (isRelevant(this.#part[17] as number, this.#part[16] as number)) this.#keep(bytes, at, to);
    this.#restBytes -= to - at;
    if (this.#restBytes > 0) return;
    if (this.#checkCrc) {
      const crc = finishCrc32c(updateCrc32c(this.#partCrc, this.#part, 0, 20));
      if (crc !== read32(this.#part, 20)) return this.#stopChecksum(this.#partText());
    }
    this.#accept(this.#part, 0, this.#partBytes, this.#partHigh, this.#partLow, next);
  }

  #keep(bytes: Uint8Array, from: number, to: number): void {
    const size = this.#partBytes + to - from;
    if (size > this.#part.byteLength) {
      const larger = new Uint8Array(2 * size);
      larger.set(this.#part.subarray(0, this.#partBytes));
      this.#part = larger;
    }
    this.#part.set(bytes.subarray(from, to), this.#partBytes);
    this.#partBytes = size;
  }

  /** A valid record: hands it over if it matters, and lets the chain go on from it. */
  #accept(bytes: Uint8Array, at: number, length: number, high: number, low: number, next: number): void {
    const info = bytes[at + 16] as number;
    const rmid = bytes[at + 17] as number;
    let endLow = this.#pageLow + next;
    if (isRelevant(rmid, info)) {
      if (isSwitch(rmid, info)) {
        this.#afterSwitch = this.#segmentOffset + next < this.#segmentSize;
        endLow = this.#pageLow - this.#segmentOffset + this.#segmentSize;
      }
      const lsn = join(high, low);
      const record = decodeWalRecord(
        bytes.subarray(at, at + length),
        { lsn, end: join(this.#pageHigh, endLow) },
        this.#magic,
      );
      if (record === undefined) return this.#stop('record', `the record at ${formatLsn(lsn)} is of an unknown form`);
      if (lsn >= this.#start) this.#record(record);
    }
    this.#previousHigh = high;
    this.#previousLow = low;
    this.#chained = true;
    this.#endHigh = this.#pageHigh;
    this.#endLow = endLow;
  }

  /** Whether a header is that of the next record of the chain; stops when not. */
  #follows(bytes: Uint8Array, at: number, high: number, low: number): boolean {
    const previousLow = read32(bytes, at + 8);
    const previousHigh = read32(bytes, at + 12);
    // What the very first record points to is not known, only that it lies before.
    const follows = this.#chained
      ? previousLow === this.#previousLow && previousHigh === this.#previousHigh
      : previousHigh < high || (previousHigh === high && previousLow < low);
    if (!follows) this.#stop('record', `the record at ${formatLsn(join(high, low))} does not follow the one before it`);
    return follows;
  }

  /** Checks the header of a page and gives its size; 0 after a stop. */
  #readHeader(bytes: Uint8Array, from: number): number {
    if (isZero(bytes, from, SHORT_HEADER_BYTES)) return this.#stopPage('zeroes', 'is empty');
    const magic = read16(bytes, from);
    if (this.#magic === 0 && KNOWN_MAGIC.has(magic)) this.#magic = magic;
    if (magic !== this.#magic) return this.#stopPage('page', `has the magic number ${magic.toString(16)}`);
    const flags = read16(bytes, from + 2);
    const isLong = (flags & LONG_HEADER) !== 0;
    if ((flags & ~ALL_FLAGS) !== 0 || isLong !== (this.#segmentOffset === 0))
      return this.#stopPage('page', `has the flags ${flags.toString(16)}`);
    const address = join(read32(bytes, from + 12), read32(bytes, from + 8));
    if (address !== join(this.#pageHigh, this.#pageLow))
      return this.#stopPage('page', `is a page of ${formatLsn(address)}`);
    const timeline = read32(bytes, from + 4);
    if (timeline < this.#pageTimeline || timeline > this.#timeline)
      return this.#stopPage('timeline', `is of timeline ${timeline}`);
    this.#pageTimeline = timeline;
    if (!isLong) return SHORT_HEADER_BYTES;
    const systemId = ((BigInt(read32(bytes, from + 28)) << 32n) | BigInt(read32(bytes, from + 24))).toString();
    this.#systemId ??= systemId;
    if (systemId !== this.#systemId) return this.#stopPage('page', `is of the cluster ${systemId}`);
    if (read32(bytes, from + 32) !== this.#segmentSize || read32(bytes, from + 36) !== this.#pageSize)
      return this.#stopPage('page', 'is of another segment or page size');
    return LONG_HEADER_BYTES;
  }

  #stopPage(reason: WalEnd['reason'], what: string): 0 {
    this.#stop(reason, `the page at ${this.#text(0)} ${what}`);
    return 0;
  }

  #stopChecksum(lsn: string): void {
    this.#stop('checksum', `the record at ${lsn} does not match its checksum`);
  }

  #stop(reason: WalEnd['reason'], detail: string): void {
    this.#end = this.#endOf(reason, detail);
  }

  #endOf(reason: WalEnd['reason'], detail: string): WalEnd {
    return { kind: 'end', lsn: join(this.#endHigh, this.#endLow), reason, detail };
  }

  #text(offset: number): string {
    return formatLsn(join(this.#pageHigh, this.#pageLow + offset));
  }

  #partText(): string {
    return formatLsn(join(this.#partHigh, this.#partLow));
  }
}

/**
 * Reads WAL to its end: gives the records that matter and, as the last value, the {@link WalEnd}. Bytes after the end are not
 * taken from the source. Throws what {@link WalRecordReader} and the source throw, and `ABORTED`.
 */
export async function* readWalRecords(
  source: AsyncIterable<Uint8Array>,
  options: WalReadOptions & { readonly signal?: AbortSignal },
): AsyncGenerator<WalRecord | WalEnd, void, undefined> {
  let records: WalRecord[] = [];
  const reader = new WalRecordReader((record) => void records.push(record), options);
  for await (const chunk of source) {
    throwIfAborted(options.signal, 'reading WAL');
    reader.push(chunk);
    if (reader.end !== undefined) break;
    yield* records;
    records = [];
  }
  const end = reader.finish();
  yield* records;
  yield end;
}

function align(length: number): number {
  return Math.ceil(length / 8) * 8;
}

/** `low` may reach beyond its half, at the end of a page. */
function join(high: number, low: number): bigint {
  return (BigInt(high) << 32n) + BigInt(low);
}

function read16(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
}

function read32(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)) >>>
    0
  );
}

function isZero(bytes: Uint8Array, from: number, length: number): boolean {
  for (let at = from; at < from + length; at++) if (bytes[at] !== 0) return false;
  return true;
}
