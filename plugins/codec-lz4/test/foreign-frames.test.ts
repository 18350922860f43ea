import { Lz4Codec } from '@pgark/codec-lz4';
import { createHash } from 'node:crypto';
import { compress } from 'lz4-napi';
import { describe, expect, test } from 'vitest';
import { frame, frameHeader, skippable, uint32, type FrameBlock, type FrameOptions } from './frames.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const codec = new Lz4Codec();

async function* inChunks(bytes: Uint8Array, length = 65_536): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += length) yield bytes.subarray(at, at + length);
}

async function decode(bytes: Uint8Array): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of codec.decode(inChunks(bytes), { concurrency: 2 })) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** How many bytes come out; a failing test prints that and not the bytes. */
async function lengthOf(bytes: Uint8Array): Promise<number> {
  return (await decode(bytes)).byteLength;
}

function corrupt(message: RegExp): object {
  return { code: 'CODEC_CORRUPT', message: expect.stringMatching(message) };
}

/** Half of it compresses; what comes again after 40,000 bytes is found only by blocks that refer to each other, or are larger. */
function content(length: number, seed: string): Buffer {
  const bytes = Buffer.alloc(length);
  let noise = createHash('sha512').update(seed).digest();
  for (let at = 0; at < length; at += 128) {
    noise = createHash('sha512').update(noise).digest();
    bytes.set(noise.subarray(0, length - at), at);
  }
  for (let at = 40_000; at + 500 < length; at += 3000) bytes.copyWithin(at, at - 40_000, at - 39_500);
  return bytes;
}

/** A frame of `bytes` in blocks of `blockSize`, which refer to the content before them where the frame is linked. */
async function frameOf(bytes: Uint8Array, blockSize: number, options: FrameOptions = {}): Promise<Buffer> {
  const blocks: FrameBlock[] = [];
  for (let at = 0; at < bytes.byteLength; at += blockSize) {
    const piece = bytes.subarray(at, at + blockSize);
    const before = options.linked === true ? bytes.subarray(Math.max(0, at - 64 * KIB), at) : undefined;
    // The library puts the length of the content before the block.
    const block = (await compress(piece, before)).subarray(4);
    blocks.push(block.byteLength < piece.byteLength ? { bytes: block } : { bytes: piece, stored: true });
  }
  return frame(blocks, bytes, options);
}

const small = content(50_000, 'small');
const large = content(10 * MIB + 77, 'large');

describe('frames of other producers', () => {
  test.each<readonly [string, number, FrameOptions]>([
    ['independent blocks of 64 KiB', 64 * KIB, {}],
    ['linked blocks of 64 KiB', 64 * KIB, { linked: true }],
    ['linked blocks of 256 KiB, each with a checksum', 256 * KIB, { kind: 5, linked: true, blockChecksum: true }],
    ['blocks of 1 MiB and a content size', MIB, { kind: 6, contentSize: large.byteLength }],
    ['blocks of 4 MiB and no checksum at all', 4 * MIB, { kind: 7, contentChecksum: false }],
    ['linked blocks that are smaller than they may be', 1000, { kind: 7, linked: true }],
  ])('%s', async (_name, blockSize, options) => {
    const encoded = await frameOf(large, blockSize, options);
    expect((await decode(encoded)).equals(large)).toBe(true);
  });

  test('small, large, empty and skippable frames follow each other in any order', async () => {
    const encoded = Buffer.concat([
      skippable(0),
      await frameOf(small, 64 * KIB),
      await frameOf(large, 4 * MIB, { kind: 7, linked: true }),
      skippable(200_000, 15),
      frame([], Buffer.alloc(0)),
      await frameOf(small, 10_000),
      await frameOf(small, 64 * KIB, { contentSize: small.byteLength }),
      await frameOf(small, 64 * KIB),
      skippable(1, 3),
    ]);
    expect((await decode(encoded)).equals(Buffer.concat([small, large, small, small, small]))).toBe(true);
    expect(await lengthOf(skippable(10))).toBe(0);
  });

  test('matches of every distance and length that overlap themselves', async () => {
    for (let distance = 1; distance < 40; distance++) {
      for (const length of [4, 18, 19, 47, 48, 49, 300, 5000]) {
        const expected = Buffer.alloc(distance + length, small.subarray(0, distance));
        const extended = (count: number): number[] =>
          count < 15 ? [] : [...Array.from({ length: Math.floor((count - 15) / 255) }, () => 255), (count - 15) % 255];
        const block = Buffer.concat([
          Buffer.of((Math.min(distance, 15) << 4) | Math.min(length - 4, 15), ...extended(distance)),
          small.subarray(0, distance),
          Buffer.of(distance, 0, ...extended(length - 4), 0),
        ]);
        // The size makes it one that is not for the library.
        const options = { contentSize: expected.byteLength };
        const decoded = await decode(frame([{ bytes: block }], expected, options));
        expect(decoded.equals(expected), `${length} bytes from ${distance} before`).toBe(true);
      }
    }
  });

  test('a frame that needs a dictionary, and one of the legacy format, are refused with the reason', async () => {
    const wanting = await frameOf(small, 64 * KIB, { dictionary: true });
    await expect(lengthOf(wanting)).rejects.toMatchObject(corrupt(/needs a dictionary/));
    const legacy = Buffer.concat([uint32(0x184c2102), uint32(5), Buffer.of(0x40), Buffer.from('data')]);
    await expect(lengthOf(legacy)).rejects.toMatchObject(corrupt(/legacy format/));
  });

  test.each<readonly [string, FrameOptions, RegExp]>([
    ['of a later version', { flags: 0xc0 }, /version 2/],
    ['with the reserved flag', { flags: 2 }, /flags that are not known/],
    ['with a reserved bit beside the block size', { sizes: 1 }, /flags that are not known/],
    ['with blocks of an unknown size', { kind: 3 }, /unknown size 3/],
  ])('a frame %s is CODEC_CORRUPT', async (_name, options, message) => {
    const bytes = frame([{ bytes: small, stored: true }], small, options);
    await expect(lengthOf(bytes)).rejects.toMatchObject(corrupt(message));
  });
});

