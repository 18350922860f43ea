import { createReadStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ArchiveError } from '../../src/contracts/errors.ts';
import type { Storage } from '../../src/contracts/storage.ts';
import { load } from '../../src/pipeline/load.ts';
import { ByteQueue } from '../../src/pipeline/queue.ts';
import { store, storeNamed } from '../../src/pipeline/store.ts';
import { withRetry } from '../../src/storage/retry.ts';
import { bodyOf, CHAINS, content, joined, memoryStorage, sha256, zstd } from './objects.ts';

const key = 'main/object';

async function keysOf(storage: Storage): Promise<string[]> {
  const keys = [];
  for await (const object of storage.list('')) keys.push(object.key);
  return keys;
}

describe.each(CHAINS)('store and load through %s', (_name, codecs) => {
  for (const large of [false, true]) {
    test(`sizes and digests are those of the bytes, hashed ${large ? 'in a thread' : 'in place'}`, async () => {
      const storage = await memoryStorage();
      for (const length of [0, 1, 1_000_000, 3 * 1024 * 1024 + 17]) {
        const bytes = content(length);
        const half = length >> 1;
        const object = await store(storage, `${key}-${length}`, bodyOf(bytes.subarray(0, half), bytes.subarray(half)), {
          codecs,
          concurrency: 2,
          large,
        });
        const stored = await joined(storage.get(object.key));
        expect(object).toEqual({
          key: `${key}-${length}`,
          plainSize: length,
          plainSha256: sha256(bytes),
          storedSize: stored.byteLength,
          storedSha256: sha256(stored),
        });
        const loaded = await joined(load(storage, object.key, { codecs, concurrency: 2, large, expect: object }));
        expect(loaded.equals(bytes)).toBe(true);
      }
    });
  }

  test('an error of the source comes back as it was and leaves nothing', async () => {
    const storage = await memoryStorage();
    const thrown = new Error('the source failed');
    const source = async function* (): AsyncGenerator<Uint8Array> {
      yield content(2_000_000);
      throw thrown;
    };
    await expect(store(storage, key, source(), { codecs, concurrency: 2 })).rejects.toBe(thrown);
    expect(await keysOf(storage)).toEqual([]);
  });

  test.each([store, storeNamed])(
    'H-30 a source of another length or content than announced leaves nothing: %o',
    async (put) => {
      const storage = await memoryStorage();
      const bytes = content(100_000);
      const wrong = [{ size: 99_999 }, { size: 100_001 }, { plainDigest: sha256(content(5)).slice(0, 32) }];
      for (const announced of wrong) {
        const storing = put(storage, key, bodyOf(bytes), { codecs, concurrency: 2, ...announced });
        await expect(storing).rejects.toMatchObject({ code: 'STORAGE_CORRUPT', message: expect.stringContaining(key) });
        expect(await keysOf(storage)).toEqual([]);
      }
      const right = { size: 100_000, plainDigest: sha256(bytes).slice(0, 32) };
      await put(storage, key, bodyOf(bytes), { codecs, concurrency: 2, ...right });
      expect(await keysOf(storage)).toEqual([key]);
      const expected = { plainSha256: sha256(bytes), plainSize: bytes.byteLength };
      const loaded = await joined(load(storage, key, { codecs, concurrency: 2, expect: expected }));
      expect(loaded.equals(bytes)).toBe(true);
    },
  );

  test('an abort is ABORTED, before and while the source is silent, and leaves nothing', async () => {
    const storage = await memoryStorage();
    const before = store(storage, key, bodyOf(content(10)), { codecs, concurrency: 2, signal: AbortSignal.abort() });
    await expect(before).rejects.toMatchObject({ code: 'ABORTED' });
    const abort = new AbortController();
    const queue = new ByteQueue();
    const during = store(storage, key, queue, { codecs, concurrency: 2, signal: abort.signal });
    queue.write(content(3_000_000));
    setImmediate(() => abort.abort());
    await expect(during).rejects.toMatchObject({ code: 'ABORTED' });
    expect(await keysOf(storage)).toEqual([]);
    expect(() => queue.write(content(1))).toThrow(expect.objectContaining({ code: 'ABORTED' }));
  });

  test('onBytes tells what has passed, up to the end', async () => {
    const seen: (readonly [number, number])[] = [];
    const object = await store(await memoryStorage(), key, bodyOf(content(3_000_000), content(7)), {
      codecs,
      concurrency: 1,
      onBytes: (plain, stored) => seen.push([plain, stored]),
    });
    expect(seen.at(-1)).toEqual([object.plainSize, object.storedSize]);
    expect(seen).toEqual(seen.toSorted(([left], [right]) => left - right));
  });
});

