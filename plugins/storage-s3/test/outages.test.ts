/** The network breaks in the middle of an upload whose body comes only once: it is sent on, part by part. */
import { setTimeout as sleep } from 'node:timers/promises';
import { isArchiveError } from '@pgark/sdk';
import { describe, expect, test, vi } from 'vitest';
import { storageStack } from '../../../core/src/storage/stack.ts';
import { FAULTS, putThroughOutage, SILENCE } from '../../../test/support/outage.ts';
import { Proxy } from '../../../test/support/proxy.ts';
import { versityMissing } from '../../../test/support/s3-server.ts';
import { silentLogger } from '../../../test/support/silent-logger.ts';
import type { S3StorageOptions } from '../src/options.ts';
import { behindGateway, failure, MIB, openStorage, randomBody, readBack } from './helpers.ts';

const PARTS = { singlePut: '5MiB', partSize: '5MiB', parallelParts: 2 } as const;

describe.skipIf(versityMissing !== undefined)('outages in the middle of an upload', () => {
  const scene = behindGateway();
  const contentOf = async (key: string): Promise<Buffer> => {
    const storage = openStorage(scene.server.port);
    const content = await readBack(storage, key);
    await storage.close();
    return content;
  };
  const count = (operation: string): number => scene.gateway.operations.filter((name) => name === operation).length;

  test.each(FAULTS)('STOR-18 a body that comes once arrives whole through an outage (%s)', async (fault) => {
    const proxy = await Proxy.listen({ port: scene.gateway.port });
    const storage = openStorage(proxy.port, { ...PARTS, ...(fault === 'silence' && { idleTimeout: `${SILENCE}ms` }) });
    const outage = await putThroughOutage(storage, proxy, fault, fault, { bytes: 48 * MIB, after: 24 * MIB });
    expect(outage.connections).toBeGreaterThan(0);
    expect(outage.retries.filter(({ what }) => /^put \w+: part \d+$/.test(what)).length).toBeGreaterThan(0);
    // Two on their way, one that is filled.
    if (fault !== 'cut') expect(outage.taken).toBeLessThanOrEqual(3 * 5 * MIB);
    expect((await contentOf(fault)).equals(outage.content)).toBe(true);
    expect([count('CreateMultipartUpload'), await scene.uploadsLeft()]).toEqual([1, []]);
    await storage.close();
    await proxy.close();
  });

  test.each(['HEAD', 'CreateMultipartUpload', 'UploadPart', 'POST'])(
    'STOR-18 every request of it is sent again, %s for one',
    async (operation) => {
      const storage = openStorage(scene.gateway.port, PARTS);
      const stack = storageStack(storage, { logger: silentLogger, retry: { firstDelay: 1, longestDelay: 1 } });
      let cut = 0;
      scene.gateway.before = async (passed) => (passed.operation === operation && cut++ < 3 ? 'cut' : 'pass');
      const { body, sent } = randomBody(12 * MIB);
      await stack.put(`cut-${operation}`, body, { ifAbsent: true });
      expect(cut).toBeGreaterThan(3);
      expect((await contentOf(`cut-${operation}`)).equals(sent())).toBe(true);
      expect(await scene.uploadsLeft()).toEqual([]);
      await storage.close();
    },
  );

  /** Passes a request on and then loses the answer to it, the first time. */
  const loseAnswer = (operation: string): (() => number) => {
    let lost = 0;
    scene.gateway.after = async (passed) => (passed.operation === operation && ++lost === 1 ? 'cut' : 'pass');
    return () => lost;
  };

  test.each<[string, string, number, Partial<S3StorageOptions>]>([
    ['in parts', 'POST', 12 * MIB, PARTS],
    ['in parts, without conditions', 'POST', 12 * MIB, { ...PARTS, conditionalPut: false }],
    ['in one request', 'PutObject', MIB, {}],
    ['in one request, without conditions', 'PutObject', MIB, { conditionalPut: false }],
  ])(
    'STOR-18 an object whose last answer is lost is found to be there: %s',
    async (name, operation, bytes, options) => {
      const storage = openStorage(scene.gateway.port, options);
      const stack = storageStack(storage, { logger: silentLogger, retry: { firstDelay: 1 } });
      const lost = loseAnswer(operation);
      const { body, sent } = randomBody(bytes);
      await stack.put(`lost ${name}`, body, { ifAbsent: true });
      expect(lost()).toBeGreaterThan(0);
      expect((await contentOf(`lost ${name}`)).equals(sent())).toBe(true);
      expect(await scene.uploadsLeft()).toEqual([]);
      // Another put of the key is another one, whatever it finds there.
      const again = failure(stack.put(`lost ${name}`, randomBody(bytes).body, { ifAbsent: true }));
      expect((await again).code).toBe('STORAGE_EXISTS');
      await storage.close();
    },
  );

  test.each<[string, string, number, Partial<S3StorageOptions>]>([
    ['in parts', 'POST', 12 * MIB, PARTS],
    ['in one request', 'PutObject', MIB, {}],
  ])('STOR-18 a conflict with an attempt of its own is none: %s', async (name, operation, bytes, options) => {
    const storage = openStorage(scene.gateway.port, options);
    const stack = storageStack(storage, { logger: silentLogger, retry: { firstDelay: 1 } });
    const { body, sent } = randomBody(bytes);
    let attempts = 0;
    scene.gateway.before = async (passed) => (passed.operation === operation && ++attempts === 1 ? 'cut' : 'pass');
    // What takes effect just before this answer is the first attempt, which nobody found until then.
    scene.gateway.after = async (passed) => {
      return passed.operation === operation && attempts === 2 ? 'ConditionalRequestConflict' : 'pass';
    };
    await stack.put(`conflict ${name}`, body, { ifAbsent: true });
    expect(attempts).toBe(2);
    expect((await contentOf(`conflict ${name}`)).equals(sent())).toBe(true);
    expect(await scene.uploadsLeft()).toEqual([]);
    await storage.close();
  });

  test.each([1, 2])("STOR-18 a conflict with another writer in attempt %i is the other's object", async (conflict) => {
    const storage = openStorage(scene.gateway.port);
    const direct = openStorage(scene.server.port);
    const stack = storageStack(storage, { logger: silentLogger, retry: { firstDelay: 1 } });
    let attempts = 0;
    scene.gateway.before = async ({ operation }) => {
      if (operation !== 'PutObject') return 'pass';
      if (++attempts < conflict) return 'cut';
      await direct.put(`conflict ${conflict}`, randomBody(MIB).body, { ifAbsent: true });
      return 'ConditionalRequestConflict';
    };
    const error = await failure(stack.put(`conflict ${conflict}`, randomBody(MIB).body, { ifAbsent: true }));
    expect([error.code, attempts]).toEqual(['STORAGE_EXISTS', conflict]);
    await storage.close();
    await direct.close();
  });

  test('a body whose upload was forgotten while another part stands still is sent anew, if it can be read again', async () => {
    const storage = openStorage(scene.gateway.port, PARTS);
    const stack = storageStack(storage, { logger: silentLogger, retry: { firstDelay: 1 } });
    const { sent } = randomBody(12 * MIB);
    const body = { [Symbol.asyncIterator]: () => chunksOf(sent(), MIB)[Symbol.asyncIterator]() };
    let parts = 0;
    let isCut = (): void => undefined;
    scene.gateway.before = async ({ operation }) => {
      if (operation !== 'UploadPart') return 'pass';
      parts++;
      if (parts === 1) {
        // Not before the other one is on its way.
        await new Promise<void>((resolve) => (isCut = resolve));
        return 'NoSuchUpload';
      }
      if (parts !== 2) return 'pass';
      isCut();
      return new Promise<never>(() => undefined);
    };
    await stack.put('anew', body, { ifAbsent: true });
    expect(count('CreateMultipartUpload')).toBe(2);
    expect((await contentOf('anew')).equals(sent())).toBe(true);
    expect(await scene.uploadsLeft()).toEqual([]);
    await storage.close();
  });

  test('the error of a body is not held back by a service that is gone', async () => {
    const warnings: string[] = [];
    const logger = { ...silentLogger, warn: (_: unknown, message: string) => void warnings.push(message) };
    const storage = openStorage(scene.gateway.port, PARTS, logger);
    const stack = storageStack(storage, { logger: silentLogger, retry: { firstDelay: 1, longestDelay: 50 } });
    let ends = 0;
    let [hangs, refused] = [(): void => undefined, (): void => undefined];
    const isHanging = new Promise<void>((resolve) => (hangs = resolve));
    const isRefused = new Promise<void>((resolve) => (refused = resolve));
    scene.gateway.before = async ({ operation, method }) => {
      if (operation === 'UploadPart') {
        hangs();
        return new Promise<never>(() => undefined);
      }
      if (method !== 'DELETE') return 'pass';
      if (++ends === 3) refused();
      return 'cut';
    };
    async function* source(): AsyncGenerator<Uint8Array, void, undefined> {
      yield* randomBody(6 * MIB).body;
      await isHanging;
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
      throw new Error('the server is gone too');
    }
    const failed = stack.put('gone', source(), { ifAbsent: true }).catch((error: unknown) => error);
    try {
      await isHanging;
      // The part on its way gets its time, and is cut off.
      while (!scene.gateway.passed.some(({ method }) => method === 'DELETE')) {
        await sleep(5);
        if (vi.isFakeTimers()) vi.advanceTimersByTime(100);
      }
      await isRefused;
      vi.advanceTimersByTime(30_000);
      expect(await failed).toEqual(new Error('the server is gone too'));
    } finally {
      vi.useRealTimers();
    }
    expect(ends).toBeGreaterThanOrEqual(3);
    expect(warnings).toEqual([expect.stringContaining('parts of an upload that failed were left')]);
    const { Uploads = [] } = await scene.server.admin.listMultipartUploads({ Bucket: 'archive' });
    expect(Uploads).toHaveLength(1);
    // The other tests look for what they leave themselves.
    for (const { Key, UploadId } of Uploads) {
      await scene.server.admin.abortMultipartUpload({ Bucket: 'archive', Key, UploadId });
    }
    await storage.close();
  });

  test('after the deadline it fails, and leaves nothing', async () => {
    const storage = openStorage(scene.gateway.port, PARTS);
    const stack = storageStack(storage, { logger: silentLogger, retry: { firstDelay: 50, deadline: 500 } });
    let cut = 0;
    scene.gateway.before = async ({ operation }) => {
      if (operation !== 'UploadPart' || scene.gateway.operations.length < 4) return 'pass';
      cut++;
      return 'cut';
    };
    const error = await failure(stack.put('given up', randomBody(24 * MIB).body, { ifAbsent: true }));
    expect([error.code, error.retriable]).toEqual(['STORAGE_UNAVAILABLE', true]);
    expect(cut).toBeGreaterThan(2);
    expect(isArchiveError(await failure(storage.stat('given up')), 'STORAGE_NOT_FOUND')).toBe(true);
    expect([count('CreateMultipartUpload'), await scene.uploadsLeft()]).toEqual([1, []]);
    await storage.close();
  });

  test('an upload that the service has forgotten ends a body that comes once, at its next part', async () => {
    const storage = openStorage(scene.gateway.port, PARTS);
    const stack = storageStack(storage, { logger: silentLogger, retry: { firstDelay: 1 } });
    let parts = 0;
    // versitygw closes the connection on such a part while it is sent, and its answer is lost.
    scene.gateway.before = async ({ operation }) =>
      operation === 'UploadPart' && ++parts === 3 ? 'NoSuchUpload' : 'pass';
    const error = await failure(stack.put('forgotten', randomBody(48 * MIB).body, { ifAbsent: true }));
    expect([error.code, error.details?.['s3Code']]).toEqual(['STORAGE_UNAVAILABLE', 'NoSuchUpload']);
    expect(parts).toBeLessThan(6);
    expect(await scene.uploadsLeft()).toEqual([]);
    await storage.close();
  });
});

async function* chunksOf(bytes: Uint8Array, length: number): AsyncGenerator<Uint8Array, void, undefined> {
  for (let start = 0; start < bytes.byteLength; start += length) yield bytes.subarray(start, start + length);
}
