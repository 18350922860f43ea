/** Writes WAL the way a server lays it out, so that any case can be made. */
import { crc32c } from '../../src/postgres/crc32c.ts';

export const PAGE = 8192;
export const MB = 1024 * 1024;

export interface WrittenRecord {
  readonly rmid: number;
  readonly info: number;
  readonly xid?: number;
  /** Everything after the header of the record. */
  readonly payload: Uint8Array;
}

export interface Position {
  readonly lsn: bigint;
  readonly end: bigint;
}

/** The payload of a record that has main data only. */
export function mainData(data: Uint8Array): Buffer {
  if (data.byteLength === 0) return Buffer.alloc(0);
  if (data.byteLength < 256) return Buffer.concat([Buffer.of(255, data.byteLength), data]);
  const head = Buffer.alloc(5);
  head[0] = 254;
  head.writeUInt32LE(data.byteLength, 1);
  return Buffer.concat([head, data]);
}

export class WalWriter {
  readonly start: bigint;
  readonly segmentSize: number;
  timeline = 1;
  magic = 0xd118;
  systemId = 7710493345181022616n;
  /** LSN of the last record. */
  previous: bigint;
  readonly #pages: Buffer[] = [];
  #offset = PAGE;
  /** Bytes of a record that are still to come, for the header of the next page. */
  #rest = 0;

  constructor(start: bigint, segmentSize: number = MB) {
    this.start = start;
    this.segmentSize = segmentSize;
    this.previous = start - 64n;
  }

  get lsn(): bigint {
    return this.start + BigInt((this.#pages.length - 1) * PAGE + this.#offset);
  }

  /** All segments, the last one filled with zeroes. */
  bytes(): Buffer {
    const all = Buffer.concat(this.#pages);
    const size = Math.ceil(all.byteLength / this.segmentSize) * this.segmentSize;
    return Buffer.concat([all, Buffer.alloc(size - all.byteLength)]);
  }

  /** Begins a page; `rest` as if a record went on there, `flags` more flags. */
  page(rest: number = this.#rest, flags = 0): void {
    const isLong = (this.#pages.length * PAGE) % this.segmentSize === 0;
    const page = Buffer.alloc(PAGE);
    page.writeUInt16LE(this.magic, 0);
    page.writeUInt16LE((rest > 0 ? 1 : 0) | (isLong ? 2 : 0) | flags, 2);
    page.writeUInt32LE(this.timeline, 4);
    page.writeBigUInt64LE(this.start + BigInt(this.#pages.length * PAGE), 8);
    page.writeUInt32LE(rest, 16);
    if (isLong) {
      page.writeBigUInt64LE(this.systemId, 24);
      page.writeUInt32LE(this.segmentSize, 32);
      page.writeUInt32LE(PAGE, 36);
    }
    this.#pages.push(page);
    this.#offset = isLong ? 40 : 24;
  }

  /** Appends a record; `stopAfter` leaves all but its first bytes away. */
  record(record: WrittenRecord, options: { readonly stopAfter?: number; readonly previous?: bigint } = {}): Position {
    if (this.#offset === PAGE) this.page();
    const lsn = this.lsn;
    const bytes = Buffer.concat([Buffer.alloc(24), record.payload]);
    bytes.writeUInt32LE(bytes.byteLength, 0);
    bytes.writeUInt32LE(record.xid ?? 0, 4);
    bytes.writeBigUInt64LE(options.previous ?? this.previous, 8);
    bytes[16] = record.info;
    bytes[17] = record.rmid;
    bytes.writeUInt32LE(crc32c(Buffer.concat([bytes.subarray(24), bytes.subarray(0, 20)])), 20);
    const stop = Math.min(bytes.byteLength, options.stopAfter ?? bytes.byteLength);
    for (let at = 0; at < stop;) {
      if (this.#offset === PAGE) {
        this.#rest = bytes.byteLength - at;
        this.page();
        this.#rest = 0;
      }
      const size = Math.min(stop - at, PAGE - this.#offset);
      bytes.copy(this.#pages.at(-1) ?? Buffer.alloc(0), this.#offset, at, at + size);
      at += size;
      this.#offset += size;
    }
    if (stop < bytes.byteLength) return { lsn, end: lsn };
    this.#offset = Math.ceil(this.#offset / 8) * 8;
    this.previous = lsn;
    return { lsn, end: this.lsn };
  }

  /** Leaves the rest of the page empty. */
  skipPage(): void {
    this.#offset = PAGE;
  }

  /** Leaves the rest of the segment empty, with page headers as a switch leaves them. */
  skipSegment(): bigint {
    while ((this.#pages.length * PAGE) % this.segmentSize !== 0) this.page(0);
    this.#offset = PAGE;
    return this.lsn;
  }
}
