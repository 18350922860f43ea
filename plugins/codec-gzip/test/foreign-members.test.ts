import { GzipCodec } from '@pgark/codec-gzip';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';

const MIB = 1024 * 1024;
const codec = new GzipCodec({ level: 6 });

async function* source(...chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

async function decode(...chunks: readonly Uint8Array[]): Promise<Buffer> {
  const out: Uint8Array[] = [];
  for await (const chunk of codec.decode(source(...chunks), { concurrency: 2 })) out.push(chunk);
  return Buffer.concat(out);
}

const hello = gzipSync('hello');
const world = gzipSync(' world');

describe('members', () => {
  test('split at every place, also between two members, are joined', async () => {
    const both = Buffer.concat([hello, world, gzipSync(''), hello]);
    for (let at = 0; at <= both.byteLength; at++)
      expect(String(await decode(both.subarray(0, at), both.subarray(at)))).toBe('hello worldhello');
  });

  test('with the optional fields of the header are read', async () => {
    const header = Buffer.concat([
      Buffer.of(0x1f, 0x8b, 8, 0x1c, 0, 0, 0, 0, 0, 3),
      Buffer.of(4, 0, 0x50, 0x47, 0, 0),
      Buffer.from('name\0comment\0'),
    ]);
    expect(String(await decode(Buffer.concat([header, hello.subarray(10)]), world))).toBe('hello world');
  });
});

// Node's decoder takes a zero byte behind a member for padding and forgets all that follows.
describe('H-59 zero bytes behind a member', () => {
  test.each([
    ['one', [hello, Buffer.alloc(1)]],
    ['many', [hello, Buffer.alloc(70_000)]],
    ['in the same chunk', [Buffer.concat([hello, Buffer.alloc(9)])]],
    ['before another member', [hello, Buffer.alloc(3), world]],
    ['before another member, in one chunk', [Buffer.concat([hello, Buffer.alloc(3), world])]],
    ['before megabytes', [hello, Buffer.alloc(1), gzipSync(Buffer.alloc(5 * MIB, 'x')), world]],
  ] as const)('%s are CODEC_CORRUPT, not the end', async (_name, chunks) => {
    await expect(decode(...chunks)).rejects.toMatchObject({ code: 'CODEC_CORRUPT' });
  });
});

test('gigabytes from kilobytes come as they are read, not before', async () => {
  const bomb = gzipSync(Buffer.alloc(64 * MIB), { level: 9 });
  const before = process.memoryUsage().rss;
  let read = 0;
  const many = async function* (): AsyncGenerator<Uint8Array> {
    for (;;) yield bomb;
  };
  for await (const chunk of codec.decode(many(), { concurrency: 2 })) {
    read += chunk.byteLength;
    if (read > 200 * MIB) break;
  }
  expect(read).toBeGreaterThan(200 * MIB);
  expect(process.memoryUsage().rss - before).toBeLessThan(250 * MIB);
});

test('the reason of the library is the cause', async () => {
  const damaged = Buffer.from(hello);
  const at = damaged.byteLength - 6;
  damaged.writeUInt8(damaged.readUInt8(at) ^ 1, at);
  await expect(decode(damaged)).rejects.toMatchObject({
    code: 'CODEC_CORRUPT',
    cause: expect.objectContaining({ code: 'Z_DATA_ERROR' }),
  });
});
