import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { Proxy } from '../../../test/support/proxy.ts';
import { noSshd, SftpServer } from '../../../test/support/sftp-server.ts';
import { body, keysOf, MIB, open, put, read, temporaryFiles } from './helpers.ts';

describe.skipIf(noSshd !== undefined)(`many calls at a time ${noSshd ?? ''}`, () => {
  let server: SftpServer;
  let proxy: Proxy;
  beforeAll(async () => {
    server = await SftpServer.start();
  });
  afterAll(() => server.stop());
  beforeEach(async () => {
    proxy = await Proxy.listen({ port: server.port });
    onTestFinished(() => proxy.close());
  });
  const throughProxy = (connections?: number): ReturnType<typeof open> =>
    open(server, 'archive', {
      port: proxy.port,
      hostKey: server.fingerprint(),
      ...(connections === undefined ? {} : { connections }),
    });

  test('H-52 of 20 racing writers on 20 storages exactly one succeeds, and the object is its', async () => {
    const writers = Array.from({ length: 20 }, (_, index) => ({
      storage: open(server, 'race', { connections: 1 }),
      content: Buffer.alloc(200_000 + index, index),
    }));
    for (let round = 0; round < 3; round++) {
      const key = `round/${round}/object`;
      const results = await Promise.allSettled(
        writers.map(({ storage, content }) => storage.put(key, body(content), { ifAbsent: true })),
      );
      const winners = writers.filter((_, index) => results[index]?.status === 'fulfilled');
      expect(winners).toHaveLength(1);
      for (const result of results) {
        if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'STORAGE_EXISTS' });
      }
      const stored = await read(writers[0]?.storage ?? open(server, 'race'), key);
      expect(stored.equals(winners[0]?.content ?? Buffer.alloc(0))).toBe(true);
    }
    expect(temporaryFiles(server, 'race')).toEqual([]);
  }, 60_000);

  test('H-52 with "createOnly: none" OpenSSH refuses a taken name too: one of 20 racing writers succeeds', async () => {
    const writers = Array.from({ length: 20 }, () => open(server, 'rename', { connections: 1, createOnly: 'none' }));
    await put(writers[0] ?? open(server, 'rename'), 'first');
    for (let round = 0; round < 3; round++) {
      const results = await Promise.allSettled(writers.map((storage, at) => put(storage, `${round}/key`, `of ${at}`)));
      const winners = results.flatMap(({ status }, at) => (status === 'fulfilled' ? [`of ${at}`] : []));
      expect(winners).toEqual([(await read(writers[0] ?? open(server, 'rename'), `${round}/key`)).toString()]);
      for (const result of results) {
        if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'STORAGE_EXISTS' });
      }
    }
  }, 60_000);

  test('large objects survive that the server asks for new session keys on the way', async () => {
    const rekeying = await SftpServer.start({ config: ['RekeyLimit 1M', 'LogLevel DEBUG1'] });
    onTestFinished(() => rekeying.stop());
    const storage = open(rekeying, 'archive', { connections: 1 });
    const bytes = Buffer.alloc(24 * MIB, randomBytes(1021));
    await put(storage, 'large', bytes);
    expect(Buffer.compare(await read(storage, 'large'), bytes)).toBe(0);
    expect(rekeying.log.filter((line) => line.includes('rekeying')).length).toBeGreaterThan(10);
  });

  test.for([
    [undefined, 4],
    [1, 1],
    [3, 3],
  ] as const)('connections: %s makes %i for any number of calls, and keeps them', async ([connections, most]) => {
    const storage = throughProxy(connections);
    const keys = Array.from({ length: 30 }, (_, index) => `${String(connections)}/${index}`);
    await Promise.all(keys.map((key) => put(storage, key)));
    for (const key of keys) expect((await read(storage, key)).toString()).toBe(`of ${key}`);
    expect(proxy.connections).toBe(most);
    expect(proxy.open).toBe(most);
  });

  test('calls one after the other need one connection', async () => {
    const storage = throughProxy();
    for (let index = 0; index < 5; index++) await put(storage, `single/${index}`);
    expect(await keysOf(storage, 'single/')).toHaveLength(5);
    expect(proxy.connections).toBe(1);
  });

  test('on one connection, objects can be read while a listing and other reads are under way', async () => {
    const storage = throughProxy(1);
    for (let index = 0; index < 20; index++) await put(storage, `nested/${index}`, Buffer.alloc(MIB, index));
    const halfRead = Array.from({ length: 8 }, () => storage.get('nested/0')[Symbol.asyncIterator]());
    for (const chunks of halfRead) await chunks.next();
    let bytes = 0;
    for await (const { key } of storage.list('nested/')) bytes += (await read(storage, key)).byteLength;
    expect(bytes).toBe(20 * MIB);
    for (const chunks of halfRead) await chunks.return?.();
    expect(proxy.connections).toBe(1);
  });

  test('a login that fails is tried again by the next call, not remembered', async () => {
    const storage = throughProxy();
    proxy.cut({ refuse: true });
    await expect(storage.stat('single/0')).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE', retriable: true });
    proxy.resume();
    await sleep(0);
    expect((await storage.stat('single/0')).key).toBe('single/0');
  });
});
