import { expect, test } from 'vitest';
import { isLeased, leaseChunk, leaseMemory, leaseOwned, releaseChunk, takeMemory } from '../../src/contracts/lease.ts';

test('a leased chunk is released once, whatever is said afterwards', () => {
  let released = 0;
  const chunk = leaseChunk(new Uint8Array(8), () => released++);
  expect(isLeased(chunk)).toBe(true);
  // A view of it is not leased: it may go to somebody else.
  expect(isLeased(chunk.subarray(0))).toBe(false);
  releaseChunk(chunk);
  releaseChunk(chunk);
  expect(released).toBe(1);
  expect(isLeased(chunk)).toBe(false);
});

test('the memory of an owned chunk is freed when it is released, and not before', async () => {
  const chunk = leaseOwned(Buffer.allocUnsafeSlow(100_000).subarray(0, 60_000));
  const { buffer } = chunk;
  expect(isLeased(chunk)).toBe(true);
  expect(buffer.byteLength).toBe(100_000);
  releaseChunk(chunk);
  // The statement behind the release may still ask for its length.
  expect(chunk.byteLength).toBe(60_000);
  await Promise.resolve();
  expect(buffer.byteLength).toBe(0);
});

test('memory that others may look at is left alone', () => {
  const pooled = Buffer.from('a view of the pool of Node');
  expect(pooled.buffer.byteLength).toBeGreaterThan(pooled.byteLength);
  const neighbour = Buffer.from('another one');
  for (const chunk of [pooled, new Uint8Array(new SharedArrayBuffer(100)), new Uint8Array(100).subarray(0, 49)]) {
    expect(isLeased(leaseOwned(chunk))).toBe(false);
    releaseChunk(chunk);
  }
  expect(pooled.toString()).toBe('a view of the pool of Node');
  expect(neighbour.toString()).toBe('another one');
});

test('memory is released once: by its chunk, or by who has taken it', () => {
  const released: ArrayBuffer[] = [];
  const lease = (): Uint8Array<ArrayBuffer> => {
    const chunk = new Uint8Array(new ArrayBuffer(10), 2, 5);
    leaseMemory(chunk, (memory) => released.push(memory));
    return chunk;
  };
  const one = lease();
  expect(isLeased(one)).toBe(true);
  releaseChunk(one);
  expect(released).toEqual([one.buffer]);
  expect(takeMemory(one), 'it was released').toBeUndefined();

  const other = lease();
  const taken = takeMemory(other);
  expect(taken?.memory).toBe(other.buffer);
  releaseChunk(other);
  expect(takeMemory(other), 'it was taken').toBeUndefined();
  expect(released).toHaveLength(1);
  const back = structuredClone(other.buffer, { transfer: [other.buffer] });
  taken?.release(back);
  expect(released[1]).toBe(back);

  // These stay where they are.
  expect(takeMemory(leaseChunk(new Uint8Array(8), () => undefined))).toBeUndefined();
  expect(takeMemory(lease().subarray(0))).toBeUndefined();
  expect(takeMemory(new Uint8Array(8))).toBeUndefined();
});
