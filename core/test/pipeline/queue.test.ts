import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ArchiveError } from '../../src/contracts/errors.ts';
import { isLeased, leaseChunk, releaseChunk } from '../../src/contracts/lease.ts';
import type { Storage } from '../../src/contracts/storage.ts';
import { ByteQueue } from '../../src/pipeline/queue.ts';
import { store } from '../../src/pipeline/store.ts';
import { content, joined, memoryStorage } from './objects.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('gives what was written, in blocks of one size, in any rhythm of writing and reading', async () => {
  const writes = fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(
      writes,
      fc.integer({ min: 1, max: 64 }),
      fc.integer({ min: 0, max: 100 }),
      async (chunks, size, limit) => {
        const queue = new ByteQueue({ blockSize: size, limit });
        const writing = (async () => {
          for (const [index, chunk] of chunks.entries()) {
            const reused = Buffer.from(chunk);
            queue.write(reused);
            reused.fill(0xff);
            await queue.pressure();
            if (index % 3 === 0) await turn();
          }
          queue.end();
        })();
        const blocks: Buffer[] = [];
        for await (const block of queue) {
          blocks.push(Buffer.from(block));
          releaseChunk(block);
          if (blocks.length % 2 === 0) await turn();
        }
        await writing;
        expect(Buffer.concat(blocks)).toEqual(Buffer.concat(chunks));
        expect(blocks.slice(0, -1).every((block) => block.byteLength === size)).toBe(true);
        expect(queue.waiting).toBe(0);
      },
    ),
  );
});

test('blocks that are given come out as they are, behind what was written, and count as much', async () => {
  const queue = new ByteQueue({ blockSize: 10, limit: 20 });
  let released = 0;
  const given = leaseChunk(content(30), () => released++);
  queue.write(content(4, 'written'));
  queue.give(given);
  expect(queue.waiting).toBe(34);
  expect(queue.pressure()).toBeInstanceOf(Promise);
  const reader = queue[Symbol.asyncIterator]();
  expect((await reader.next()).value).toEqual(content(4, 'written'));
  const { value } = await reader.next();
  expect(value).toBe(given);
  expect(queue.pressure()).toBeUndefined();
  releaseChunk(given);
  expect(released).toBe(1);
  const next = reader.next();
  queue.give(content(2, 'waited for'));
  expect((await next).value).toEqual(content(2, 'waited for'));
  queue.end();
  expect(() => queue.give(given)).toThrow(/after the end/);
  expect(await reader.next()).toMatchObject({ done: true });
});

test('asks its producer to wait while more than the limit waits', async () => {
  const queue = new ByteQueue({ blockSize: 10, limit: 20 });
  queue.write(content(20));
  expect(queue.pressure()).toBeUndefined();
  queue.write(content(11));
  const pressure = queue.pressure();
  expect(pressure).toBeInstanceOf(Promise);
  let relieved = false;
  void pressure?.then(() => (relieved = true));
  const reader = queue[Symbol.asyncIterator]();
  await turn();
  expect(relieved).toBe(false);
  await reader.next();
  await reader.next();
  await turn();
  expect(relieved).toBe(true);
  expect(queue.waiting).toBe(11);
});

test('a block stays as it is until it is released, and its memory is used again after that', async () => {
  const queue = new ByteQueue({ blockSize: 8 });
  const reader = queue[Symbol.asyncIterator]();
  const next = async (): Promise<Uint8Array> => (await reader.next()).value;
  queue.write(Buffer.from('aaaaaaaabbbbbbbbcc'));
  const first = await next();
  const second = await next();
  expect(isLeased(first)).toBe(true);
  releaseChunk(second);
  releaseChunk(second);
  queue.write(Buffer.from('cccccc'));
  const third = await next();
  queue.write(Buffer.from('ddddddddeeeeeeee'));
  const fourth = await next();
  const fifth = await next();
  expect(String(Buffer.from(first))).toBe('aaaaaaaa');
  expect(String(Buffer.from(third))).toBe('cccccccc');
  expect(String(Buffer.from(fourth))).toBe('dddddddd');
  expect(String(Buffer.from(fifth))).toBe('eeeeeeee');
  expect(fourth.buffer).toBe(second.buffer);
  expect(new Set([first, third, fourth, fifth].map(({ buffer }) => buffer)).size).toBe(4);
});

