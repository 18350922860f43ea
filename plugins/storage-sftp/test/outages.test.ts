import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Storage } from '@pgark/sdk';
import { describe, expect, test } from 'vitest';
import { storageStack } from '../../../core/src/storage/stack.ts';
import { silentLogger } from '../../../test/support/silent-logger.ts';
import { noSshd } from '../../../test/support/sftp-server.ts';
import { behindProxy, body, keysOf, MIB, open, put, read, temporaryFiles } from './helpers.ts';

/** Short enough for a test; a peer that is well answers in a few. */
const QUICK = { timeout: 700, connectTimeout: 1500 };

describe.skipIf(noSshd !== undefined)(`outages ${noSshd ?? ''}`, () => {
  const scene = behindProxy();
  /** A storage behind the proxy, whose host key it takes by its fingerprint. */
  const throughProxy = (options: object = {}): ReturnType<typeof open> =>
    open(scene.server, scene.archive, {
      port: scene.proxy.port,
      hostKey: scene.server.fingerprint(),
      ...QUICK,
      ...options,
    });

  test('H-54 a peer that hangs fails every call in time, and the next call dials anew when it is back', async () => {
    const storage = throughProxy();
    await put(storage, 'key');
    expect(scene.proxy.connections).toBe(1);
    expect(scene.server.freeze()).toBeGreaterThan(1);
    // The first meets the connection that stands, the others none.
    await expect(storage.stat('key')).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      retriable: true,
      message: expect.stringContaining('has not answered for 0.7 s'),
    });
    const calls = [read(storage, 'key'), put(storage, 'other'), keysOf(storage)];
    for (const result of await Promise.allSettled<unknown>(calls)) {
      expect(result).toMatchObject({
        status: 'rejected',
        reason: { code: 'STORAGE_UNAVAILABLE', retriable: true },
      });
    }
    scene.server.thaw();
    expect((await read(storage, 'key')).toString()).toBe('of key');
  }, 30_000);

  test('H-54 signs of life of sshd do not hide that the disk behind it hangs', async () => {
    const storage = throughProxy({ keepaliveInterval: 100, keepaliveCount: 3 });
    await put(storage, 'key');
    expect(scene.server.freezeSftp()).toBe(1);
    const before = scene.proxy.received;
    await expect(storage.stat('key')).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    expect(scene.proxy.received).toBeGreaterThan(before);
    scene.server.thaw();
    expect((await storage.stat('key')).key).toBe('key');
  });

  test('H-54 a connection whose peer is gone is noticed by its missing signs of life, long before the deadline', async () => {
    const storage = throughProxy({ keepaliveInterval: 100, keepaliveCount: 2, timeout: 600_000 });
    await put(storage, 'key');
    scene.proxy.stall();
    await expect(storage.stat('key')).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      message: expect.stringContaining('was lost'),
    });
    scene.proxy.resume();
    expect((await storage.stat('key')).key).toBe('key');
    expect(scene.proxy.connections).toBe(2);
  });

  test('a put into a stalled connection takes no more of its body than fits, fails in time and leaves nothing', async () => {
    const storage = throughProxy();
    await put(storage, 'key');
    let taken = 0;
    const source = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
      for (; taken < 64 * MIB; taken += MIB / 4) {
        if (taken === MIB) scene.proxy.stall();
        yield Buffer.alloc(MIB / 4, 1);
      }
    };
    await expect(storage.put('large', source(), { ifAbsent: true })).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
    });
    expect(taken).toBeGreaterThanOrEqual(MIB);
    expect(taken).toBeLessThan(6 * MIB);
    scene.proxy.resume();
    expect(await keysOf(storage)).toEqual(['key']);
    await put(storage, 'large', 'the key is free');
  });

  test('a get whose connection stalls fails in time; a reader that waits makes nothing pile up', async () => {
    const storage = throughProxy({ timeout: 3000, connectTimeout: 10_000 });
    await put(open(scene.server, scene.archive), 'large', Buffer.alloc(32 * MIB, 1));
    const before = scene.proxy.received;
    const chunks = storage.get('large')[Symbol.asyncIterator]();
    await chunks.next();
    await sleep(300);
    expect(scene.proxy.received - before).toBeLessThan(5 * MIB);
    scene.proxy.stall();
    const rest = async (): Promise<void> => {
      while ((await chunks.next()).done !== true);
    };
    await expect(rest()).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
  });

  test('an abort ends a call on a stalled connection at once', async () => {
    const storage = throughProxy({ timeout: 60_000 });
    await put(storage, 'key');
    scene.proxy.stall();
    const abort = new AbortController();
    const { signal } = abort;
    const calls = [
      storage.stat('key', { signal }),
      storage.put('other', body('x'), { ifAbsent: true, signal }),
      storage.remove(['key'], { signal }),
      storage.get('key', { signal })[Symbol.asyncIterator]().next(),
      storage.list('', { signal })[Symbol.asyncIterator]().next(),
    ];
    setTimeout(() => abort.abort(), 50);
    for (const result of await Promise.allSettled(calls)) {
      expect(result).toMatchObject({ status: 'rejected', reason: { code: 'ABORTED' } });
    }
  });

  test('sessions that are killed in the middle of a put leave nothing, and the next put succeeds', async () => {
    const storage = open(scene.server, scene.archive);
    let killed = 0;
    const source = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
      yield Buffer.alloc(3 * MIB, 1);
      killed = scene.server.killSessions();
      yield Buffer.alloc(3 * MIB, 2);
    };
    await expect(storage.put('large', source(), { ifAbsent: true })).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      retriable: true,
    });
    expect(killed).toBeGreaterThan(0);
    expect(await keysOf(storage)).toEqual([]);
    expect(temporaryFiles(scene.server, scene.archive)).toHaveLength(1);
    await put(storage, 'large', 'whole');
    expect((await read(storage, 'large')).toString()).toBe('whole');
  });

  test('STOR-09 a connection cut in the middle of a get is an error, and the stack goes on at the byte', async () => {
    const storage = throughProxy({ timeout: 60_000, connectTimeout: 20_000 });
    const bytes = Buffer.alloc(16 * MIB, randomBytes(1021));
    await put(storage, 'large', bytes);
    const cutting = async (from: Pick<Storage, 'get'>): Promise<Buffer> => {
      const chunks: Uint8Array[] = [];
      for await (const chunk of from.get('large')) {
        if (chunks.push(chunk) === 20) expect(scene.proxy.cut()).toBe(1);
      }
      return Buffer.concat(chunks);
    };
    await expect(cutting(storage)).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    const whole = await cutting(storageStack(storage, { logger: silentLogger, retry: { firstDelay: 10 } }));
    expect(Buffer.compare(whole, bytes)).toBe(0);
  });

  test('a closed storage has no connection left, also one that was just being made', async () => {
    const storage = throughProxy();
    await put(storage, 'key');
    const call = storage.stat('key');
    const another = storage.stat('key');
    await Promise.all([storage.close(), storage.close()]);
    for (const each of [call, another]) await expect(each).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    await expect(storage.stat('key')).rejects.toMatchObject({ code: 'INTERNAL' });
    while (scene.proxy.open > 0) await sleep(10);
  });
});
