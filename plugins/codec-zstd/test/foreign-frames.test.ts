import { ZstdCodec } from '@pgark/codec-zstd';
import { createHash } from 'node:crypto';
import { constants, zstdCompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';

const MIB = 1024 * 1024;
const codec = new ZstdCodec({ level: 1 });

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

/** Half of it compresses. */
function content(length: number, seed: string): Buffer {
  const bytes = Buffer.alloc(length);
  let noise = createHash('sha512').update(seed).digest();
  for (let at = 0; at < length; at += 128) {
    noise = createHash('sha512').update(noise).digest();
    bytes.set(noise.subarray(0, length - at), at);
  }
  return bytes;
}

interface FrameOptions {
  readonly size?: boolean;
  readonly checksum?: boolean;
  readonly windowLog?: number;
}

function frame(bytes: Uint8Array, { size = true, checksum = true, windowLog }: FrameOptions = {}): Buffer {
  return zstdCompressSync(bytes, {
    ...(size ? { pledgedSrcSize: bytes.byteLength } : {}),
    params: {
      [constants.ZSTD_c_checksumFlag]: checksum ? 1 : 0,
      ...(windowLog === undefined ? {} : { [constants.ZSTD_c_windowLog]: windowLog }),
    },
  });
}

function skippable(length: number, kind = 0): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32LE(0x184d2a50 + kind, 0);
  header.writeUInt32LE(length, 4);
  return Buffer.concat([header, Buffer.alloc(length, 0x28)]);
}

const small = content(100_000, 'small');
const large = content(20 * MIB, 'large');

describe('frames of other producers', () => {
  test.each([
    ['with size and checksum', {}],
    ['without size', { size: false }],
    ['without checksum', { checksum: false }],
    ['without either', { size: false, checksum: false }],
    ['with a window of 64 MiB', { windowLog: 26 }],
    ['with a window of 64 MiB and no size', { windowLog: 26, size: false }],
  ] as const)('%s, small and large, in order', async (_name, options) => {
    const pieces = [small, large, Buffer.alloc(0), small, Buffer.alloc(30 * MIB, 7), small];
    const decoded = await decode(Buffer.concat(pieces.map((piece) => frame(piece, options))));
    expect(decoded.equals(Buffer.concat(pieces))).toBe(true);
  });

  test('skippable frames are skipped, wherever they are', async () => {
    const pieces = [
      skippable(0),
      frame(small),
      skippable(5000, 15),
      frame(large, { size: false }),
      skippable(1, 3),
      frame(small),
      skippable(200_000),
    ];
    expect((await decode(Buffer.concat(pieces))).equals(Buffer.concat([small, large, small]))).toBe(true);
    expect((await decode(skippable(10))).byteLength).toBe(0);
  });

  test('a frame that needs a dictionary is CODEC_CORRUPT, with the reason of the library', async () => {
    const bytes = frame(small);
    // The flag for a dictionary of a one-byte id, and the id.
    const descriptor = bytes.readUInt8(4);
    const singleSegment = (descriptor & 0x20) !== 0;
    const at = singleSegment ? 5 : 6;
    const wanting = Buffer.concat([
      bytes.subarray(0, 4),
      Buffer.of(descriptor | 1),
      bytes.subarray(5, at),
      Buffer.of(9),
      bytes.subarray(at),
    ]);
    await expect(lengthOf(wanting)).rejects.toMatchObject({
      code: 'CODEC_CORRUPT',
      message: expect.stringMatching(/dict/i),
    });
  });
});

describe('a large frame', () => {
  const encoded = frame(large);
  const bare = frame(large, { size: false, checksum: false });

  test('is a frame of its own kind: one, and larger than what is decoded whole', () => {
    expect(encoded.byteLength).toBeGreaterThan(9 * MIB);
  });

  test('that is cut anywhere is CODEC_CORRUPT', async () => {
    for (const bytes of [encoded, bare]) {
      const end = bytes.byteLength;
      for (const length of [5, 100, 4 * MIB, 9 * MIB, end - 100_000, end - 5, end - 4, end - 1]) {
        await expect(lengthOf(bytes.subarray(0, length)), `${length} of ${end} bytes`).rejects.toMatchObject({
          code: 'CODEC_CORRUPT',
        });
      }
    }
  });

  test('that is altered anywhere is CODEC_CORRUPT', async () => {
    for (const at of [0, 5, 6, 10, 5000, 6 * MIB, encoded.byteLength - 2]) {
      const damaged = Buffer.from(encoded);
      damaged.writeUInt8(damaged.readUInt8(at) ^ 0x10, at);
      await expect(lengthOf(damaged), `byte ${at} altered`).rejects.toMatchObject({ code: 'CODEC_CORRUPT' });
    }
  });

  test('with anything behind it is CODEC_CORRUPT', async () => {
    for (const extra of [Buffer.alloc(1), Buffer.alloc(5000), Buffer.from('garbage'), encoded.subarray(0, 3)])
      await expect(lengthOf(Buffer.concat([encoded, extra]))).rejects.toMatchObject({ code: 'CODEC_CORRUPT' });
  });

  test('is read no faster than its reader, and left at once', async () => {
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
    let read = 0;
    for await (const chunk of codec.decode(source, { concurrency: 2 })) {
      read += chunk.byteLength;
      if (read > 512 * 1024) break;
    }
    expect(taken).toBeLessThan(10 * MIB);
    expect(ended).toBe(true);
  });

  test('an abort on its way is ABORTED', async () => {
    const abort = new AbortController();
    const reading = (async () => {
      for await (const chunk of codec.decode(inChunks(encoded), { concurrency: 2, signal: abort.signal })) {
        expect(chunk.byteLength).toBeGreaterThan(0);
        abort.abort();
      }
    })();
    await expect(reading).rejects.toMatchObject({ code: 'ABORTED' });
  });
});

