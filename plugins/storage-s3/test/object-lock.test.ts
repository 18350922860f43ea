/** Retention on a real bucket with versions and Object Lock. */
import { runStorageClause, STORAGE_CLAUSES } from '@pgark/sdk/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startVersity, versityMissing, type S3Server } from '../../../test/support/s3-server.ts';
import { failure, MIB, openStorage, randomBody } from './helpers.ts';

describe.skipIf(versityMissing !== undefined)('Object Lock', () => {
  let server: S3Server;
  beforeAll(async () => {
    server = await startVersity({ buckets: ['archive'], lockedBuckets: ['locked'] });
  });
  afterAll(() => server.stop());

  // Not the whole suite: versitygw takes a delete marker for an object when it is asked to write only where there is none.
  test.each(['minio', 'aws'] as const)('STOR-14 with the checksums of %s', async (provider) => {
    const clause = STORAGE_CLAUSES.find(({ id }) => id === 'STOR-14/retained');
    if (clause === undefined) throw new Error('the suite has no such clause');
    const create = async (): Promise<ReturnType<typeof openStorage>> =>
      openStorage(server.port, {
        provider,
        bucket: 'locked',
        objectLock: 'governance',
        region: 'us-east-1',
        pathStyle: true,
      });
    expect(await runStorageClause(clause, { create }, provider.length)).toMatchObject({ outcome: 'passed' });
  });

  test.each(['governance', 'compliance'] as const)(
    'in one request and in parts, with the mode %s',
    async (objectLock) => {
      const storage = openStorage(server.port, { bucket: 'locked', objectLock, singlePut: '1MiB', partSize: '5MiB' });
      const retainUntil = new Date(Date.now() + 5000);
      for (const bytes of [10, 6 * MIB]) {
        const key = `${objectLock}/${bytes}`;
        await storage.put(key, randomBody(bytes).body, { ifAbsent: true, retainUntil });
        const { Retention } = await server.admin.getObjectRetention({ Bucket: 'locked', Key: key });
        expect(Retention?.Mode).toBe(objectLock.toUpperCase());
        expect(Math.abs((Retention?.RetainUntilDate?.getTime() ?? 0) - retainUntil.getTime())).toBeLessThan(1000);
        expect(await storage.remove([key, 'nothing'])).toEqual({ retained: [key] });
        const replaced = await failure(storage.put(key, randomBody(5).body, { ifAbsent: false }));
        expect([replaced.code, replaced.message]).toEqual(['STORAGE_DENIED', expect.stringContaining(key)]);
        expect((await storage.stat(key)).size).toBe(bytes);
      }
      await storage.close();
    },
  );

  test('a retention is not asked for without the option, nor with a date that has passed', async () => {
    const storage = openStorage(server.port);
    expect(storage.capabilities.retention).toBe(false);
    await storage.put('free', randomBody(5).body, { ifAbsent: true, retainUntil: new Date(Date.now() + 60_000) });
    expect(await storage.remove(['free'])).toEqual({ retained: [] });
    await storage.close();
  });

  test('what a versioned bucket keeps behind a removed key is hidden, and the key is gone', async () => {
    const storage = openStorage(server.port, { bucket: 'locked' });
    await storage.put('versioned', randomBody(5).body, { ifAbsent: true });
    expect(await storage.remove(['versioned'])).toEqual({ retained: [] });
    expect((await failure(storage.stat('versioned'))).code).toBe('STORAGE_NOT_FOUND');
    const { Versions, DeleteMarkers } = await server.admin.listObjectVersions({
      Bucket: 'locked',
      Prefix: 'versioned',
    });
    expect([Versions?.length, DeleteMarkers?.length]).toEqual([1, 1]);
    await storage.close();
  });
});
