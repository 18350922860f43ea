import { Lz4Codec } from '@pgark/codec-lz4';
import { randomBytes } from 'node:crypto';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { frame, skippable, type FrameBlock } from './frames.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const codec = new Lz4Codec();

/** A source in memory, which has the next bytes at once. */
async function* inMemory(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += MIB) yield bytes.subarray(at, at + MIB);
}

function repeated(block: FrameBlock, count: number): FrameBlock[] {
  return Array.from({ length: count }, () => block);
}

const nothing = Buffer.alloc(0);
const unchecked = { contentChecksum: false } as const;
const oneStored: FrameBlock = { bytes: Buffer.from('a'), stored: true };
/** A token for one literal, and the literal. */
const oneCompressed: FrameBlock = { bytes: Buffer.of(0x10, 0x61) };

afterEach(() => {
  vi.restoreAllMocks();
});

describe('a source in memory does not keep the thread to itself', () => {
  const streams: readonly (readonly [string, () => Buffer])[] = [
    ['linked blocks of 1 byte', () => frame(repeated(oneStored, 20_000), nothing, { ...unchecked, linked: true })],
    ['the same compressed', () => frame(repeated(oneCompressed, 20_000), nothing, { ...unchecked, linked: true })],
    ['blocks of nothing', () => frame(repeated({ bytes: nothing, stored: true }, 20_000), nothing, unchecked)],
    [
      'blocks of 4 MiB',
      () => frame(repeated({ bytes: Buffer.alloc(4 * MIB), stored: true }, 3), nothing, { ...unchecked, kind: 7 }),
    ],
    ['skippable frames of nothing', () => Buffer.concat(Array.from({ length: 20_000 }, () => skippable(0)))],
    ['one long skippable frame', () => skippable(10 * MIB)],
    ['frames of nothing', () => Buffer.concat(Array.from({ length: 5000 }, () => frame([], nothing, unchecked)))],
  ];

  test.each(streams)('%s: an abort at the first turn of the event loop is ABORTED', async (_name, stream) => {
    const source = inMemory(stream());
    const abort = new AbortController();
    const reading = (async () => {
      for await (const chunk of codec.decode(source, { concurrency: 2, signal: abort.signal })) void chunk;
    })();
    setImmediate(() => abort.abort());
    await expect(reading).rejects.toMatchObject({ code: 'ABORTED' });
  });

  test('an abort is noticed although the source, which always had more, never ends', async () => {
    const bytes = frame(repeated(oneStored, 20_000), nothing, unchecked);
    let told = false;
    const source = {
      [Symbol.asyncIterator]: () => ({
        next: () => Promise.resolve({ done: false as const, value: bytes }),
        return: () => {
          told = true;
          return new Promise<never>(() => undefined);
        },
      }),
    };
    const abort = new AbortController();
    const chunks = codec.decode(source, { concurrency: 2, signal: abort.signal })[Symbol.asyncIterator]();
    expect((await chunks.next()).done).toBe(false);
    abort.abort();
    await expect(chunks.next()).rejects.toMatchObject({ code: 'ABORTED' });
    expect(told).toBe(true);
  });
});

describe('linked blocks of a few bytes', () => {
  test('cost no more than their own bytes', async () => {
    const blocks = [{ bytes: randomBytes(64 * KIB), stored: true }, ...repeated(oneStored, 1000)];
    const bytes = frame([...blocks, ...repeated(oneCompressed, 1000)], nothing, { ...unchecked, linked: true });
    let moved = 0;
    const concat = Buffer.concat.bind(Buffer);
    vi.spyOn(Buffer, 'concat').mockImplementation((list, length) => {
      const joined = concat(list, length);
      moved += joined.byteLength;
      return joined;
    });
    const set = vi.spyOn(Uint8Array.prototype, 'set');
    let length = 0;
    for await (const chunk of codec.decode(inMemory(bytes), { concurrency: 2 })) length += chunk.byteLength;
    for (const [from] of set.mock.calls) moved += from.length;
    expect(length).toBe(64 * KIB + 2000);
    expect(moved).toBeGreaterThanOrEqual(bytes.byteLength);
    // From where they came, through the window, which grows a few times, to their reader.
    expect(moved).toBeLessThan(MIB);
  });

  test('do not come one by one', async () => {
    const bytes = frame(repeated(oneStored, 50_000), Buffer.alloc(50_000, 'a'), { linked: true });
    const lengths: number[] = [];
    for await (const chunk of codec.decode(inMemory(bytes), { concurrency: 2 })) lengths.push(chunk.byteLength);
    expect(lengths).toEqual([50_000]);
  });

  test('refer as far back as a block may, also to what was given out long before and was changed by its reader', async () => {
    const blocks: FrameBlock[] = [];
    const content = Buffer.alloc(1_500_000);
    let end = 0;
    for (let step = 0; end < content.byteLength - 600; step++) {
      const literal = randomBytes(1);
      if (step % 7 === 0) blocks.push({ bytes: literal, stored: true });
      content.set(literal, end++);
      if (step % 7 === 0) continue;
      const distance = step % 3 === 0 ? Math.min(end, 65_535) : 1 + ((step * 7919) % Math.min(end, 65_535));
      const extra = step % 256;
      // One literal, a match of 19 bytes and more, and no literals at the end.
      const match = [distance & 255, distance >> 8, ...(extra === 255 ? [255, 0] : [extra])];
      blocks.push({ bytes: Buffer.concat([Buffer.of(0x1f), literal, Buffer.of(...match, 0)]) });
      for (let left = 19 + extra; left > 0; left--, end++) content[end] = content[end - distance]!;
    }
    const expected = content.subarray(0, end);
    const decoded: Buffer[] = [];
    for await (const chunk of codec.decode(inMemory(frame(blocks, expected, { linked: true })), { concurrency: 2 })) {
      decoded.push(Buffer.from(chunk));
      chunk.fill(0);
    }
    expect(decoded.length).toBeGreaterThan(3);
    expect(Buffer.concat(decoded).equals(expected)).toBe(true);
  });

  test('are not to be referred to where the frame says that its blocks are independent', async () => {
    const literals: FrameBlock = { bytes: Buffer.concat([Buffer.of(0x80), Buffer.alloc(8, 'a')]) };
    const match: FrameBlock = { bytes: Buffer.of(0x10, 0x61, 2, 0, 0) };
    const decoding = async (linked: boolean): Promise<number> => {
      let length = 0;
      const bytes = frame([literals, match], nothing, { ...unchecked, linked });
      for await (const chunk of codec.decode(inMemory(bytes), { concurrency: 2 })) length += chunk.byteLength;
      return length;
    };
    expect(await decoding(true)).toBe(13);
    await expect(decoding(false)).rejects.toMatchObject({ code: 'CODEC_CORRUPT' });
  });
});
