import { expect, test } from 'vitest';
import { isLeased, leaseChunk, leaseOwned, releaseChunk } from '../../src/contracts/lease.ts';

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
