import { randomBytes } from 'node:crypto';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { isLeased, releaseChunk, takeMemory } from '@pgark/sdk';
import { expect, test } from 'vitest';
import { frameCompressor, frameDecompressor, frameRoom } from '../src/frame-coder.ts';
import { OutputMemory } from '../src/output-memory.ts';
import { ZstdCodec } from '../src/zstd-codec.ts';

const MIB = 1024 * 1024;

async function* blocks(count: number, bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let block = 0; block < count; block++) yield bytes;
}

// First, as what others leave to the collector counts too.
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
  // 60 MiB went through.
  expect(count).toBe(60);
  expect(most).toBeLessThan(75 * MIB);
});

test('memory is filled again when its chunk was released, and not before', async () => {
  const memory = new OutputMemory();
  const coder = frameCompressor({ level: 1, blockSize: MIB });
  const [one, other] = [randomBytes(MIB), randomBytes(MIB)];
  const kept = await coder.run(one, frameRoom(MIB), memory);
  const released = await coder.run(other, frameRoom(MIB), memory);
  expect(released.buffer).not.toBe(kept.buffer);
  const { buffer } = released;
  releaseChunk(released);
  const third = await coder.run(other, frameRoom(MIB), memory);
  expect(third.buffer, 'it is the memory that came back').toBe(buffer);
  expect(zstdDecompressSync(kept).equals(one)).toBe(true);
  expect(zstdDecompressSync(third).equals(other)).toBe(true);
  coder.close();
});

test('memory that went to another thread and came back is filled again', async () => {
  const memory = new OutputMemory();
  const coder = frameCompressor({ level: 1, blockSize: MIB });
  const noise = randomBytes(MIB);
  const taken = takeMemory(await coder.run(noise, frameRoom(MIB), memory));
  if (taken === undefined) throw new Error('the memory cannot be taken');
  const away = structuredClone(taken.memory, { transfer: [taken.memory] });
  const meanwhile = await coder.run(noise, frameRoom(MIB), memory);
  expect(meanwhile.buffer).not.toBe(away);
  taken.release(away);
  const next = await coder.run(noise, frameRoom(MIB), memory);
  expect(next.buffer, 'it is the memory that came back').toBe(away);
  for (const frame of [meanwhile, next]) expect(zstdDecompressSync(frame).equals(noise)).toBe(true);
  coder.close();
});

test('what does not fit into its memory is a chunk of its own, which is freed when it is released', async () => {
  const memory = new OutputMemory();
  const coder = frameDecompressor();
  const content = randomBytes(MIB);
  const frame = zstdCompressSync(content);
  for (const size of [1000, MIB - 1, MIB, MIB + 1]) {
    const piece = memory.take(size);
    memory.give(piece);
    const made = await coder.run(frame, size, memory);
    expect(content.equals(made), `into ${size} bytes`).toBe(true);
    expect(made.buffer === piece.buffer).toBe(size >= MIB);
    expect(isLeased(made)).toBe(true);
    const { buffer } = made;
    releaseChunk(made);
    await Promise.resolve();
    expect(buffer.byteLength).toBe(size >= MIB ? size : 0);
    expect(memory.take(size).buffer, 'the piece is there again').toBe(piece.buffer);
  }
  coder.close();
});

test('memory that nobody uses is bounded, and goes when it is cleared', async () => {
  const memory = new OutputMemory();
  const pieces = Array.from({ length: 20 }, () => memory.take(MIB));
  for (const piece of pieces) memory.give(piece);
  await Promise.resolve();
  expect(pieces.filter(({ buffer }) => buffer.byteLength > 0)).toHaveLength(16);
  memory.clear();
  await Promise.resolve();
  expect(pieces.filter(({ buffer }) => buffer.byteLength > 0)).toHaveLength(0);
  expect(memory.take(MIB)).toHaveLength(MIB);
});

test('several objects at once share coders and memory, and none sees the bytes of another', async () => {
  const codec = new ZstdCodec({ level: 1 });
  const work = Array.from({ length: 6 }, async (_, at) => {
    const noise = Buffer.concat([Buffer.alloc(MIB / 2, at), randomBytes(MIB / 2)]);
    const made: Buffer[] = [];
    for await (const frame of codec.encode(blocks(8, noise), { concurrency: 2 })) {
      made.push(Buffer.from(frame));
      releaseChunk(frame);
    }
    for await (const content of codec.decode(blocks(1, Buffer.concat(made)), { concurrency: 2 })) {
      expect(noise.equals(content), `object ${at}`).toBe(true);
      releaseChunk(content);
    }
  });
  await Promise.all(work);
});
