import plugin, { ZstdCodec } from '@pgark/codec-zstd';
import { errnoOf } from '@pgark/sdk';
import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';

const MIB = 1024 * 1024;

/** What does not compress but by what comes again 6 MiB later. */
const piece = randomBytes(6 * MIB);
const repeated = Buffer.concat([piece, piece, piece, piece.subarray(0, MIB)]);

async function* inChunks(bytes: Uint8Array, length = 300_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += length) yield bytes.subarray(at, at + length);
}

async function run(codec: ZstdCodec, direction: 'encode' | 'decode', bytes: Uint8Array): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of codec[direction](inChunks(bytes), { concurrency: 2 })) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const hash = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

describe('long', () => {
  let encoded: Buffer;
  beforeAll(async () => {
    encoded = await run(new ZstdCodec({ level: 1, long: true }), 'encode', repeated);
  });

  test('finds repetitions that are 6 MiB apart, which are not found without it', async () => {
    // The second frame begins after 16 MiB and knows nothing of the first: 6 and 3 MiB of 19.
    expect(encoded.byteLength).toBeLessThan(9.1 * MIB);
    const plain = await run(new ZstdCodec({ level: 1 }), 'encode', repeated);
    expect(plain.byteLength).toBeGreaterThan(repeated.byteLength);
  });

  test('is decoded by a codec that was not told of it', async () => {
    expect(hash(await run(new ZstdCodec({ level: 1 }), 'decode', encoded))).toBe(hash(repeated));
  });

  test('is read by the zstd command without further flags', ({ skip }) => {
    const result = spawnSync('zstd', ['-dc'], { input: encoded, maxBuffer: 64 * MIB });
    if (errnoOf(result.error) === 'ENOENT') skip('zstd is not installed');
    expect(result.stderr.toString()).toBe('');
    expect(hash(result.stdout)).toBe(hash(repeated));
  });

  test('altered or cut, it is CODEC_CORRUPT', async () => {
    const codec = new ZstdCodec({ level: 1 });
    const damaged = Buffer.from(encoded);
    damaged.writeUInt8(damaged.readUInt8(5 * MIB) ^ 1, 5 * MIB);
    for (const bytes of [damaged, encoded.subarray(0, -1), encoded.subarray(0, 5 * MIB)])
      await expect(run(codec, 'decode', bytes).then(hash)).rejects.toMatchObject({ code: 'CODEC_CORRUPT' });
  });

  test('is an option of the plugin, and off without it', async () => {
    const validate = plugin.options['~standard'].validate;
    expect(await validate({})).toEqual({ value: { level: 1, long: false } });
    expect(await validate({ level: 3, long: true })).toEqual({ value: { level: 3, long: true } });
    expect(await validate({ long: 'yes' })).toHaveProperty('issues');
  });
});
