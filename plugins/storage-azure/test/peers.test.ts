import { setTimeout as sleep } from 'node:timers/promises';
import { Secret, type Storage } from '@pgark/sdk';
import { AzureStorage } from '@pgark/storage-azure';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { storageStack } from '../../../core/src/storage/stack.ts';
import { ACCOUNT, ACCOUNT_KEY, AzureServer, azureMissing } from '../../../test/support/azure-server.ts';
import { Proxy } from '../../../test/support/proxy.ts';
import { silentLogger } from '../../../test/support/silent-logger.ts';
import { listenSlowly } from '../../../test/support/slow-reader.ts';
import { bytes, collect, keysOf, open, put, read } from './helpers.ts';

const MIB = 1024 * 1024;
const LENGTH = 24 * MIB;

/** Waits until something holds, for at most five seconds. */
async function until(holds: () => boolean): Promise<void> {
  for (let waited = 0; waited < 5000 && !holds(); waited += 20) await sleep(20);
  expect(holds()).toBe(true);
}

test('a peer that reads slowly is none that fails: a step has its time from the last bytes that were taken', async () => {
  const peer = await listenSlowly({ every: 4 * MIB, pause: 500 }, (response, came) => {
    response.writeHead(came === 32 * MIB ? 201 : 400, { etag: '"0"', 'last-modified': new Date().toUTCString() }).end();
  });
  const endpoint = `http://127.0.0.1:${peer.port}/${ACCOUNT}`;
  const storage = new AzureStorage({
    account: ACCOUNT,
    container: 'peers',
    endpoint,
    accountKey: new Secret(ACCOUNT_KEY),
    blockSize: 16 * MIB,
  });
  const stack = storageStack(storage, { logger: silentLogger, stallTimeout: 3000, retry: { deadline: 0 } });
  const begun = performance.now();
  await stack.put('slowly', bytes(32 * MIB, MIB), { ifAbsent: true });
  expect(peer.pauses).toBeGreaterThanOrEqual(7);
  expect(performance.now() - begun).toBeGreaterThan(3000);
  await storage.close();
  await peer.close();
});

describe.skipIf(azureMissing !== undefined)('peers that fail', () => {
  let server: AzureServer;
  let proxy: Proxy;
  let content: Buffer;
  beforeAll(async () => {
    server = await AzureServer.start();
    await server.createContainer('peers');
    content = Buffer.concat(await collect(bytes(LENGTH, MIB)));
    await server.container('peers').uploadBlockBlob('large', content, LENGTH);
  });
  afterAll(() => server?.stop());
  beforeEach(async () => {
    proxy = await Proxy.listen({ port: server.port });
  });
  afterEach(() => proxy.close());

  test.each<[string, (storage: Storage) => Promise<unknown>]>([
    ['put', (storage) => put(storage, 'key')],
    ['a large put', (storage) => storage.put('key', bytes(LENGTH, MIB), { ifAbsent: true })],
    ['a put in blocks', (storage) => storage.put('key', bytes(2 * LENGTH, MIB), { ifAbsent: true })],
    ['get', (storage) => read(storage, 'large')],
    ['stat', (storage) => storage.stat('large')],
    ['list', (storage) => keysOf(storage)],
    ['remove', (storage) => storage.remove(['key'])],
  ])('H-54 %s fails in time when the peer is gone without a word', async (_, call) => {
    proxy.stall();
    const storage = open(server, 'peers', { port: proxy.port, timeout: 0.5 });
    const begun = performance.now();
    await expect(call(storage)).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      retriable: true,
      message: expect.stringContaining('no progress for 0.5 s'),
    });
    expect(proxy.connections).toBeGreaterThan(0);
    expect(performance.now() - begun).toBeGreaterThan(490);
    await storage.close();
  });

  test('H-54 a get fails in time when the peer goes in the middle', async () => {
    const storage = open(server, 'peers', { port: proxy.port, timeout: 0.5 });
    let length = 0;
    const reading = (async () => {
      for await (const chunk of storage.get('large')) {
        if (length === 0) proxy.stall();
        length += chunk.byteLength;
      }
    })();
    await expect(reading).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      message: expect.stringContaining('no progress'),
    });
    expect(length).toBeGreaterThan(0);
    expect(length).toBeLessThan(LENGTH);
    await storage.close();
  });

  test('a reader that takes its time is no peer that is gone', async () => {
    const storage = open(server, 'peers', { port: proxy.port, timeout: 2 });
    const chunks: Uint8Array[] = [];
    for await (const chunk of storage.get('large')) {
      if (chunks.length === 2) await sleep(3000);
      chunks.push(chunk);
    }
    expect(Buffer.concat(chunks).equals(content)).toBe(true);
    await storage.close();
  });

  test('a source that takes its time is none either', async () => {
    const storage = open(server, 'peers', { blockSize: 65_536, port: proxy.port, timeout: 2 });
    const slow = async function* (): AsyncGenerator<Uint8Array> {
      yield* bytes(8 * 65_536, 65_536);
      await sleep(3000);
      yield Buffer.from('end');
    };
    await storage.put('slow', slow(), { ifAbsent: true });
    expect((await storage.stat('slow')).size).toBe(8 * 65_536 + 3);
    await storage.close();
  });

  test('STOR-09 H-59 a download that is cut is an error, never a short body, and the stack reads on', async () => {
    const storage = open(server, 'peers', { port: proxy.port });
    let cuts = 0;
    const readAndCut = async (from: Storage): Promise<Buffer> => {
      const chunks: Uint8Array[] = [];
      for await (const chunk of from.get('large')) {
        if (chunks.length === 3) cuts += proxy.cut();
        chunks.push(chunk);
      }
      return Buffer.concat(chunks);
    };
    await expect(readAndCut(storage)).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE', retriable: true });
    expect(cuts).toBe(1);
    const stack = storageStack(storage, { logger: silentLogger, retry: { firstDelay: 1 } });
    expect((await readAndCut(stack)).equals(content)).toBe(true);
    expect(cuts).toBe(2);
    await storage.close();
  });

  test('an upload that is cut is STORAGE_UNAVAILABLE and leaves nothing', async () => {
    const storage = open(server, 'peers', { port: proxy.port });
    proxy.stall();
    const stored = storage.put('cut', bytes(LENGTH, MIB), { ifAbsent: true });
    await until(() => proxy.open === 1);
    await sleep(100);
    expect(proxy.cut()).toBe(1);
    await expect(stored).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE', retriable: true });
    expect(await keysOf(open(server, 'peers'), 'cut')).toEqual([]);
    await storage.close();
  });

  test('STOR-11 leaving a get closes its connection, close those that are left', async () => {
    const storage = open(server, 'peers', { port: proxy.port });
    for (let round = 0; round < 10; round++) {
      for await (const chunk of storage.get('large')) {
        expect(chunk.byteLength).toBeGreaterThan(0);
        expect(proxy.open).toBe(1);
        break;
      }
      await until(() => proxy.open === 0);
    }
    expect(proxy.connections).toBe(10);
    await Promise.all([storage.stat('large'), storage.stat('large')]);
    await storage.stat('large');
    // Connections are used again.
    expect(proxy.connections).toBe(12);
    expect(proxy.open).toBe(2);
    await storage.close();
    await until(() => proxy.open === 0);
  });
});
