import { randomBytes } from 'node:crypto';
import { zstdDecompressSync } from 'node:zlib';
import { isLeased, releaseChunk } from '@pgark/sdk';
import { expect, test } from 'vitest';
import { OutputMemory } from '../src/output-memory.ts';
import { ZstdCodec } from '../src/zstd-codec.ts';

const MIB = 1024 * 1024;

async function* blocks(count: number, bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let block = 0; block < count; block++) yield bytes;
}

test('memory goes with the last of its chunks, and not while the stream may fill it', async () => {
  const memory = new OutputMemory(1000);
  const first = new ArrayBuffer(1000);
  const second = new ArrayBuffer(1000);
  const [one, other] = [memory.lease(new Uint8Array(first, 0, 400)), memory.lease(new Uint8Array(first, 400, 300))];
  releaseChunk(one);
  releaseChunk(other);
  await Promise.resolve();
  expect(first.byteLength, 'the stream may still fill the rest').toBe(1000);
  const third = memory.lease(new Uint8Array(first, 700, 300));
  const fourth = memory.lease(new Uint8Array(second, 0, 100));
  expect(first.byteLength, 'the third is not released').toBe(1000);
  releaseChunk(third);
  await Promise.resolve();
  expect(first.byteLength).toBe(0);
  expect(fourth.byteLength).toBe(100);
});

test('a chunk in two pieces of memory is one of its own, and frees the first of them', async () => {
  const memory = new OutputMemory(1000);
  const first = new ArrayBuffer(1000);
  releaseChunk(memory.lease(new Uint8Array(first, 0, 900)));
  const joined = memory.lease(new Uint8Array(700));
  await Promise.resolve();
  expect(first.byteLength).toBe(0);
  const { buffer } = joined;
  releaseChunk(joined);
  await Promise.resolve();
  expect(buffer.byteLength).toBe(0);
});

test('what nobody releases stays as it is; what is released takes no memory', async () => {
  const codec = new ZstdCodec({ level: 1 });
  const noise = randomBytes(MIB);
  const kept: Uint8Array[] = [];
  let count = 0;
  let most = 0;
  for await (const frame of codec.encode(blocks(60, noise), { concurrency: 2 })) {
    expect(isLeased(frame)).toBe(true);
    if (count++ % 20 === 0) kept.push(frame);
    else releaseChunk(frame);
    most = Math.max(most, process.memoryUsage().arrayBuffers);
  }
  for (const frame of kept) expect(zstdDecompressSync(frame).equals(noise)).toBe(true);
  // 60 MiB went through; what is kept holds its pieces of 4 MiB.
  expect(count).toBe(60);
  expect(most).toBeLessThan(75 * MIB);
});
