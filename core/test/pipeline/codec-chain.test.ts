import { expect, test } from 'vitest';
import type { Codec } from '../../src/contracts/codec.ts';
import { decodeThrough, encodeThrough } from '../../src/contracts/codec-chain.ts';
import { ArchiveError } from '../../src/contracts/errors.ts';
import type { Storage } from '../../src/contracts/storage.ts';
import { store } from '../../src/pipeline/store.ts';
import { bodyOf, content, joined, memoryStorage, zstd } from './objects.ts';

/** Writes a header before it asks for any content, as ciphers do. */
const headed: Codec = {
  id: 'headed',
  suffix: 'headed',
  async *encode(source) {
    const input = source[Symbol.asyncIterator]();
    try {
      yield Buffer.from('header');
      for (let step = await input.next(); step.done !== true; step = await input.next()) yield step.value;
    } finally {
      await input.return?.();
    }
  },
  async *decode(source) {
    let rest = Buffer.from('header').byteLength;
    for await (const chunk of source) {
      yield chunk.subarray(rest);
      rest = Math.max(0, rest - chunk.byteLength);
    }
  },
};

/** A source of one reading that knows how it was treated. */
function watched(): AsyncIterableIterator<Uint8Array> & { asked: number; told: number } {
  return {
    asked: 0,
    told: 0,
    async next() {
      this.asked++;
      return { done: false, value: content(1000) };
    },
    async return() {
      this.told++;
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

test('CODEC-06 a chain that is left before its first codec began ends the source all the same', async () => {
  const source = watched();
  const stream = encodeThrough([zstd, headed], source, { concurrency: 2 })[Symbol.asyncIterator]();
  expect(Buffer.from((await stream.next()).value as Uint8Array).toString()).toBe('header');
  expect(source.asked, 'chunks that were asked for before the end').toBe(0);
  await stream.return?.();
  expect(source.told).toBe(1);
  expect(await stream.next()).toEqual({ done: true, value: undefined });
});

test('H-13 a put that fails on the header of a cipher tells the source behind the compression', async () => {
  const full: Storage = {
    ...(await memoryStorage()),
    async put(_key, body) {
      for await (const chunk of body) throw new ArchiveError('STORAGE_FULL', `no room for ${chunk.byteLength} bytes`);
    },
  };
  const source = watched();
  const storing = store(full, 'main/object', source, { codecs: [zstd, headed], concurrency: 2 });
  await expect(storing).rejects.toMatchObject({ code: 'STORAGE_FULL' });
  expect(source.told).toBeGreaterThan(0);
});

test('a chain is read again as often as its source can be', async () => {
  const bytes = content(3 * 1024 * 1024);
  const encoded = encodeThrough([zstd, headed], bodyOf(bytes), { concurrency: 2 });
  for (const round of [1, 2]) {
    const decoded = await joined(decodeThrough([zstd, headed], encoded, { concurrency: 2 }));
    expect(decoded.equals(bytes), `round ${round}`).toBe(true);
  }
});
