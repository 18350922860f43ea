/**
 * Names of WAL files and what the head of a segment says about itself
 * (PostgreSQL source: `access/xlog_internal.h`; docs, "WAL Internals").
 */
import { ArchiveError } from '../contracts/errors.ts';

export const MIN_SEGMENT_SIZE: number = 1024 * 1024;
export const MAX_SEGMENT_SIZE: number = 1024 * 1024 * 1024;

/** Whether a WAL segment may have this size in bytes: a power of two from 1 MiB to 1 GiB. */
export function isSegmentSize(size: number): boolean {
  return size >= MIN_SEGMENT_SIZE && size <= MAX_SEGMENT_SIZE && (size & (size - 1)) === 0;
}

const hex8 = (value: number): string => value.toString(16).toUpperCase().padStart(8, '0');

/** The number of the segment that holds the byte at `lsn`. */
export function segmentNumber(lsn: bigint, segmentSize: number): bigint {
  return lsn / BigInt(segmentSize);
}

/**
 * The number of the segment that holds the byte before `lsn`: on a border the previous segment. This is the last
 * segment that a backup with this stop LSN needs.
 */
export function lastSegmentNumber(lsn: bigint, segmentSize: number): bigint {
  return (lsn - 1n) / BigInt(segmentSize);
}

/** The first LSN of the segment that holds `lsn`. */
export function segmentStart(lsn: bigint, segmentSize: number): bigint {
  return lsn - (lsn % BigInt(segmentSize));
}

/** The 24 digit name of a segment. */
export function segmentName(timeline: number, segment: bigint, segmentSize: number): string {
  const perLog = 0x100000000n / BigInt(segmentSize);
  return hex8(timeline) + hex8(Number(segment / perLog)) + hex8(Number(segment % perLog));
}

/** The name of a timeline history file. */
export function historyName(timeline: number): string {
  return `${hex8(timeline)}.history`;
}

/** What a file name in `pg_wal` or the archive stands for. */
export type WalFile =
  | {
      readonly kind: 'segment' | 'partial';
      readonly name: string;
      readonly timeline: number;
      readonly log: number;
      readonly index: number;
    }
  | {
      readonly kind: 'backup';
      readonly name: string;
      readonly timeline: number;
      readonly log: number;
      readonly index: number;
      readonly offset: number;
    }
  | { readonly kind: 'history'; readonly name: string; readonly timeline: number };

const SEGMENT = /^([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})(\.partial)?$/;
const BACKUP = /^([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})\.([0-9A-F]{8})\.backup$/;
const HISTORY = /^([0-9A-F]{8})\.history$/;
const number = (hex: string | undefined): number => Number.parseInt(hex ?? '', 16);

/** Reads the name of a WAL file; undefined when it is none. Names from outside go through here before any use. */
export function parseWalFileName(name: string): WalFile | undefined {
  const segment = SEGMENT.exec(name);
  if (segment !== null) {
    const kind = segment[4] === undefined ? 'segment' : 'partial';
    const file: WalFile = {
      kind,
      name,
      timeline: number(segment[1]),
      log: number(segment[2]),
      index: number(segment[3]),
    };
    return file.timeline === 0 ? undefined : file;
  }
  const backup = BACKUP.exec(name);
  if (backup !== null) {
    return {
      kind: 'backup',
      name,
      timeline: number(backup[1]),
      log: number(backup[2]),
      index: number(backup[3]),
      offset: number(backup[4]),
    };
  }
  const history = HISTORY.exec(name);
  return history === null ? undefined : { kind: 'history', name, timeline: number(history[1]) };
}

/** The number of a segment from its parsed name. */
export function segmentNumberOf(file: { readonly log: number; readonly index: number }, segmentSize: number): bigint {
  return BigInt(file.log) * (0x100000000n / BigInt(segmentSize)) + BigInt(file.index);
}

/** What the long page header at the start of a segment says. */
export interface SegmentHeader {
  /** Page magic, which names the WAL format of a major version. */
  readonly magic: number;
  readonly timeline: number;
  /** LSN of the first byte of the segment. */
  readonly pageAddress: bigint;
  /** Decimal text: the number exceeds 2^53. */
  readonly systemId: string;
  readonly segmentSize: number;
  readonly pageSize: number;
}

/** Bytes of a segment that {@link readSegmentHeader} needs. */
export const SEGMENT_HEADER_BYTES = 40;

const LONG_HEADER = 0x0002;

/** Reads the long page header of a segment. Throws `WAL_INVALID` when there is none. */
export function readSegmentHeader(bytes: Uint8Array, name: string): SegmentHeader {
  if (bytes.byteLength < SEGMENT_HEADER_BYTES)
    throw new ArchiveError('WAL_INVALID', `${name} is shorter than a WAL page header`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const header: SegmentHeader = {
    magic: view.getUint16(0, true),
    timeline: view.getUint32(4, true),
    pageAddress: view.getBigUint64(8, true),
    systemId: view.getBigUint64(24, true).toString(),
    segmentSize: view.getUint32(32, true),
    pageSize: view.getUint32(36, true),
  };
  const long = (view.getUint16(2, true) & LONG_HEADER) !== 0;
  if (!long || (header.magic & 0xff00) !== 0xd100 || !isSegmentSize(header.segmentSize)) {
    throw new ArchiveError('WAL_INVALID', `${name} does not begin with a WAL segment header`);
  }
  return header;
}
