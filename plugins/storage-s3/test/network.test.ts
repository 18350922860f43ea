/** Peers that are gone, connections that break, and readers that take their time. */
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { storageStack } from '../../../core/src/storage/stack.ts';
import { Proxy } from '../../../test/support/proxy.ts';
import { startFauxS3, type S3Server } from '../../../test/support/s3-server.ts';
import { silentLogger } from '../../../test/support/silent-logger.ts';
import { listenSlowly } from '../../../test/support/slow-reader.ts';
import { failure, MIB, openStorage, randomBody, readBack } from './helpers.ts';

const QUICK = { idleTimeout: '400ms', connectTimeout: '400ms' };

test('H-54 a peer that accepts and says nothing fails every call in time', async () => {
  const sockets = new Set<Socket>();
  const silent = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.resume();
  }).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const storage = openStorage((silent.address() as AddressInfo).port, QUICK);
  const calls = {
    put: () => storage.put('key', randomBody(10).body, { ifAbsent: true }),
    get: () => readBack(storage, 'key'),
    stat: () => storage.stat('key'),
    list: () => storage.list('')[Symbol.asyncIterator]().next(),
    remove: () => storage.remove(['key']),
  };
  for (const [name, call] of Object.entries(calls)) {
    const started = performance.now();
    const error = await failure(call());
    expect([name, error.code, error.retriable]).toEqual([name, 'STORAGE_UNAVAILABLE', true]);
    expect(performance.now() - started, name).toBeLessThan(10_000);
  }
  expect(sockets.size).toBeGreaterThanOrEqual(5);
  await storage.close();
  for (const socket of sockets) socket.destroy();
  silent.close();
});

test('but a peer that reads slowly is none, however long the upload takes', async () => {
  const length = 32 * MIB;
  let pauses = 0;
  const server = createHttpServer((request, response) => {
    let came = 0;
    request.on('data', (data: Buffer) => {
      came += data.byteLength;
      if (came < (pauses + 1) * 6 * MIB) return;
      pauses += 1;
      request.pause();
      setTimeout(() => request.resume(), 700);
    });
    request.on('end', () => response.writeHead(came === length ? 200 : 400, { etag: '"0"' }).end());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const storage = openStorage((server.address() as AddressInfo).port, { idleTimeout: '3s', singlePut: '64MiB' });
  const begun = performance.now();
  await storage.put('slowly', randomBody(length).body, { ifAbsent: false });
  expect(pauses).toBe(5);
  expect(performance.now() - begun).toBeGreaterThan(3000);
  await storage.close();
  server.closeAllConnections();
  server.close();
});

test('nor is it one for the stack, which counts the time of a step from the last bytes that were taken', async () => {
  const peer = await listenSlowly({ every: 4 * MIB, pause: 500 }, (response, came) => {
    response.writeHead(came === 32 * MIB ? 200 : 400, { etag: '"0"' }).end();
  });
  const storage = openStorage(peer.port, { singlePut: '64MiB' });
  const stack = storageStack(storage, { logger: silentLogger, stallTimeout: 3000, retry: { deadline: 0 } });
  const begun = performance.now();
  await stack.put('slowly', randomBody(32 * MIB).body, { ifAbsent: false });
  expect(peer.pauses).toBeGreaterThanOrEqual(7);
  expect(performance.now() - begun).toBeGreaterThan(3000);
  await storage.close();
  await peer.close();
});

describe('on a server behind a bad network', () => {
  let server: S3Server;
  let content: Buffer;
  beforeAll(async () => {
    server = await startFauxS3(['archive']);
    const storage = openStorage(server.port, { conditionalPut: false });
    const { body, sent } = randomBody(9 * MIB);
    await storage.put('object', body, { ifAbsent: true });
    content = sent();
    await storage.close();
  });
  afterAll(() => server.stop());

  test('H-59 a connection that is cut in the middle of a download is an error', async () => {
    const proxy = await Proxy.listen({ port: server.port });
    const storage = openStorage(proxy.port);
    let received = 0;
    let cut = 0;
    const read = async (): Promise<void> => {
      for await (const chunk of storage.get('object')) {
        received += chunk.byteLength;
        if (cut === 0) cut = proxy.cut();
      }
    };
    const error = await failure(read());
    expect([error.code, error.retriable]).toEqual(['STORAGE_UNAVAILABLE', true]);
    expect(cut).toBeGreaterThan(0);
    expect(received).toBeLessThan(content.byteLength);
    await storage.close();
    await proxy.close();
  });

  test('H-54 a download that stands still fails in time, and so does an upload', async () => {
    const proxy = await Proxy.listen({ port: server.port });
    const storage = openStorage(proxy.port, { ...QUICK, conditionalPut: false });
    let received = 0;
    const read = async (): Promise<void> => {
      for await (const chunk of storage.get('object')) {
        if (received === 0) proxy.stall();
        received += chunk.byteLength;
      }
    };
    expect((await failure(read())).code).toBe('STORAGE_UNAVAILABLE');
    expect(received).toBeGreaterThan(0);
    expect(received).toBeLessThan(content.byteLength);
    proxy.resume();
    await storage.stat('object');
    proxy.stall();
    const put = storage.put('stalled', randomBody(8 * MIB).body, { ifAbsent: false });
    expect((await failure(put)).code).toBe('STORAGE_UNAVAILABLE');
    await storage.close();
    await proxy.close();
  });

  test('a reader that takes its time over a chunk loses nothing', async () => {
    const storage = openStorage(server.port, { idleTimeout: '300ms' });
    const chunks: Uint8Array[] = [];
    for await (const chunk of storage.get('object')) {
      if (chunks.length === 1 || chunks.length === 10) await sleep(800);
      chunks.push(chunk);
    }
    expect(Buffer.concat(chunks).equals(content)).toBe(true);
    await storage.close();
  });

  test('STOR-11 leaving a download closes its connection', async () => {
    const proxy = await Proxy.listen({ port: server.port });
    const storage = openStorage(proxy.port);
    for await (const chunk of storage.get('object')) {
      expect(chunk.byteLength).toBeGreaterThan(0);
      expect(proxy.open).toBe(1);
      break;
    }
    for (let waited = 0; proxy.open > 0 && waited < 5000; waited += 20) await sleep(20);
    expect(proxy.open).toBe(0);
    await storage.close();
    await proxy.close();
  });
});
