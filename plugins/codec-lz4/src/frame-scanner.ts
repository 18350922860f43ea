import type { ByteReader } from '@pgark/sdk';
import { corrupt } from './corrupt.ts';
import { FrameContent } from './frame-content.ts';
import {
  descriptorLength,
  FRAME_MAGIC,
  isSkippable,
  LEGACY_MAGIC,
  parseBlockHeader,
  parseDescriptor,
  type BlockHeader,
  type FrameDescriptor,
} from './frame.ts';
import type { Turns } from './turns.ts';

/** The most bytes of content of a frame that is decoded whole: as many as this codec writes, for the same reason. */
const SMALL: number = 64 * 1024;

/** Content of a large frame is given out when it is this long: blocks may be of a single byte. */
const CHUNK: number = 256 * 1024;

/** A whole frame, of one block that gives at most {@link SMALL} bytes and with a checksum of its content. */
export type SmallFrame = Buffer;

/** The content of any other frame, decompressed and checked as it comes. */
export type LargeFrame = AsyncGenerator<Uint8Array>;

/** Finds the borders of frames, and says which can be decoded whole. Takes turns of the event loop. */
export class FrameScanner {
  readonly #reader: ByteReader;
  readonly #turns: Turns;
  #large: LargeFrame | undefined;

  constructor(reader: ByteReader, turns: Turns) {
    this.#reader = reader;
    this.#turns = turns;
  }

  /** Frames up to the end of the stream, or up to the next large one, which {@link takeLarge} then gives. */
  async *smallFrames(): AsyncGenerator<SmallFrame> {
    while (!(await this.#reader.atEnd())) {
      const magic = (await this.#read(4)).readUInt32LE();
      if (isSkippable(magic)) await this.#skip((await this.#read(4)).readUInt32LE());
      else if (magic === LEGACY_MAGIC)
        throw corrupt('the lz4 stream is of the legacy format, which cannot tell when it is cut short');
      else if (magic !== FRAME_MAGIC)
        throw corrupt(`bytes ${magic.toString(16).padStart(8, '0')} do not begin an lz4 frame`);
      else {
        const frame = await this.#readFrame();
        if (frame === undefined) return;
        yield frame;
      }
    }
  }

  /** The large frame at which {@link smallFrames} ended: to be read to its end before the next call. */
  takeLarge(): LargeFrame | undefined {
    const large = this.#large;
    this.#large = undefined;
    return large;
  }

  async #readFrame(): Promise<SmallFrame | undefined> {
    const flags = await this.#read(1);
    const descriptorBytes = Buffer.concat([flags, await this.#read(descriptorLength(flags.readUInt8()) - 1)]);
    const descriptor = parseDescriptor(descriptorBytes);
    const first = await this.#read(4);
    const header = blockHeader(first, descriptor);
    if (!canBeSmall(descriptor) || header === undefined) {
      this.#large = this.#largeFrame(descriptor, header);
      return undefined;
    }
    const block = await this.#read(header.length);
    const next = await this.#read(4);
    const second = blockHeader(next, descriptor);
    if (second !== undefined) {
      this.#large = this.#largeFrame(descriptor, header, { block, second });
      return undefined;
    }
    const magic = Buffer.alloc(4);
    magic.writeUInt32LE(FRAME_MAGIC);
    return Buffer.concat([magic, descriptorBytes, first, block, next, await this.#read(4)]);
  }

  /** `read`: the first block and the header of the second, where they were read already. */
  async *#largeFrame(
    descriptor: FrameDescriptor,
    first: BlockHeader | undefined,
    read?: { readonly block: Uint8Array; readonly second: BlockHeader },
  ): LargeFrame {
    const content = new FrameContent(descriptor);
    let header = first;
    if (read !== undefined && first !== undefined) {
      content.open(read.block, first.stored, undefined);
      header = read.second;
    }
    for (; header !== undefined; header = blockHeader(await this.#read(4), descriptor)) {
      const block = await this.#read(header.length);
      const checksum = descriptor.blockChecksum ? (await this.#read(4)).readUInt32LE() : undefined;
      if (this.#turns.due(content.open(block, header.stored, checksum))) await this.#turns.take();
      if (content.gathered >= CHUNK) yield content.take();
    }
    if (content.gathered > 0) yield content.take();
    content.end(descriptor.contentChecksum ? (await this.#read(4)).readUInt32LE() : undefined);
  }

  async #skip(count: number): Promise<void> {
    for (let left = count; left > 0;) {
      const part = await this.#reader.next(left);
      if (part === undefined) throw truncated();
      left -= part.byteLength;
      if (this.#turns.due(part.byteLength)) await this.#turns.take();
    }
  }

  async #read(count: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafe(count);
    if (!(await this.#reader.read(bytes))) throw truncated();
    if (this.#turns.due(count)) await this.#turns.take();
    return bytes;
  }
}

function canBeSmall({ blockSize, contentChecksum, blockChecksum, contentSize }: FrameDescriptor): boolean {
  return blockSize <= SMALL && contentChecksum && !blockChecksum && contentSize === undefined;
}

function blockHeader(bytes: Buffer, { blockSize }: FrameDescriptor): BlockHeader | undefined {
  const header = parseBlockHeader(bytes.readUInt32LE());
  if (header !== undefined && header.length > blockSize)
    throw corrupt(`an lz4 block claims ${header.length} bytes, more than its frame allows`);
  return header;
}

function truncated(): Error {
  return corrupt('the lz4 stream ends inside a frame');
}
