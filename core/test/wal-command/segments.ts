/** WAL files for tests: a true header, any content. */
import { segmentName } from '../../src/postgres/wal-file.ts';

export const SEGMENT_SIZE: number = 1024 * 1024;
export const SYSTEM_ID = '7710493345181022616';

export interface SegmentOptions {
  readonly timeline?: number;
  /** In the header, when it is another than in the name. */
  readonly headerTimeline?: number;
  readonly systemId?: string;
  /** What the bytes after the header are filled with. */
  readonly fill?: number;
  /** How many bytes are written; the rest is zero. */
  readonly written?: number;
}

export function walSegment(
  number: bigint,
  options: SegmentOptions = {},
): { readonly name: string; readonly bytes: Uint8Array } {
  const timeline = options.timeline ?? 1;
  const bytes = Buffer.alloc(SEGMENT_SIZE);
  bytes.fill(options.fill ?? 7, 40, options.written ?? SEGMENT_SIZE);
  bytes.writeUInt16LE(0xd118, 0);
  bytes.writeUInt16LE(0x0002, 2);
  bytes.writeUInt32LE(options.headerTimeline ?? timeline, 4);
  bytes.writeBigUInt64LE(number * BigInt(SEGMENT_SIZE), 8);
  bytes.writeBigUInt64LE(BigInt(options.systemId ?? SYSTEM_ID), 24);
  bytes.writeUInt32LE(SEGMENT_SIZE, 32);
  bytes.writeUInt32LE(8192, 36);
  return { name: segmentName(timeline, number, SEGMENT_SIZE), bytes };
}
