/** The outer form of lz4: frame descriptors and block headers. LZ4 Frame Format Description, version 1.6.4. */
import { corrupt } from './corrupt.ts';
import { xxhash32 } from './xxhash32.ts';

/** Little-endian value of the first four bytes of a frame. */
export const FRAME_MAGIC = 0x184d2204;

/** The same of the format of 2011, which has neither an end mark nor checksums. */
export const LEGACY_MAGIC = 0x184c2102;

/** Whether the magic number is one of the sixteen of skippable frames. */
export function isSkippable(magic: number): boolean {
  return magic >= 0x184d2a50 && magic <= 0x184d2a5f;
}

const VERSION = 0b0100_0000;
const INDEPENDENT = 0b0010_0000;
const BLOCK_CHECKSUM = 0b0001_0000;
const CONTENT_SIZE = 0b0000_1000;
const CONTENT_CHECKSUM = 0b0000_0100;
const DICTIONARY = 0b0000_0001;

export interface FrameDescriptor {
  /** Whether blocks refer to the 64 KiB of content before them. */
  readonly linked: boolean;
  /** The most bytes of content that one block holds. */
  readonly blockSize: number;
  /** What the frame claims, in bytes; undefined when it does not say. */
  readonly contentSize: number | undefined;
  readonly blockChecksum: boolean;
  readonly contentChecksum: boolean;
}

/** Bytes of the descriptor from its first byte, the flags, to its checksum. */
export function descriptorLength(flags: number): number {
  return 3 + ((flags & CONTENT_SIZE) === 0 ? 0 : 8) + ((flags & DICTIONARY) === 0 ? 0 : 4);
}

/** Reads and checks the descriptor that follows the magic number; `bytes` is as long as {@link descriptorLength} says. `CODEC_CORRUPT`. */
export function parseDescriptor(bytes: Uint8Array): FrameDescriptor {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const flags = view.getUint8(0);
  const sizes = view.getUint8(1);
  const checksum = view.getUint8(bytes.byteLength - 1);
  if ((flags & 0b1100_0000) !== VERSION) throw corrupt(`an lz4 frame is of the unknown version ${flags >> 6}`);
  if (((xxhash32(bytes.subarray(0, -1)) >> 8) & 0xff) !== checksum)
    throw corrupt('the header of an lz4 frame is damaged');
  if ((flags & 0b10) !== 0 || (sizes & 0b1000_1111) !== 0) throw corrupt('an lz4 frame has flags that are not known');
  if ((flags & DICTIONARY) !== 0) throw corrupt('an lz4 frame needs a dictionary');
  const kind = sizes >> 4;
  if (kind < 4) throw corrupt(`the blocks of an lz4 frame are of the unknown size ${kind}`);
  return {
    linked: (flags & INDEPENDENT) === 0,
    blockSize: 4 ** (kind + 4),
    contentSize: (flags & CONTENT_SIZE) === 0 ? undefined : Number(view.getBigUint64(2, true)),
    blockChecksum: (flags & BLOCK_CHECKSUM) !== 0,
    contentChecksum: (flags & CONTENT_CHECKSUM) !== 0,
  };
}

export interface BlockHeader {
  /** Bytes that follow the header. */
  readonly length: number;
  /** Whether they are the content as it is. */
  readonly stored: boolean;
}

/** Reads the four bytes before a block, as a number; undefined for the end mark. */
export function parseBlockHeader(value: number): BlockHeader | undefined {
  return value === 0 ? undefined : { length: value % 0x8000_0000, stored: value >= 0x8000_0000 };
}
