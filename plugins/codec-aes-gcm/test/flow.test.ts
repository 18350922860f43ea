import { leaseChunk, releaseChunk } from '@pgark/sdk';
import { describe, expect, test } from 'vitest';
import { codecOf, encode, source } from './objects.ts';

const MIB = 1024 * 1024;
const codec = codecOf();
const content = Buffer.alloc(16 * MIB, 'some content ');
const DIRECTIONS = ['encode', 'decode'] as const;

async function inputOf(direction: 'encode' | 'decode'): Promise<Buffer> {
  return direction === 'encode' ? content : encode(codec, content);
}

describe.each(DIRECTIONS)('%s', (direction) => {
  test('lets others have their turn, also with a source and a reader in memory', async () => {
    const input = await inputOf(direction);
    let turns = 0;
    let running = true;
    const count = (): void => {
      turns += 1;
      if (running) setImmediate(count);
    };
    setImmediate(count);
    let blocks = 0;
    for await (const chunk of codec[direction](source(input), { concurrency: 2 })) {
      blocks += 1;
      expect(chunk.byteLength).toBeLessThan(2 * MIB);
    }
    running = false;
    expect(blocks).toBe(16);
    // Two blocks of a MiB may be worked on in one turn.
    expect(turns).toBeGreaterThanOrEqual(blocks / 2);
  });

  test('uses memory again that its reader releases, and only that', async () => {
    const input = await inputOf(direction);
    const memoryOf = async (use: (chunk: Uint8Array) => void): Promise<number> => {
      const memory = new Set<ArrayBufferLike>();
      for await (const chunk of codec[direction](source(input), { concurrency: 2 })) {
        memory.add(chunk.buffer);
        use(chunk);
      }
      return memory.size;
    };
    expect(await memoryOf(() => undefined)).toBe(16);
    // At most four blocks wait to be read, one is read and one is worked on.
    expect(await memoryOf(releaseChunk)).toBeLessThanOrEqual(6);
  });

  test('releases each leased chunk of its source, once', async () => {
    const input = await inputOf(direction);
    const length = 300_000;
    const released: number[] = [];
    const leased = async function* (): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < input.byteLength; at += length) {
        const chunk = Buffer.from(input.subarray(at, at + length));
        yield leaseChunk(chunk, () => {
          released.push(at);
          // Its producer fills it anew.
          chunk.fill(0xee);
        });
      }
    };
    const parts: Uint8Array[] = [];
    for await (const chunk of codec[direction](leased(), { concurrency: 2 })) parts.push(chunk);
    const result = Buffer.concat(parts);
    const all = Array.from({ length: Math.ceil(input.byteLength / length) }, (_, index) => index * length);
    expect(released).toEqual(all);
    const decoded: Uint8Array[] = [];
    if (direction === 'decode') decoded.push(result);
    else for await (const chunk of codec.decode(source(result), { concurrency: 1 })) decoded.push(chunk);
    expect(Buffer.concat(decoded).equals(content)).toBe(true);
  });
});