describe('headers that promise too much', () => {
  const SIZES = [2 ** 31, 2 ** 40, 2 ** 50];

  /** A frame of one segment whose header claims `size` bytes and whose only block has four. */
  function claiming(size: number): Buffer {
    const header = Buffer.alloc(13);
    header.writeUInt32LE(0xfd2fb528, 0);
    header.writeUInt8(0b1110_0000, 4);
    header.writeBigUInt64LE(BigInt(size), 5);
    return Buffer.concat([header, Buffer.of((4 << 3) | 1, 0, 0), Buffer.from('data')]);
  }

  test.each(SIZES)('a content size of %i is CODEC_CORRUPT without the memory for it', async (size) => {
    const before = process.memoryUsage().rss;
    for (let round = 0; round < 50; round++)
      await expect(lengthOf(claiming(size))).rejects.toMatchObject({ code: 'CODEC_CORRUPT' });
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * MIB);
  });

  test('the frame itself is sound: with the right size it is decoded', async () => {
    expect(String(await decode(claiming(4)))).toBe('data');
  });

  test('a window of terabytes is CODEC_CORRUPT', async () => {
    const bytes = Buffer.concat([
      Buffer.of(0x28, 0xb5, 0x2f, 0xfd, 0, 0xff),
      Buffer.of((4 << 3) | 1, 0, 0),
      Buffer.from('data'),
    ]);
    await expect(lengthOf(bytes)).rejects.toMatchObject({ code: 'CODEC_CORRUPT' });
    bytes[5] = 0x58;
    expect(String(await decode(bytes))).toBe('data');
  });

  test('gigabytes from kilobytes come as they are read, not before', async () => {
    const blocks = 100_000;
    const block = Buffer.of(((131_072 << 3) | 2) & 0xff, (131_072 >> 5) & 0xff, (131_072 >> 13) & 0xff, 0x61);
    const bytes = Buffer.concat([
      Buffer.of(0x28, 0xb5, 0x2f, 0xfd, 0, 0x58),
      ...Array.from({ length: blocks }, () => block),
      Buffer.of(1, 0, 0),
    ]);
    const before = process.memoryUsage().rss;
    let read = 0;
    for await (const chunk of codec.decode(inChunks(bytes), { concurrency: 2 })) {
      expect(chunk[0]).toBe(0x61);
      read += chunk.byteLength;
      if (read > 300 * MIB) break;
    }
    expect(read).toBeGreaterThan(300 * MIB);
    expect(process.memoryUsage().rss - before).toBeLessThan(250 * MIB);
  });

  test('a skippable frame that claims gigabytes which do not come is CODEC_CORRUPT', async () => {
    const bytes = skippable(100);
    bytes.writeUInt32LE(0xffff_ffff, 4);
    await expect(lengthOf(Buffer.concat([frame(small), bytes]))).rejects.toMatchObject({ code: 'CODEC_CORRUPT' });
  });

  test('a block of the reserved type is CODEC_CORRUPT', async () => {
    const bytes = claiming(4);
    bytes.writeUInt8(bytes.readUInt8(13) | 6, 13);
    await expect(lengthOf(bytes)).rejects.toMatchObject({ code: 'CODEC_CORRUPT' });
  });
});

describe('what encode writes', () => {
  test.each([1, 2, 3, 9])('at level %i every frame has its content size and a checksum', async (level) => {
    const { blockSize } = new ZstdCodec({ level });
    const length = 2 * blockSize + 5;
    const frames: Uint8Array[] = [];
    for await (const chunk of new ZstdCodec({ level }).encode(inChunks(content(length, 'x')), { concurrency: 2 }))
      frames.push(chunk);
    expect(frames).toHaveLength(3);
    for (const [index, bytes] of frames.entries()) {
      const descriptor = bytes[4] ?? 0;
      expect(descriptor & 4, 'checksum flag').toBe(4);
      expect(descriptor & 0xe0, 'content size or single segment').not.toBe(0);
      expect((await decode(bytes)).byteLength).toBe(index < 2 ? blockSize : 5);
    }
  });
});
