import { expect, test } from 'vitest';
import { SegmentMemory } from '../../src/agent/segment-memory.ts';
import { releaseChunk } from '../../src/contracts/lease.ts';
import type { HeldBytes } from '../../src/wal-command/local-file.ts';

const SIZE = 1024 * 1024;

function filled(memory: SegmentMemory, value: number): HeldBytes {
  const held = memory.hold(SIZE);
  if (held === undefined) throw new Error('no memory for a small segment');
  held.memory.fill(value);
  return held;
}

/** As a thread gives it back. */
function sent({ buffer }: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(structuredClone(buffer, { transfer: [buffer] }));
}

test('bytes are for the first who takes them; released, their memory is used again, but for no other size', () => {
  const memory = new SegmentMemory();
  const held = filled(memory, 1);
  const bytes = held.take();
  expect(bytes?.every((byte) => byte === 1)).toBe(true);
  expect(held.take()).toBeUndefined();
  releaseChunk(bytes as Uint8Array);
  expect(memory.hold(2 * SIZE)?.memory.byteLength).toBe(2 * SIZE);
  expect(memory.hold(SIZE)?.memory).toBe(held.memory);
});

test('what is taken and not released is never filled with other bytes', () => {
  const memory = new SegmentMemory();
  const taken = Array.from({ length: 20 }, (_, value) => filled(memory, value).take());
  expect(taken.map((bytes) => bytes?.[0])).toEqual(taken.map((_, value) => value));
  expect(taken.map((bytes) => bytes?.at(-1))).toEqual(taken.map((_, value) => value));
});

test('few wait to be taken, the newest, and large segments none at all', () => {
  const memory = new SegmentMemory();
  const held = Array.from({ length: 20 }, (_, value) => filled(memory, value));
  const bytes = held.map((one) => one.take()?.[0]);
  expect(bytes).toEqual([...Array.from({ length: 16 }, () => undefined), 16, 17, 18, 19]);
  expect(memory.hold(64 * SIZE)).toBeUndefined();
});

test('memory that went to another thread is taken as it came back, unless others came in its place', () => {
  const memory = new SegmentMemory();
  const held = filled(memory, 1);
  held.replace(sent(held.memory));
  expect(held.take()?.every((byte) => byte === 1)).toBe(true);
  const late = filled(memory, 2);
  Array.from({ length: 4 }, () => filled(memory, 3));
  late.replace(sent(late.memory));
  expect(late.take()).toBeUndefined();
});
