/** Retention on a real bucket with versions and Object Lock. */
import { setTimeout as sleep } from 'node:timers/promises';
import { runStorageClause, STORAGE_CLAUSES } from '@pgark/sdk/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startVersity, versityMissing, type S3Server } from '../../../test/support/s3-server.ts';
import { failure, MIB, openStorage, randomBody, readBack } from './helpers.ts';

describe.skipIf(versityMissing !== undefined)('Object Lock', () => {
  let server: S3Server;
  beforeAll(async () => {
    server = await startVersity({ buckets: ['archive'], lockedBuckets: ['locked'] });
  });
  afterAll(() => server.stop());

  // A clause leaves locked objects behind: each has a prefix of its own.
  let seed = 1;
  // Not the whole suite: versitygw takes a delete marker for an object when it is asked to write only where there is none.
  test.each([
    ['STOR-14/retained', 'aws'],
    ['STOR-14/retained', 'versitygw'],
    ['STOR-19/extend', 'aws'],
    ['STOR-19/extend', 'versitygw'],
    ['STOR-19/shorten', 'versitygw'],
    ['STOR-19/missing', 'versitygw'],
    ['STOR-20/past', 'versitygw'],
    ['STOR-20/read-only', 'versitygw'],
  ] as const)('%s with the checksums of %s', async (id, provider) => {
    const clause = STORAGE_CLAUSES.find((one) => one.id === id);
    if (clause === undefined) throw new Error('the suite has no such clause');
    const create = async (): Promise<ReturnType<typeof openStorage>> =>
      openStorage(server.port, {
        provider,
        bucket: 'locked',
        objectLock: 'governance',
        region: 'us-east-1',
        pathStyle: true,
      });
    const result = await runStorageClause(clause, { create }, seed++);
    if (result.outcome === 'failed') throw result.error;
    expect(result.outcome).toBe('passed');
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

  test('who has all permissions can hide a locked object, not destroy it, and is told so', async () => {
    const storage = openStorage(server.port, { bucket: 'locked', objectLock: 'governance', provider: 'versitygw' });
    const { body, sent } = randomBody(100);
    await storage.put('proved', body, { ifAbsent: true, retainUntil: new Date(Date.now() + 60_000) });
    expect(await storage.proveLock('proved')).toEqual({ replace: 'kept', remove: 'kept' });
    // What it has laid over the object is gone again.
    expect((await readBack(storage, 'proved')).equals(sent())).toBe(true);
    await storage.put('free', randomBody(5).body, { ifAbsent: true });
    expect(await storage.proveLock('free')).toMatchObject({ remove: 'lost' });
    await storage.close();
    const unversioned = openStorage(server.port);
    await unversioned.put('free', randomBody(5).body, { ifAbsent: true });
    expect(await unversioned.proveLock('free')).toMatchObject({ replace: 'lost' });
    await unversioned.close();
  });

  test('H-62 a bucket without Object Lock refuses what is to be locked, and nothing is stored without', async () => {
    const storage = openStorage(server.port, { objectLock: 'governance', provider: 'versitygw' });
    const put = storage.put('unlocked', randomBody(5).body, {
      ifAbsent: true,
      retainUntil: new Date(Date.now() + 60_000),
    });
    expect((await failure(put)).code).toBe('STORAGE_MISCONFIGURED');
    expect((await failure(storage.stat('unlocked'))).code).toBe('STORAGE_NOT_FOUND');
    await storage.put('never locked', randomBody(5).body, { ifAbsent: true });
    expect((await failure(storage.retain('never locked', new Date(Date.now() + 60_000)))).code).toBe(
      'STORAGE_MISCONFIGURED',
    );
    await storage.close();
  });

  test('the past of a bucket without versions is not the present', async () => {
    const storage = openStorage(server.port);
    await storage.put('object', randomBody(5).body, { ifAbsent: true });
    const past = storage.asOf(new Date());
    for (const call of [past.stat('object'), readBack(past, 'object')]) {
      expect((await failure(call)).code).toBe('STORAGE_UNSUPPORTED');
    }
    await past.close();
    expect((await failure(storage.stat('object'))).code).toBe('INTERNAL');
  });

  test('a bucket of many versions of many objects, over several pages', { timeout: 60_000 }, async () => {
    const storage = openStorage(server.port, { bucket: 'locked', provider: 'versitygw' });
    const keys = Array.from({ length: 350 }, (_, at) => `many/${String(at).padStart(4, '0')}`);
    const all = async (work: (key: string) => Promise<void>): Promise<void> => {
      const waiting = [...keys];
      const worker = async (): Promise<void> => {
        for (let key = waiting.pop(); key !== undefined; key = waiting.pop()) await work(key);
      };
      await Promise.all(Array.from({ length: 16 }, worker));
    };
    await all((key) => storage.put(key, randomBody(7).body, { ifAbsent: true }));
    await sleep(50);
    const moment = new Date();
    await sleep(50);
    await all((key) => storage.put(key, randomBody(9).body, { ifAbsent: false }));
    await storage.remove(keys);
    const seen: { key: string; size: number }[] = [];
    for await (const { key, size } of storage.asOf(moment).list('many/')) seen.push({ key, size });
    expect(seen).toEqual(keys.map((key) => ({ key, size: 7 })));
    const some: string[] = [];
    for await (const { key } of storage.asOf(moment).list('many/', { startAfter: 'many/0344' })) some.push(key);
    expect(some).toEqual(keys.slice(345));
    await storage.close();
  });

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
