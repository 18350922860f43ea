import { corrupt } from './corrupt.ts';

/** How far back a block may refer. */
const WINDOW: number = 64 * 1024;

/** Up to this length the window is made longer than the next block needs. */
const MOST_AHEAD: number = 512 * 1024;

/** No block gives more content than this for each of its bytes. */
const MOST_PER_BYTE = 255;

/** From this many bytes on, a call that copies them is faster than a loop. */
const LONG = 48;

export interface BlockExpanderOptions {
  /** Whether blocks refer to the content before them. */
  readonly linked: boolean;
  /** The most bytes of content that one block holds. */
  readonly blockSize: number;
}

/**
 * Decompresses the blocks of one frame, one after the other, in JavaScript, and gathers their content. All of it goes through one window,
 * in which the content that later blocks may refer to stands before what is gathered: a block costs by its own content, however small.
 */
export class BlockExpander {
  readonly #options: BlockExpanderOptions;
  #window: Buffer = Buffer.alloc(0);
  /** Where what is gathered begins in the window. */
  #begin = 0;
  #end = 0;

  constructor(options: BlockExpanderOptions) {
    this.#options = options;
  }

  /** Bytes of content that wait for {@link take}. */
  get gathered(): number {
    return this.#end - this.#begin;
  }

  /** Gathers the content of the next block of the frame, and gives it as a view that holds until the next call. `CODEC_CORRUPT`. */
  expand(block: Uint8Array): Uint8Array {
    const bound = Math.min(this.#options.blockSize, MOST_PER_BYTE * block.byteLength);
    this.#makeRoom(bound);
    const first = this.#options.linked ? 0 : this.#end;
    const reach = this.#window.subarray(first, this.#end + bound);
    return this.#append(first + expandSequences(block, reach, this.#end - first));
  }

  /** As {@link expand}, for a block that was not compressed. */
  copy(content: Uint8Array): Uint8Array {
    this.#makeRoom(content.byteLength);
    this.#window.set(content, this.#end);
    return this.#append(this.#end + content.byteLength);
  }

  /** What was gathered since the last call. */
  take(): Uint8Array {
    // A copy: the window is written again, and what is given out belongs to its reader.
    const content = Buffer.allocUnsafe(this.gathered);
    content.set(this.#window.subarray(this.#begin, this.#end));
    const kept = this.#options.linked ? Math.min(WINDOW, this.#end) : 0;
    this.#window.copyWithin(0, this.#end - kept, this.#end);
    this.#begin = kept;
    this.#end = kept;
    return content;
  }

  #append(end: number): Uint8Array {
    const content = this.#window.subarray(this.#end, end);
    this.#end = end;
    return content;
  }

  /** Makes the window long enough for so many bytes more. */
  #makeRoom(bytes: number): void {
    const needed = this.#end + bytes;
    if (needed <= this.#window.byteLength) return;
    // Small frames have a small window; that of many small blocks grows in a few steps.
    const longer = Buffer.allocUnsafeSlow(Math.max(needed, Math.min(2 * this.#window.byteLength, MOST_AHEAD)));
    longer.set(this.#window.subarray(0, this.#end));
    this.#window = longer;
  }
}

/**
 * Decodes a block (LZ4 Block Format Description) into `output` from `begin` on; what it may refer to stands before. Gives the end of its
 * content.
 */
function expandSequences(input: Uint8Array, output: Uint8Array, begin: number): number {
  let from = 0;
  let to = begin;
  for (;;) {
    const token = byteAt(input, from++);
    let literals = token >> 4;
    if (literals === 15) for (let more = 255; more === 255; literals += more) more = byteAt(input, from++);
    if (literals > input.byteLength - from || literals > output.byteLength - to) throw damaged();
    if (literals < LONG) for (let count = literals; count > 0; count--) output[to++] = input[from++]!;
    else {
      output.set(input.subarray(from, from + literals), to);
      from += literals;
      to += literals;
    }
    if (from === input.byteLength) return to;

    const offset = byteAt(input, from++) | (byteAt(input, from++) << 8);
    if (offset === 0 || offset > to) throw damaged();
    let length = (token & 15) + 4;
    if (length === 19) for (let more = 255; more === 255; length += more) more = byteAt(input, from++);
    if (length > output.byteLength - to) throw damaged();
    const end = to + length;
    if (length >= LONG) repeat(output, to - offset, to, end);
    else for (let at = to; at < end; at++) output[at] = output[at - offset]!;
    to = end;
  }
}

/** Writes what stands between `source` and `to` again and again, from `to` up to `end`. */
function repeat(output: Uint8Array, source: number, to: number, end: number): void {
  // What was written is whole repetitions, and may be copied together with the first.
  for (let at = to; at < end;) {
    const length = Math.min(at - source, end - at);
    output.copyWithin(at, source, source + length);
    at += length;
  }
}

function byteAt(input: Uint8Array, at: number): number {
  const byte = input[at];
  if (byte === undefined) throw damaged();
  return byte;
}

function damaged(): Error {
  return corrupt('an lz4 block is damaged');
}
