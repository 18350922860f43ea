import { abortable, ArchiveError, isLeased, leaseChunk, mapBlocks, mapOrdered, throughStream } from '@pgark/sdk';
import fc from 'fast-check';
import { setTimeout as sleep } from 'node:timers/promises';
import { createGunzip, gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function collect<Item>(source: AsyncIterable<Item>): Promise<Item[]> {
  const items: Item[] = [];
  for await (const item of source) items.push(item);
  return items;
}

/** Gives the items and then, as told, ends, throws or falls silent. */
function source<Item>(
  items: readonly Item[],
  end: { readonly error?: Error; readonly silent?: boolean } = {},
): AsyncIterable<Item> & { taken: number; ended: boolean } {
  const state = {
    taken: 0,
    ended: false,
    [Symbol.asyncIterator]: (): AsyncIterator<Item> => ({
      next: async () => {
        await turn();
        for (const item of items.slice(state.taken)) {
          state.taken++;
          return { done: false, value: item };
        }
        if (end.silent === true) return new Promise(() => undefined);
        state.ended = true;
        if (end.error !== undefined) throw end.error;
        return { done: true, value: undefined };
      },
      return: () => {
        state.ended = true;
        return Promise.resolve({ done: true, value: undefined });
      },
    }),
  };
  return state;
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

describe('mapOrdered', () => {
  test('keeps the order and the bounds, whatever takes how long', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 30 }),
        fc.integer({ min: 1, max: 5 }),
        async (turns, concurrency) => {
          let running = 0;
          let delivered = 0;
          let started = 0;
          const work = async (index: number): Promise<number> => {
            started++;
            running++;
            expect(running).toBeLessThanOrEqual(concurrency);
            expect(started - delivered).toBeLessThanOrEqual(2 * concurrency + 1);
            for (let left = turns[index] ?? 0; left > 0; left--) await turn();
            running--;
            return index;
          };
          const items = source(numbers(turns.length));
          const results: number[] = [];
          for await (const result of mapOrdered(items, work, { concurrency, what: 'work' })) {
            results.push(result);
            delivered++;
            if (result % 4 === 0) await turn();
          }
          expect(results).toEqual(numbers(turns.length));
          expect(items.ended).toBe(true);
        },
      ),
      { numRuns: 50 },
    );
  });

  test('works ahead of its reader', async () => {
    const items = source(numbers(100));
    const results = mapOrdered(items, (item) => Promise.resolve(item), { concurrency: 3, what: 'work' });
    await results.next();
    for (let left = 50; left > 0; left--) await turn();
    expect(items.taken).toBe(7);
    await results.return(0);
    expect(items.ended).toBe(true);
  });

  test('gives what came before an error, of the source or of the work, then the error itself', async () => {
    const thrown = new Error('thrown');
    const bad = (item: number): Promise<number> => (item === 5 ? Promise.reject(thrown) : Promise.resolve(item));
    for (const results of [
      mapOrdered(source(numbers(5), { error: thrown }), (item) => Promise.resolve(item), {
        concurrency: 4,
        what: 'work',
      }),
      mapOrdered(source(numbers(50)), bad, { concurrency: 4, what: 'work' }),
    ]) {
      const seen: number[] = [];
      const reading = (async () => {
        for await (const item of results) seen.push(item);
      })();
      await expect(reading).rejects.toBe(thrown);
      expect(seen).toEqual(numbers(5));
    }
  });

  test('ends only when all work has settled', async () => {
    let running = 0;
    let begun: () => void = () => undefined;
    const others = new Promise<void>((resolve) => (begun = resolve));
    const work = async (item: number): Promise<number> => {
      running++;
      if (item > 0) begun();
      // The first one ends when others are at work, which then take their time.
      await (item === 0 ? others : sleep(30));
      running--;
      return item;
    };
    for await (const item of mapOrdered(source(numbers(20)), work, { concurrency: 4, what: 'work' })) {
      expect(item).toBe(0);
      expect(running).toBeGreaterThan(0);
      break;
    }
    expect(running).toBe(0);
  });

  test('an abort ends it although source and work are silent', async () => {
    const abort = new AbortController();
    const items = source(numbers(1), { silent: true });
    const results = collect(
      mapOrdered(items, (item) => Promise.resolve(item), { concurrency: 2, what: 'the work', signal: abort.signal }),
    );
    results.catch(() => undefined);
    await sleep(5);
    abort.abort(new Error('enough'));
    await expect(results).rejects.toMatchObject({
      code: 'ABORTED',
      message: 'the work was cancelled',
      cause: abort.signal.reason,
    });
    expect(items.ended).toBe(true);
  });

  describe('a source whose end never comes', () => {
    const endless = (): AsyncIterable<number> & { told: boolean } => {
      const state = {
        told: false,
        [Symbol.asyncIterator]: () => ({
          next: () => Promise.resolve({ done: false as const, value: 1 }),
          return: () => {
            state.told = true;
            return new Promise<never>(() => undefined);
          },
        }),
      };
      return state;
    };
    /** How a promise stands after some turns. */
    const after = async (promise: Promise<unknown>, turns: number): Promise<unknown> => {
      const waited = (async () => {
        for (let left = turns; left > 0; left--) await turn();
        return 'pending';
      })();
      return Promise.race([
        promise.then(
          () => 'settled',
          (error: unknown) => error,
        ),
        waited,
      ]);
    };

    test('is told to end after an abort, and not waited for', async () => {
      const abort = new AbortController();
      const items = endless();
      const options = { concurrency: 2, what: 'work', signal: abort.signal };
      const results = mapOrdered(items, (item) => Promise.resolve(item), options);
      await results.next();
      // As much is read ahead as may be: nothing is asked of the source when the abort comes.
      for (let left = 20; left > 0; left--) await turn();
      abort.abort();
      expect(await after(results.next(), 1000)).toMatchObject({ code: 'ABORTED' });
      expect(items.told).toBe(true);
    });

    test('is waited for when its reader leaves, until an abort', async () => {
      const abort = new AbortController();
      const items = endless();
      const options = { concurrency: 2, what: 'work', signal: abort.signal };
      const results = mapOrdered(items, (item) => Promise.resolve(item), options);
      await results.next();
      const left = results.return(undefined);
      expect(await after(left, 50)).toBe('pending');
      expect(items.told).toBe(true);
      abort.abort();
      expect(await after(left, 1000)).toBe('settled');
    });
  });

  test('an error on leaving the source is told when nothing else went wrong, and hides nothing', async () => {
    const closing = new Error('closing');
    const thrown = new Error('thrown');
    const items = {
      [Symbol.asyncIterator]: () => ({
        next: () => Promise.resolve({ done: false as const, value: 1 }),
        return: () => Promise.reject(closing),
      }),
    };
    const ok = mapOrdered(items, (item) => Promise.resolve(item), { concurrency: 1, what: 'work' });
    await ok.next();
    await expect(ok.return(0)).rejects.toBe(closing);
    const failing = mapOrdered(items, () => Promise.reject(thrown), { concurrency: 1, what: 'work' });
    await expect(failing.next()).rejects.toBe(thrown);
  });
});