test('memory that nobody will fill any more is freed: what is at hand at the end, and what comes back after it', async () => {
  const queue = new ByteQueue({ blockSize: 8 });
  const reader = queue[Symbol.asyncIterator]();
  const next = async (): Promise<Uint8Array> => (await reader.next()).value;
  queue.write(Buffer.from('aaaaaaaabbbbbbbbcc'));
  const first = await next();
  const second = await next();
  const memory = [first.buffer, second.buffer];
  releaseChunk(first);
  await turn();
  expect(memory.map(({ byteLength }) => byteLength)).toEqual([8, 8]);
  queue.end();
  await turn();
  expect(memory.map(({ byteLength }) => byteLength)).toEqual([0, 8]);
  const last = await next();
  expect(String(Buffer.from(last))).toBe('cc');
  expect(String(Buffer.from(second))).toBe('bbbbbbbb');
  releaseChunk(second);
  await turn();
  expect(memory.map(({ byteLength }) => byteLength)).toEqual([0, 0]);
});

test('H-30 a producer that fails makes the reader fail, at once and with its error', async () => {
  const thrown = new Error('the connection was lost');
  const early = new ByteQueue({ blockSize: 4 });
  early.write(content(100));
  early.fail(thrown);
  early.end();
  await expect(joined(early)).rejects.toBe(thrown);
  expect(() => early.write(content(1))).toThrow(thrown);

  const late = new ByteQueue();
  const reading = joined(late);
  late.write(content(10));
  await turn();
  late.fail(thrown);
  await expect(reading).rejects.toBe(thrown);

  const storage = await memoryStorage();
  const queue = new ByteQueue();
  const storing = store(storage, 'object', queue, { codecs: [], concurrency: 1 });
  queue.write(content(3_000_000));
  await turn();
  queue.fail(thrown);
  await expect(storing).rejects.toBe(thrown);
  await expect(storage.stat('object')).rejects.toMatchObject({ code: 'STORAGE_NOT_FOUND' });
});

test('a reader that leaves ends the wait of the producer, and the next write is ABORTED', async () => {
  const queue = new ByteQueue({ blockSize: 4, limit: 4 });
  queue.write(content(100));
  const pressure = queue.pressure();
  expect(pressure).toBeDefined();
  for await (const block of queue) {
    expect(block.byteLength).toBe(4);
    break;
  }
  await pressure;
  expect(queue.waiting).toBe(0);
  expect(queue.pressure()).toBeUndefined();
  expect(() => queue.write(content(1))).toThrow(expect.objectContaining({ code: 'ABORTED' }));
  queue.end();
});

test('a storage that fails before it reads ends the wait of the producer too', async () => {
  const refused = new ArchiveError('STORAGE_DENIED', 'no');
  const storage = { ...(await memoryStorage()), put: () => Promise.reject(refused) } as Storage;
  const queue = new ByteQueue({ blockSize: 10, limit: 10 });
  queue.write(content(100));
  const pressure = queue.pressure();
  expect(pressure).toBeDefined();
  await expect(store(storage, 'object', queue, { codecs: [], concurrency: 1 })).rejects.toBe(refused);
  await pressure;
  expect(() => queue.write(content(1))).toThrow(expect.objectContaining({ code: 'ABORTED' }));
});

test('is read once', () => {
  const queue = new ByteQueue();
  queue[Symbol.asyncIterator]();
  expect(() => queue[Symbol.asyncIterator]()).toThrow('read twice');
});
