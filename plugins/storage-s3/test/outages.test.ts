/** The network breaks in the middle of an upload whose body comes only once: it is sent on, part by part. */
import { isArchiveError } from '@pgark/sdk';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { storageStack } from '../../../core/src/storage/stack.ts';
import { FAULTS, putThroughOutage, SILENCE } from '../../../test/support/outage.ts';
import { Proxy } from '../../../test/support/proxy.ts';
import { startVersity, versityMissing, type S3Server } from '../../../test/support/s3-server.ts';
import { silentLogger } from '../../../test/support/silent-logger.ts';
import type { S3StorageOptions } from '../src/options.ts';
import { failure, Gateway, MIB, openStorage, randomBody, readBack } from './helpers.ts';

const PARTS = { singlePut: '5MiB', partSize: '5MiB', parallelParts: 2 } as const;

describe.skipIf(versityMissing !== undefined)('outages in the middle of an upload', () => {
  let server: S3Server;
  let gateway: Gateway;
  beforeAll(async () => {
    server = await startVersity({ buckets: ['archive'] });
  });
  afterAll(() => server.stop());
  beforeEach(async () => {
    gateway = await Gateway.listen(server.port);
  });
  afterEach(() => gateway.close());

  const uploadsLeft = async (): Promise<readonly unknown[]> =>
    (await server.admin.listMultipartUploads({ Bucket: 'archive' })).Uploads ?? [];
  const contentOf = async (key: string): Promise<Buffer> => {
    const storage = openStorage(server.port);
    const content = await readBack(storage, key);
    await storage.close();
    return content;
  };
  const count = (operation: string): number => gateway.operations.filter((name) => name === operation).length;

  test.each(FAULTS)('STOR-18 a body that comes once arrives whole through an outage (%s)', async (fault) => {
    const proxy = await Proxy.listen({ port: gateway.port });
    const storage = openStorage(proxy.port, { ...PARTS, ...(fault === 'silence' && { idleTimeout: `${SILENCE}ms` }) });
    const outage = await putThroughOutage(storage, proxy, fault, fault, { bytes: 48 * MIB, after: 24 * MIB });
    expect(outage.connections).toBeGreaterThan(0);
    expect(outage.retries.filter(({ what }) => /^put \w+: part \d+$/.test(what)).length).toBeGreaterThan(0);
    // Two on their way, one that is filled.
    if (fault !== 'cut') expect(outage.taken).toBeLessThanOrEqual(3 * 5 * MIB);
    expect((await contentOf(fault)).equals(outage.content)).toBe(true);
    expect([count('CreateMultipartUpload'), await uploadsLeft()]).toEqual([1, []]);
    await storage.close();
    await proxy.close();
  });

  test.each(['HEAD', 'CreateMultipartUpload', 'UploadPart', 'POST'])(
    'STOR-18 every request of it is sent again, %s for one',
    async (operation) => {
      const storage = openStorage(gateway.port, PARTS);
      const stack = storageStack(storage, { logger: silentLogger, retry: { firstDelay: 1, longestDelay: 1 } });
      let cut = 0;
      gateway.before = async (passed) => (passed.operation === operation && cut++ < 3 ? 'cut' : 'pass');
      const { body, sent } = randomBody(12 * MIB);
      await stack.put(`cut-${operation}`, body, { ifAbsent: true });
      expect(cut).toBeGreaterThan(3);
      expect((await contentOf(`cut-${operation}`)).equals(sent())).toBe(true);
      expect(await uploadsLeft()).toEqual([]);
      await storage.close();
    },
  );

  /** Passes a request on and then loses the answer to it, the first time. */
  const loseAnswer = (operation: string): (() => number) => {
    let lost = 0;
    gateway.after = async (passed) => (passed.operation === operation && ++lost === 1 ? 'cut' : 'pass');
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
      const storage = openStorage(gateway.port, options);
      const stack = storageStack(storage, { logger: silentLogger, retry: { firstDelay: 1 } });
      const lost = loseAnswer(operation);
      const { body, sent } = randomBody(bytes);
      await stack.put(`lost ${name}`, body, { ifAbsent: true });
      expect(lost()).toBeGreaterThan(0);
      expect((await contentOf(`lost ${name}`)).equals(sent())).toBe(true);
      expect(await uploadsLeft()).toEqual([]);
      // Another put of the key is another one, whatever it finds there.
      const again = failure(stack.put(`lost ${name}`, randomBody(bytes).body, { ifAbsent: true }));
      expect((await again).code).toBe('STORAGE_EXISTS');
      await storage.close();
    },
  );

  test('after the deadline it fails, and leaves nothing', async () => {
    const storage = openStorage(gateway.port, PARTS);
    const stack = storageStack(storage, { logger: silentLogger, retry: { firstDelay: 50, deadline: 500 } });
    let cut = 0;
    gateway.before = async ({ operation }) => {
      if (operation !== 'UploadPart' || gateway.operations.length < 4) return 'pass';
      cut++;
      return 'cut';
    };
    const error = await failure(stack.put('given up', randomBody(24 * MIB).body, { ifAbsent: true }));
    expect([error.code, error.retriable]).toEqual(['STORAGE_UNAVAILABLE', true]);
    expect(cut).toBeGreaterThan(2);
    expect(isArchiveError(await failure(storage.stat('given up')), 'STORAGE_NOT_FOUND')).toBe(true);
    expect([count('CreateMultipartUpload'), await uploadsLeft()]).toEqual([1, []]);
    await storage.close();
  });

  test('an upload that the service has forgotten ends a body that comes once, at its next part', async () => {
    const storage = openStorage(gateway.port, PARTS);
    const stack = storageStack(storage, { logger: silentLogger, retry: { firstDelay: 1 } });
    let parts = 0;
    // versitygw closes the connection on such a part while it is sent, and its answer is lost.
    gateway.before = async ({ operation }) => (operation === 'UploadPart' && ++parts === 3 ? 'NoSuchUpload' : 'pass');
    const error = await failure(stack.put('forgotten', randomBody(48 * MIB).body, { ifAbsent: true }));
    expect([error.code, error.details?.['s3Code']]).toEqual(['STORAGE_UNAVAILABLE', 'NoSuchUpload']);
    expect(parts).toBeLessThan(6);
    expect(await uploadsLeft()).toEqual([]);
    await storage.close();
  });
});