describe('mapBlocks', () => {
  const copy = (block: Uint8Array): Promise<Buffer> => Promise.resolve(Buffer.from(block));

  test('cuts any chunks into blocks, and an empty stream into one empty block', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 40 })),
        fc.integer({ min: 1, max: 50 }),
        async (chunks, blockSize) => {
          const blocks = await collect(mapBlocks(source(chunks), copy, { blockSize, concurrency: 2, what: 'work' }));
          expect(Buffer.concat(blocks)).toEqual(Buffer.concat(chunks));
          expect(blocks.slice(0, -1).every((block) => block.byteLength === blockSize)).toBe(true);
          expect(blocks.length).toBe(Math.max(1, Math.ceil(Buffer.concat(chunks).byteLength / blockSize)));
        },
      ),
      { numRuns: 100 },
    );
  });

  test('allows a source that uses its chunk again', async () => {
    const reused = Buffer.alloc(10);
    const chunks = (async function* (): AsyncGenerator<Uint8Array> {
      for (let value = 0; value < 20; value++) yield reused.fill(value);
    })();
    const blocks = await collect(mapBlocks(chunks, copy, { blockSize: 25, concurrency: 3, what: 'work' }));
    expect(Buffer.concat(blocks)).toEqual(Buffer.from(numbers(200).map((index) => Math.floor(index / 10))));
  });

  test('releases leased chunks: those of the right size after the work, others once copied', async () => {
    const released: number[] = [];
    const worked: Uint8Array[] = [];
    const chunks = [8, 8, 3, 8, 5].map((length, index) =>
      leaseChunk(Buffer.alloc(length, index), () => released.push(index)),
    );
    const work = async (block: Uint8Array): Promise<number> => {
      worked.push(block);
      await turn();
      expect(isLeased(block)).toBe(true);
      return block.byteLength;
    };
    const lengths = await collect(mapBlocks(source(chunks), work, { blockSize: 8, concurrency: 1, what: 'work' }));
    expect(lengths).toEqual([8, 8, 8, 8]);
    expect(worked.slice(0, 2)).toEqual(chunks.slice(0, 2));
    expect(worked[0]).toBe(chunks[0]);
    expect(released.toSorted((left, right) => left - right)).toEqual([0, 1, 2, 3, 4]);
  });

  test('an abort in the middle of a block reads no further', async () => {
    const abort = new AbortController();
    const items = source(numbers(100).map(() => Buffer.alloc(10)));
    const results = collect(
      mapBlocks(items, copy, { blockSize: 1_000_000, concurrency: 2, what: 'work', signal: abort.signal }),
    );
    results.catch(() => undefined);
    while (items.taken < 5) await turn();
    abort.abort();
    await expect(results).rejects.toMatchObject({ code: 'ABORTED' });
    expect(items.ended).toBe(true);
    expect(items.taken).toBeLessThan(100);
  });
});

