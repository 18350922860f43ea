import { describe, expect, test } from 'vitest';
import { isArchiveError } from '../../src/contracts/errors.ts';
import { load } from '../../src/pipeline/load.ts';
import { store } from '../../src/pipeline/store.ts';
import { bodyOf, CHAINS, content, damaged, gzip, joined, memoryStorage, sha256, zstd } from './objects.ts';

const key = 'main/object';

describe.each(CHAINS)('load through %s', (_name, codecs) => {
  const options = { codecs, concurrency: 2 };

  test('H-25 says what is wrong before the loop ends, and names the object', async () => {
    const storage = await memoryStorage();
    const bytes = content(1_500_000);
    const object = await store(storage, key, bodyOf(bytes), options);
    const plainCode = codecs.length === 0 ? 'STORAGE_CORRUPT' : 'CODEC_CORRUPT';
    const other = sha256(content(3));
    const wrong = [
      [{ plainSha256: other }, plainCode],
      [{ plainDigest: other.slice(0, 32) }, plainCode],
      [{ plainSize: object.plainSize - 1 }, plainCode],
      [{ storedSize: object.storedSize + 1 }, 'STORAGE_CORRUPT'],
      [{ storedSha256: other }, 'STORAGE_CORRUPT'],
    ] as const;
    for (const [expectation, code] of wrong) {
      let delivered = 0;
      const reading = (async () => {
        for await (const chunk of load(storage, key, { ...options, expect: expectation }))
          delivered += chunk.byteLength;
      })();
      await expect(reading).rejects.toMatchObject({ code, message: expect.stringContaining(key) });
      expect(delivered).toBe(bytes.byteLength);
    }
    const right = { ...object, plainDigest: object.plainSha256?.slice(0, 32) ?? '' };
    expect((await joined(load(storage, key, { ...options, expect: right }))).equals(bytes)).toBe(true);
  });

  test('H-59 a storage that gives less or other bytes is found out', async () => {
    const storage = await memoryStorage();
    const object = await store(storage, key, bodyOf(content(1_500_000)), options);
    const changes: ((bytes: Buffer) => Uint8Array)[] = [
      () => new Uint8Array(0),
      (bytes) => bytes.subarray(0, -1),
      (bytes) => bytes.subarray(0, 70_000),
      (bytes) => Buffer.concat([bytes, bytes.subarray(0, 1)]),
      (bytes) => Buffer.concat([bytes, bytes]),
      (bytes) => {
        const middle = bytes.byteLength >> 1;
        bytes[middle] = (bytes[middle] ?? 0) ^ 1;
        return bytes;
      },
    ];
    for (const change of changes) {
      const reading = joined(load(damaged(storage, change), key, { ...options, expect: object }));
      const error = await reading.then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(isArchiveError(error, 'STORAGE_CORRUPT') || isArchiveError(error, 'CODEC_CORRUPT')).toBe(true);
      expect(String(error)).toContain(key);
    }
  });

  test('a missing object is STORAGE_NOT_FOUND', async () => {
    await expect(joined(load(await memoryStorage(), key, options))).rejects.toMatchObject({
      code: 'STORAGE_NOT_FOUND',
    });
  });

  test('an abort is ABORTED', async () => {
    const storage = await memoryStorage();
    await store(storage, key, bodyOf(content(3_000_000)), options);
    const before = load(storage, key, { ...options, signal: AbortSignal.abort() });
    await expect(joined(before)).rejects.toMatchObject({ code: 'ABORTED' });
    const abort = new AbortController();
    const reading = (async () => {
      for await (const chunk of load(storage, key, { ...options, signal: abort.signal })) {
        expect(chunk.byteLength).toBeGreaterThan(0);
        abort.abort();
      }
    })();
    await expect(reading).rejects.toMatchObject({ code: 'ABORTED' });
  });
});

describe('an object cut exactly between two units of its codec', () => {
  test.each([
    ['zstd', zstd],
    ['gzip', gzip],
  ] as const)('H-59 %s cannot see it, size and digest do', async (_name, codec) => {
    const storage = await memoryStorage();
    const bytes = content(1024 * 1024 + 300_000);
    const object = await store(storage, key, bodyOf(bytes), { codecs: [codec], concurrency: 2 });
    const unit = await joined(codec.encode(bodyOf(bytes.subarray(0, 1024 * 1024)), { concurrency: 1 }));
    const cut = damaged(storage, (stored) => {
      expect(stored.subarray(0, unit.byteLength).equals(unit)).toBe(true);
      return stored.subarray(0, unit.byteLength);
    });
    const options = { codecs: [codec], concurrency: 2 };
    // The fault is there: the codec alone takes what is left for the whole.
    expect((await joined(load(cut, key, options))).byteLength).toBe(1024 * 1024);

    const { plainSha256 = '', plainSize, storedSize } = object;
    for (const [expectation, code] of [
      [{ plainSha256 }, 'CODEC_CORRUPT'],
      [{ plainDigest: plainSha256.slice(0, 32) }, 'CODEC_CORRUPT'],
      [{ plainSize }, 'CODEC_CORRUPT'],
      [{ storedSize }, 'STORAGE_CORRUPT'],
    ] as const) {
      const reading = joined(load(cut, key, { ...options, expect: expectation }));
      await expect(reading).rejects.toMatchObject({ code, message: expect.stringContaining(key) });
    }
  });
});
