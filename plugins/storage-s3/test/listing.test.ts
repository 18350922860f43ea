/** More keys than fit into one request. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startVersity, versityMissing, type S3Server } from '../../../test/support/s3-server.ts';
import { Gateway, openStorage, randomBody } from './helpers.ts';

describe.skipIf(versityMissing !== undefined)('1100 keys', () => {
  let server: S3Server;
  let gateway: Gateway;
  const keys = Array.from(
    { length: 1100 },
    (_, index) => `folder-${index % 3}/${index.toString().padStart(5, '0')}`,
  ).sort();
  beforeAll(async () => {
    server = await startVersity({ buckets: ['archive'] });
    gateway = await Gateway.listen(server.port);
    const storage = openStorage(server.port);
    const waiting = [...keys, 'other'];
    const writer = async (): Promise<void> => {
      for (let key = waiting.pop(); key !== undefined; key = waiting.pop()) {
        await storage.put(key, randomBody(3).body, { ifAbsent: true });
      }
    };
    await Promise.all(Array.from({ length: 16 }, writer));
    await storage.close();
  }, 60_000);
  afterAll(async () => {
    await gateway.close();
    await server.stop();
  });

  const list = async (prefix: string, startAfter?: string): Promise<string[]> => {
    const storage = openStorage(gateway.port);
    gateway.passed.length = 0;
    const found: string[] = [];
    for await (const { key, size } of storage.list(prefix, startAfter === undefined ? {} : { startAfter })) {
      expect(size).toBe(3);
      found.push(key);
    }
    await storage.close();
    return found;
  };

  test('STOR-12 are listed over two pages, from any place on', async () => {
    expect(await list('folder-')).toEqual(keys);
    expect(gateway.operations).toEqual(['ListObjectsV2', 'ListObjectsV2']);
    expect(await list('folder-', keys[49])).toEqual(keys.slice(50));
    expect(gateway.operations).toEqual(['ListObjectsV2', 'ListObjectsV2']);
    expect(await list('folder-', keys[500])).toEqual(keys.slice(501));
    expect(gateway.operations).toEqual(['ListObjectsV2']);
  });

  test('STOR-12 a listing that is left early asks for no further page', async () => {
    const storage = openStorage(gateway.port);
    gateway.passed.length = 0;
    for await (const { key } of storage.list('')) if (key === keys[998]) break;
    expect(gateway.operations).toEqual(['ListObjectsV2']);
    await storage.close();
  });

  test('STOR-14 are removed by two requests, and no other', async () => {
    const storage = openStorage(gateway.port);
    gateway.passed.length = 0;
    expect(await storage.remove(keys)).toEqual({ retained: [] });
    expect(gateway.operations).toEqual(['DeleteObjects', 'DeleteObjects']);
    await storage.close();
    expect(await list('')).toEqual(['other']);
  });
});