describe.each<readonly [string, number, FrameOptions]>([
  ['linked', 64 * KIB, { linked: true }],
  ['large, with all checksums and a size', 4 * MIB, { kind: 7, blockChecksum: true, contentSize: large.byteLength }],
])('a frame of many blocks, %s', (_name, blockSize, options) => {
  test('that is cut anywhere is CODEC_CORRUPT', async () => {
    const encoded = await frameOf(large, blockSize, options);
    const end = encoded.byteLength;
    for (const length of [3, 5, 6, 10, 100, 4 * MIB, end - 100_000, end - 9, end - 8, end - 5, end - 4, end - 1]) {
      await expect(lengthOf(encoded.subarray(0, length)), `${length} of ${end} bytes`).rejects.toMatchObject({
        code: 'CODEC_CORRUPT',
      });
    }
  });

  test('that is altered anywhere is CODEC_CORRUPT', async () => {
    const encoded = await frameOf(large, blockSize, options);
    for (const at of [0, 4, 5, 6, 8, 20, 5000, 3 * MIB, encoded.byteLength - 6, encoded.byteLength - 2]) {
      const damaged = Buffer.from(encoded);
      damaged.writeUInt8(damaged.readUInt8(at) ^ 0x10, at);
      await expect(lengthOf(damaged), `byte ${at} altered`).rejects.toMatchObject({ code: 'CODEC_CORRUPT' });
    }
  });

  test('with anything behind it is CODEC_CORRUPT', async () => {
    const encoded = await frameOf(large.subarray(0, MIB), blockSize, { ...options, ...size(options, MIB) });
    expect(await lengthOf(encoded)).toBe(MIB);
    for (const extra of [Buffer.alloc(1), Buffer.alloc(5000), Buffer.from('garbage'), encoded.subarray(0, 3)])
      await expect(lengthOf(Buffer.concat([encoded, extra]))).rejects.toMatchObject({ code: 'CODEC_CORRUPT' });
  });

  test('an abort on its way is ABORTED', async () => {
    const encoded = await frameOf(large, blockSize, options);
    const abort = new AbortController();
    const reading = (async () => {
      for await (const chunk of codec.decode(inChunks(encoded), { concurrency: 2, signal: abort.signal })) {
        expect(chunk.byteLength).toBeGreaterThan(0);
        abort.abort();
      }
    })();
    await expect(reading).rejects.toMatchObject({ code: 'ABORTED' });
  });

  test('is read no faster than its reader, and left at once', async () => {
    const encoded = await frameOf(large, blockSize, options);
    let taken = 0;
    let ended = false;
    const source = (async function* (): AsyncGenerator<Uint8Array> {
      try {
        for await (const chunk of inChunks(encoded)) {
          taken += chunk.byteLength;
          yield chunk;
        }
      } finally {
        ended = true;
      }
    })();
    for await (const chunk of codec.decode(source, { concurrency: 2 })) if (chunk.byteLength > 0) break;
    expect(taken).toBeLessThanOrEqual(4 * MIB + 65_536);
    expect(ended).toBe(true);
  });
});

function size({ contentSize }: FrameOptions, length: number): FrameOptions {
  return contentSize === undefined ? {} : { contentSize: length };
}

