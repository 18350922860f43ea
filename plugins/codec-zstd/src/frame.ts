/** The outer form of zstd: frame and block headers, enough to find where a frame ends. RFC 8878, section 3.1. */

/** Little-endian value of the first four bytes of a frame. */
export const FRAME_MAGIC = 0xfd2fb528;

/** The most content that one block holds. */
export const MAX_BLOCK_CONTENT: number = 128 * 1024;

/** Whether the magic number is one of the sixteen of skippable frames. */
export function isSkippable(magic: number): boolean {
  return magic >= 0x184d2a50 && magic <= 0x184d2a5f;
}

/** Bytes of the rest of the frame header, from its first byte, the frame header descriptor. */
export function headerLength(descriptor: number): number {
  const singleSegment = (descriptor & 0x20) !== 0;
  return (
    1 + (singleSegment ? 0 : 1) + [0, 1, 2, 4][descriptor & 3]! + [singleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6]!
  );
}

export interface FrameHeader {
  /** What the header claims, in bytes; undefined when it does not say. */
  readonly contentSize: number | undefined;
  /** Bytes that a decoder must keep; equal to the content size in a frame of a single segment. */
  readonly windowSize: number;
  /** Whether four bytes of checksum follow the last block. */
  readonly checksum: boolean;
}

/** Reads the frame header that follows the magic number; `bytes` is as long as {@link headerLength} says. */
export function parseHeader(bytes: Uint8Array): FrameHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const descriptor = view.getUint8(0);
  const singleSegment = (descriptor & 0x20) !== 0;
  const sizeFlag = descriptor >> 6;
  const sizeLength = [singleSegment ? 1 : 0, 2, 4, 8][sizeFlag]!;
  const at = bytes.byteLength - sizeLength;
  let contentSize: number | undefined;
  if (sizeLength === 1) contentSize = view.getUint8(at);
  // The two-byte form counts from 256: smaller sizes have the one-byte form.
  else if (sizeLength === 2) contentSize = view.getUint16(at, true) + 256;
  else if (sizeLength === 4) contentSize = view.getUint32(at, true);
  else if (sizeLength === 8) contentSize = Number(view.getBigUint64(at, true));
  let windowSize = contentSize ?? 0;
  if (!singleSegment) {
    const window = view.getUint8(1);
    const base = 2 ** (10 + (window >> 3));
    windowSize = base + (base / 8) * (window & 7);
  }
  return { contentSize, windowSize, checksum: (descriptor & 4) !== 0 };
}

export interface BlockHeader {
  readonly last: boolean;
  /** Bytes that follow the header. */
  readonly length: number;
  /** The most content that the block can give, in bytes. */
  readonly contentBound: number;
}

/** Reads the three bytes before a block; undefined when its type is reserved. */
export function parseBlock(bytes: Uint8Array): BlockHeader | undefined {
  const value = bytes[0]! | (bytes[1]! << 8) | (bytes[2]! << 16);
  const last = (value & 1) !== 0;
  const size = value >> 3;
  switch ((value >> 1) & 3) {
    case 0:
      return { last, length: size, contentBound: size };
    case 1:
      return { last, length: 1, contentBound: size };
    case 2:
      return { last, length: size, contentBound: MAX_BLOCK_CONTENT };
    default:
      return undefined;
  }
}