describe('abortable', () => {
  test('without an abort is the stream itself', async () => {
    const { signal } = new AbortController();
    expect(await collect(abortable(source(numbers(5)), signal, 'work'))).toEqual(numbers(5));
    expect(await collect(abortable(source(numbers(5)), undefined, 'work'))).toEqual(numbers(5));
    const thrown = new Error('thrown');
    await expect(collect(abortable(source([1], { error: thrown }), signal, 'work'))).rejects.toBe(thrown);
  });

  test('ends a source that had not been asked yet', async () => {
    const items = source(numbers(5));
    await expect(collect(abortable(items, AbortSignal.abort(), 'work'))).rejects.toMatchObject({ code: 'ABORTED' });
    expect(items).toMatchObject({ taken: 0, ended: true });
  });

  test('after an abort the end of the source is asked for, and not waited for when the reader leaves', async () => {
    for (const when of ['before', 'while']) {
      const abort = new AbortController();
      let asked = 0;
      const endless: AsyncIterable<number> = {
        [Symbol.asyncIterator]: () => ({
          next: async () => ({ done: false, value: 1 }),
          return() {
            asked += 1;
            if (when === 'while') setImmediate(() => abort.abort());
            return new Promise<never>(() => undefined);
          },
        }),
      };
      for await (const item of abortable(endless, abort.signal, 'work')) {
        expect(item).toBe(1);
        if (when === 'before') abort.abort();
        break;
      }
      expect(asked).toBe(1);
    }
  });
});

describe('throughStream', () => {
  const through = (chunks: AsyncIterable<Uint8Array>, signal?: AbortSignal): AsyncIterable<Uint8Array> =>
    throughStream(chunks, createGunzip(), {
      ...(signal === undefined ? {} : { signal }),
      what: 'work',
      failed: (cause) => new ArchiveError('CODEC_CORRUPT', 'failed', { cause }),
      unread: () => new ArchiveError('CODEC_CORRUPT', 'unread'),
    });
  const gzip = gzipSync(Buffer.alloc(3_000_000, 'text'));

  test('gives the output', async () => {
    const chunks = [gzip.subarray(0, 100), Buffer.alloc(0), gzip.subarray(100)];
    expect(Buffer.concat(await collect(through(source(chunks)))).byteLength).toBe(3_000_000);
  });

  test('tells apart what the source, the transform and the end did', async () => {
    const thrown = new Error('thrown');
    await expect(collect(through(source([gzip.subarray(0, 50)], { error: thrown })))).rejects.toBe(thrown);
    await expect(collect(through(source([Buffer.from('garbage')])))).rejects.toThrow('failed');
    await expect(collect(through(source([gzip.subarray(0, -1)])))).rejects.toThrow('failed');
    await expect(collect(through(source([gzip, Buffer.alloc(1)])))).rejects.toThrow('unread');
  });

  test('a reader that leaves and an abort end the source', async () => {
    const left = source([gzip, gzip, gzip]);
    for await (const chunk of through(left)) {
      expect(chunk.byteLength).toBeGreaterThan(0);
      break;
    }
    expect(left.ended).toBe(true);
    const abort = new AbortController();
    const silent = source([gzip.subarray(0, 20)], { silent: true });
    const reading = collect(through(silent, abort.signal));
    reading.catch(() => undefined);
    await sleep(5);
    abort.abort();
    await expect(reading).rejects.toMatchObject({ code: 'ABORTED' });
    expect(silent.ended).toBe(true);
  });
});