describe('what a frame says of itself', () => {
  test('a block that does not match its checksum is CODEC_CORRUPT, though its content would', async () => {
    const bytes = await frameOf(small, 64 * KIB, { blockChecksum: true });
    expect(await lengthOf(bytes)).toBe(small.byteLength);
    const at = bytes.byteLength - 12;
    bytes.writeUInt32LE((bytes.readUInt32LE(at) ^ 1) >>> 0, at);
    await expect(lengthOf(bytes)).rejects.toMatchObject(corrupt(/block does not match its checksum/));
  });

  test.each([
    ['small, for the library', {}, /frame is damaged/],
    ['linked', { linked: true, blockChecksum: true }, /content of an lz4 frame does not match/],
  ] as const)('content that does not match its checksum is CODEC_CORRUPT: %s', async (_name, options, message) => {
    const bytes = frame([{ bytes: small, stored: true }], Buffer.from('other'), options);
    await expect(lengthOf(bytes)).rejects.toMatchObject(corrupt(message));
  });

  test.each([0, small.byteLength - 1, small.byteLength + 1, 2 ** 40, 2 ** 63])(
    'a content size of %i that is not true is CODEC_CORRUPT',
    async (contentSize) => {
      const bytes = frame([{ bytes: small, stored: true }], small, { contentSize });
      await expect(lengthOf(bytes)).rejects.toMatchObject(corrupt(/50000 bytes of content and claims/));
    },
  );

  test.each([4, 7])(
    'a block of kind %i that claims or gives more than its frame allows is CODEC_CORRUPT',
    async (kind) => {
      const most = 64 * KIB * 4 ** (kind - 4);
      const claiming = Buffer.concat([frameHeader({ kind }), uint32(most + 1), Buffer.alloc(most + 9)]);
      await expect(lengthOf(claiming)).rejects.toMatchObject(corrupt(/more than its frame allows/));
      const zeros = Buffer.alloc(most + 1);
      const block = (await compress(zeros)).subarray(4);
      await expect(lengthOf(frame([{ bytes: block }], zeros, { kind }))).rejects.toMatchObject(corrupt(/damaged/));
      const just = (await compress(zeros.subarray(1))).subarray(4);
      expect(await lengthOf(frame([{ bytes: just }], zeros.subarray(1), { kind }))).toBe(most);
    },
  );

  test('a skippable frame that claims gigabytes which do not come is CODEC_CORRUPT', async () => {
    const bytes = Buffer.concat([await frameOf(small, 64 * KIB), skippable(100)]);
    bytes.writeUInt32LE(0xffff_ffff, bytes.byteLength - 104);
    await expect(lengthOf(bytes)).rejects.toMatchObject(corrupt(/ends inside a frame/));
  });

  test('gigabytes from megabytes come as they are read, not before', async () => {
    const zeros = Buffer.alloc(4 * MIB);
    const block = (await compress(zeros)).subarray(4);
    const blocks = Array.from({ length: 256 }, () => ({ bytes: block }));
    const bytes = frame(blocks, Buffer.alloc(0), { kind: 7, contentChecksum: false });
    expect(bytes.byteLength).toBeLessThan(5 * MIB);
    const before = process.memoryUsage().rss;
    let read = 0;
    for await (const chunk of codec.decode(inChunks(bytes), { concurrency: 2 })) {
      expect(chunk[0]).toBe(0);
      read += chunk.byteLength;
      if (read > 400 * MIB) break;
    }
    expect(read).toBeGreaterThan(400 * MIB);
    expect(process.memoryUsage().rss - before).toBeLessThan(250 * MIB);
  });
});

describe('blocks that no compressor writes', () => {
  const cases: readonly (readonly [string, readonly number[]])[] = [
    ['a match before the begin', [0x10, 0x61, 2, 0, 0]],
    ['a match at distance 0', [0x10, 0x61, 0, 0, 0]],
    ['literals that do not come', [0x50, 0x61]],
    ['a length without an end', [0xf0, 255, 255]],
    ['a match whose distance is cut', [0x10, 0x61, 1]],
    ['a match length that is cut', [0x1f, 0x61, 1, 0, 255]],
    ['no literals at the end', [0x10, 0x61, 1, 0]],
    ['literals of gigabytes', [0xf0, ...Array.from({ length: 1000 }, () => 255), 0]],
    ['a match of more than a block', [0x1f, 0x61, 1, 0, ...Array.from({ length: 300 }, () => 255), 0, 0]],
  ];

  test.each(cases)('%s: CODEC_CORRUPT, whoever decodes them', async (_name, block) => {
    for (const options of [{}, { linked: true, blockChecksum: true }]) {
      const bytes = frame([{ bytes: Buffer.from(block) }], Buffer.alloc(0), options);
      await expect(lengthOf(bytes)).rejects.toMatchObject(corrupt(/damaged/));
    }
  });
});

describe('what encode writes', () => {
  test('is frames of 64 KiB, each with a checksum of its content, also where that does not compress', async () => {
    for (const bytes of [Buffer.alloc(MIB + 5, 'pgark'), large.subarray(0, MIB + 5)]) {
      const chunks: Uint8Array[] = [];
      for await (const chunk of codec.encode(inChunks(bytes), { concurrency: 2 })) chunks.push(chunk);
      const encoded = Buffer.concat(chunks);
      const header = frameHeader({});
      let frames = 0;
      for (let at = encoded.indexOf(header); at !== -1; at = encoded.indexOf(header, at + 1)) frames++;
      expect(frames).toBe(17);
      expect(encoded.byteLength).toBeLessThan(bytes.byteLength + 20 * frames);
      expect((await decode(encoded)).equals(bytes)).toBe(true);
    }
  });
});
