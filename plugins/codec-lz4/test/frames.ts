/** Frames as other producers write them, made of their parts. */
import { xxhash32 } from '../src/xxhash32.ts';

export interface FrameOptions {
  /** 4 to 7: blocks of 64 KiB, 256 KiB, 1 MiB, 4 MiB at most; default 4. */
  readonly kind?: number;
  readonly linked?: boolean;
  readonly blockChecksum?: boolean;
  readonly contentChecksum?: boolean;
  /** What the header claims. */
  readonly contentSize?: number;
  readonly dictionary?: boolean;
  /** Further bits of the two bytes before the checksum of the header. */
  readonly flags?: number;
  readonly sizes?: number;
}

export interface FrameBlock {
  readonly bytes: Uint8Array;
  /** Whether the bytes are content as it is. */
  readonly stored?: boolean;
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export function frameHeader(options: FrameOptions): Buffer {
  const flags =
    0x40 |
    (options.linked === true ? 0 : 0x20) |
    (options.blockChecksum === true ? 0x10 : 0) |
    (options.contentSize === undefined ? 0 : 8) |
    (options.contentChecksum === false ? 0 : 4) |
    (options.dictionary === true ? 1 : 0);
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(options.contentSize ?? 0));
  const descriptor = Buffer.concat([
    Buffer.of(flags ^ (options.flags ?? 0), ((options.kind ?? 4) << 4) | (options.sizes ?? 0)),
    ...(options.contentSize === undefined ? [] : [size]),
    ...(options.dictionary === true ? [uint32(7)] : []),
  ]);
  return Buffer.concat([uint32(0x184d2204), descriptor, Buffer.of((xxhash32(descriptor) >> 8) & 0xff)]);
}

/** A whole frame of these blocks, whose content is `content`. */
export function frame(blocks: readonly FrameBlock[], content: Uint8Array, options: FrameOptions = {}): Buffer {
  const parts: Uint8Array[] = [frameHeader(options)];
  for (const { bytes, stored = false } of blocks) {
    parts.push(uint32(bytes.byteLength + (stored ? 0x8000_0000 : 0)), bytes);
    if (options.blockChecksum === true) parts.push(uint32(xxhash32(bytes)));
  }
  parts.push(uint32(0));
  if (options.contentChecksum !== false) parts.push(uint32(xxhash32(content)));
  return Buffer.concat(parts);
}

export function skippable(length: number, kind = 0): Buffer {
  return Buffer.concat([uint32(0x184d2a50 + kind), uint32(length), Buffer.alloc(length, 0x28)]);
}
