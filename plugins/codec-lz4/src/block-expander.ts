import { corrupt } from './corrupt.ts';

/** How far back a block may refer. */
const WINDOW: number = 64 * 1024;

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

/** Decompresses the blocks of one frame, one after the other, in JavaScript. */
export class BlockExpander {
  readonly #options: BlockExpanderOptions;
  #history: Uint8Array = new Uint8Array(0);

  constructor(options: BlockExpanderOptions) {
    this.#options = options;
  }

  /** The content of the next block of the frame. `CODEC_CORRUPT`. */
  expand(block: Uint8Array): Uint8Array {
    const begin = this.#history.byteLength;
    const bound = Math.min(this.#options.blockSize, MOST_PER_BYTE * block.byteLength);
    const memory = Buffer.allocUnsafeSlow(begin + bound);
    memory.set(this.#history);
    const content = memory.subarray(begin, expandSequences(block, memory, begin));
    this.passed(content);
    return content;
  }

  /** Takes note of the content of the next block, which was not compressed. */
  passed(content: Uint8Array): void {
    if (!this.#options.linked) return;
    // A copy: what is given out belongs to its reader.
    const last = content.subarray(-WINDOW);
    const kept = this.#history.subarray(Math.max(0, this.#history.byteLength + last.byteLength - WINDOW));
    this.#history = Buffer.concat([kept, last]);
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