describe('a storage that tries again', () => {
  const unavailable = new ArchiveError('STORAGE_UNAVAILABLE', 'the network failed');

  /** Fails the first `put` after it has read some of the body. */
  function flaky(storage: Storage, tries: { count: number }): Storage {
    return withRetry(
      {
        ...bound(storage),
        async put(name, body, options) {
          tries.count++;
          if (tries.count > 1) return storage.put(name, body, options);
          for await (const chunk of body) if (chunk.byteLength > 0) break;
          throw unavailable;
        },
      },
      { attempts: 3, minDelay: 1, maxDelay: 1 } as never,
    );
  }

  function bound(storage: Storage): Storage {
    return {
      capabilities: storage.capabilities,
      put: (name, body, options) => storage.put(name, body, options),
      get: (name, options) => storage.get(name, options),
      stat: (name, options) => storage.stat(name, options),
      list: (prefix, options) => storage.list(prefix, options),
      remove: (keys, options) => storage.remove(keys, options),
      close: () => storage.close(),
    };
  }

  test('reads a source again that can be read again, with digests of the second reading', async () => {
    const tries = { count: 0 };
    const storage = flaky(await memoryStorage(), tries);
    const bytes = content(2_000_000);
    const object = await store(storage, key, bodyOf(bytes), { codecs: [zstd], concurrency: 2 });
    expect(tries.count).toBe(2);
    expect(object.plainSha256).toBe(sha256(bytes));
    const loaded = await joined(load(storage, key, { codecs: [zstd], concurrency: 2, expect: object }));
    expect(loaded.equals(bytes)).toBe(true);
  });

  test('H-59 never stores the rest of a source that was read in part for the whole', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'pgark-store-'));
    try {
      writeFileSync(join(folder, 'file'), content(500_000));
      const queue = new ByteQueue();
      queue.write(content(3_000_000));
      queue.end();
      const generator = (async function* (): AsyncGenerator<Uint8Array> {
        yield content(2_000_000);
        yield content(2_000_000);
      })();
      for (const source of [queue, generator, createReadStream(join(folder, 'file'))]) {
        const tries = { count: 0 };
        const inner = await memoryStorage();
        const storing = store(flaky(inner, tries), key, source, { codecs: [], concurrency: 2 });
        await expect(storing).rejects.toBe(unavailable);
        expect(tries.count).toBe(1);
        expect(await keysOf(inner)).toEqual([]);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('H-59 a storage that reads a source of one reading twice gets an error, not an empty body', async () => {
    const inner = await memoryStorage();
    const careless: Storage = {
      ...bound(inner),
      async put(name, body, options) {
        await joined(body);
        await inner.put(name, body, options);
      },
    };
    const source = (async function* (): AsyncGenerator<Uint8Array> {
      yield content(10);
    })();
    const storing = store(careless, key, source, { codecs: [], concurrency: 1 });
    await expect(storing).rejects.toMatchObject({ code: 'INTERNAL', message: expect.stringContaining(key) });
    expect(await keysOf(inner)).toEqual([]);
  });

  test('H-59 a storage that claims success without reading the body to its end is found out', async () => {
    const careless: Storage = {
      ...bound(await memoryStorage()),
      async put(_name, body) {
        for await (const chunk of body) if (chunk.byteLength > 0) break;
      },
    };
    for (const put of [store, storeNamed]) {
      const storing = put(careless, key, bodyOf(content(10), content(10)), { codecs: [], concurrency: 1 });
      await expect(storing).rejects.toMatchObject({ code: 'STORAGE_CORRUPT' });
    }
  });
});
