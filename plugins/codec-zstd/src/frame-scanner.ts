import { leaseChunk, type ByteReader } from '@pgark/sdk';
import { corrupt } from './corrupt.ts';
import { MOST_CONTENT } from './frame-coder.ts';
import { FRAME_MAGIC, headerLength, isSkippable, parseBlock, parseHeader, type FrameHeader } from './frame.ts';

/** A frame is decoded whole when its content, its window and its bytes are at most this. */
const SMALL = MOST_CONTENT;

/** What a frame may have beside its blocks' bytes without being called large. */
const FRAME_OVERHEAD = 64 * 1024;

/** Bytes of memory with which a frame begins. */
const BUFFER = 256 * 1024;

export interface SmallFrame {
  /** Leased. */
  readonly bytes: Uint8Array;
  /** Bytes of content as its header claims them; undefined when it does not say. */
  readonly contentSize: number | undefined;
}

/** The bytes of one frame, from its first to its last, as they come. */
export type LargeFrame = AsyncGenerator<Uint8Array>;

/** Finds the borders of frames, and says which can be decoded whole. */
export class FrameScanner {
  readonly #reader: ByteReader;
  #large: LargeFrame | undefined;
  /** Memory of frames that were given out and came back. */
  readonly #free: Buffer[] = [];
  /** The bytes of the frame in hand. */
  #buffer: Buffer = Buffer.allocUnsafeSlow(BUFFER);
  #length = 0;

  constructor(reader: ByteReader) {
    this.#reader = reader;
  }

  /** Frames up to the end of the stream, or up to the next large one, which {@link takeLarge} then gives. */
  async *smallFrames(): AsyncGenerator<SmallFrame> {
    while (!(await this.#reader.atEnd())) {
      this.#length = 0;
      const magic = (await this.#append(4)).readUInt32LE();
      if (isSkippable(magic)) {
        await this.#skip();
        continue;
      }
      if (magic !== FRAME_MAGIC)
        throw corrupt(`bytes ${this.#length === 4 ? hex(magic) : ''} do not begin a zstd frame`);
      const frame = await this.#readFrame();
      if (frame === undefined) return;
      yield frame;
    }
  }

  /** The large frame at which {@link smallFrames} ended: to be read to its end before the next call. */
  takeLarge(): LargeFrame | undefined {
    const large = this.#large;
    this.#large = undefined;
    return large;
  }

  async #readFrame(): Promise<SmallFrame | undefined> {
    const descriptor = (await this.#append(1)).readUInt8();
    await this.#append(headerLength(descriptor) - 1);
    const header = parseHeader(this.#buffer.subarray(4, this.#length));
    let bound = 0;
    for (let last = false; !last;) {
      const block = parseBlock(await this.#append(3));
      if (block === undefined) throw corrupt('a zstd block is of no known type');
      last = block.last;
      bound += block.contentBound;
      if (isLarge(header, bound) || this.#length + block.length > SMALL + FRAME_OVERHEAD) {
        this.#large = this.#largeFrame(header, block);
        return undefined;
      }
      await this.#append(block.length);
    }
    if (header.checksum) await this.#append(4);
    return { bytes: this.#giveOut(), contentSize: header.contentSize };
  }

  /** The frame in hand, with its memory; the next one goes into other memory. */
  #giveOut(): Uint8Array {
    const memory = this.#buffer;
    this.#buffer = this.#free.pop() ?? Buffer.allocUnsafeSlow(BUFFER);
    return leaseChunk(memory.subarray(0, this.#length), () => this.#free.push(memory));
  }

  async *#largeFrame(header: FrameHeader, begun: { readonly last: boolean; readonly length: number }): LargeFrame {
    yield this.#buffer.subarray(0, this.#length);
    for (let block = begun; ;) {
      yield* this.#pass(block.length);
      if (block.last) break;
      const bytes = Buffer.allocUnsafe(3);
      await this.#fill(bytes);
      yield bytes;
      const next = parseBlock(bytes);
      if (next === undefined) throw corrupt('a zstd block is of no known type');
      block = next;
    }
    if (header.checksum) yield* this.#pass(4);
  }

  async *#pass(count: number): AsyncGenerator<Uint8Array> {
    for (let left = count; left > 0;) {
      const part = await this.#reader.next(left);
      if (part === undefined) throw truncated();
      left -= part.byteLength;
      yield part;
    }
  }

  async #skip(): Promise<void> {
    const bytes = Buffer.allocUnsafe(4);
    await this.#fill(bytes);
    for (let left = bytes.readUInt32LE(); left > 0;) {
      const part = await this.#reader.next(left);
      if (part === undefined) throw truncated();
      left -= part.byteLength;
    }
  }

  /** Reads on into the buffer and gives the view of what was read. */
  async #append(count: number): Promise<Buffer> {
    const end = this.#length + count;
    if (end > this.#buffer.byteLength) {
      const larger = Buffer.allocUnsafeSlow(Math.max(end, 2 * this.#buffer.byteLength));
      larger.set(this.#buffer.subarray(0, this.#length));
      this.#buffer = larger;
    }
    const part = this.#buffer.subarray(this.#length, end);
    await this.#fill(part);
    this.#length = end;
    return part;
  }

  async #fill(target: Uint8Array): Promise<void> {
    if (!(await this.#reader.read(target))) throw truncated();
  }
}

function isLarge(header: FrameHeader, bound: number): boolean {
  // The claimed content size only counts where the blocks can give as much: it is not to be trusted alone.
  const content = Math.min(header.contentSize ?? bound, bound);
  return content > SMALL || (header.contentSize === undefined && header.windowSize > SMALL);
}

function truncated(): Error {
  return corrupt('the zstd stream ends inside a frame');
}

function hex(magic: number): string {
  return magic.toString(16).padStart(8, '0');
}
