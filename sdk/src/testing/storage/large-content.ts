import assert from 'node:assert/strict';
import type { Random } from './random.ts';

/** Bytes of one block: random ones that are the same in every block, behind its number. */
const BLOCK = 64 * 1024;

/** Bytes of the number of a block, at its begin. */
const NUMBER = 8;

/** Blocks of one chunk: 1 MiB. */
const BLOCKS_PER_CHUNK = 16;

/**
 * Content of any length that is told by its offset, so that none of it has to be kept: bytes that are lost, doubled or at another place
 * are noticed, and making and comparing it costs no more than copying memory.
 */
export class LargeContent {
  readonly size: number;
  readonly #pattern: Buffer;
  /** The block that was last asked for by {@link LargeContent.assertAt}. */
  readonly #expected: Buffer;

  constructor(size: number, random: Random) {
    this.size = size;
    this.#pattern = Buffer.from(random.bytes(BLOCK));
    this.#expected = Buffer.from(this.#pattern);
  }

  /** All of it, once, in chunks of 1 MiB with memory of their own. */
  async *chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    for (let start = 0; start < this.size; start += BLOCKS_PER_CHUNK * BLOCK) {
      const chunk = Buffer.allocUnsafeSlow(BLOCKS_PER_CHUNK * BLOCK);
      for (let at = 0; at < chunk.byteLength; at += BLOCK) {
        this.#pattern.copy(chunk, at);
        chunk.writeBigUInt64LE(BigInt((start + at) / BLOCK), at);
      }
      yield chunk.subarray(0, this.size - start);
    }
  }

  /** Asserts that `bytes` are those from `offset` on. */
  assertAt(offset: number, bytes: Uint8Array, what: string): void {
    for (let at = 0; at < bytes.byteLength;) {
      const inBlock = (offset + at) % BLOCK;
      this.#expected.writeBigUInt64LE(BigInt((offset + at - inBlock) / BLOCK));
      const length = Math.min(BLOCK - inBlock, bytes.byteLength - at);
      const actual = bytes.subarray(at, at + length);
      if (Buffer.compare(actual, this.#expected.subarray(inBlock, inBlock + length)) !== 0) {
        const first = actual.findIndex((byte, index) => byte !== this.#expected[inBlock + index]);
        assert.fail(`${what}: the byte at ${offset + at + first} is another one${this.#foundInstead(actual, inBlock)}`);
      }
      at += length;
    }
    assert.ok(offset + bytes.byteLength <= this.size, `${what} goes on behind ${this.size} bytes`);
  }

  /** Whose bytes they are, where that can be told. */
  #foundInstead(actual: Uint8Array, inBlock: number): string {
    const isWhole = inBlock === 0 && actual.byteLength === BLOCK;
    if (!isWhole || Buffer.compare(actual.subarray(NUMBER), this.#pattern.subarray(NUMBER)) !== 0) return '';
    return `: those of offset ${Buffer.from(actual).readBigUInt64LE() * BigInt(BLOCK)}`;
  }
}
