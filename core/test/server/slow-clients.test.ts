/** H-27: clients that take their time. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { until } from '../../../test/support/until.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { segmentName } from '../../src/postgres/wal-file.ts';
import type { WalServer } from '../../src/server/wal-server.ts';
import { memoryRepository } from '../repository/repository.ts';
import { SYSTEM_ID } from '../wal-command/segments.ts';
import { ask, rawConnection, SERVE_DEFAULTS, serving, target, TOKEN } from './serving.ts';

// They wait for others more than they compute; a busy machine makes them wait longer.
vi.setConfig({ testTimeout: 120_000 });

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pgark-slow-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Larger than what the buffers of two sockets hold. */
const SIZE = 32 * 1024 * 1024;
const NAME = segmentName(1, 5n, SIZE);

async function largeSegment(): Promise<Repository> {
  const bytes = Buffer.alloc(SIZE, 7);
  bytes.writeUInt16LE(0xd118, 0);
  bytes.writeUInt16LE(0x0002, 2);
  bytes.writeUInt32LE(1, 4);
  bytes.writeBigUInt64LE(5n * BigInt(SIZE), 8);
  bytes.writeBigUInt64LE(BigInt(SYSTEM_ID), 24);
  bytes.writeUInt32LE(SIZE, 32);
  bytes.writeUInt32LE(8192, 36);
  const repository = await memoryRepository();
  await repository.open({ create: true });
  await repository.wal(SYSTEM_ID).push(NAME, { bytes });
  return repository;
}

/** Asks for the segment, takes the head of the answer, and then nothing. */
async function stalled(server: WalServer): Promise<Socket> {
  const socket = await rawConnection(server);
  socket.write(`GET ${target(NAME)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${TOKEN}\r\n\r\n`);
  const head = await new Promise<Buffer>((resolve) => socket.once('data', resolve));
  socket.pause();
  expect(head.toString('latin1')).toMatch(/^HTTP\/1\.1 200 /);
  return socket;
}

test('H-27 clients that take nothing hold up no other one, and cost no memory for their files', async () => {
  const server = await serving({
    repositories: [await largeSegment()],
    config: { ...SERVE_DEFAULTS, folder, maxFetches: 2 },
  });
  const first = await stalled(server);
  const before = process.memoryUsage();
  const clients = [first, ...(await Promise.all(Array.from({ length: 24 }, async () => stalled(server))))];
  const { status, body } = await ask(server, target(NAME));
  expect([status, body.byteLength]).toEqual([200, SIZE]);
  const after = process.memoryUsage();
  // 24 files of 32 MiB are 768 MiB.
  expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(128 * 1024 * 1024);
  expect(clients.filter((client) => client.destroyed)).toEqual([]);
  expect(readdirSync(folder)).toEqual([]);
});

test('H-27 a slow download that goes on is never cut, however long it takes', async () => {
  const server = await serving({
    repositories: [await largeSegment()],
    config: { ...SERVE_DEFAULTS, folder, stallTimeout: 3000 },
  });
  const socket = await stalled(server);
  const began = performance.now();
  let came = 0;
  let ended = false;
  socket.on('close', () => (ended = true));
  socket.on('data', (data: Buffer) => {
    came += data.byteLength;
    socket.pause();
    setTimeout(() => socket.resume(), 10);
  });
  socket.resume();
  await until('all of it', () => ended || came >= SIZE - 65_536);
  expect(ended).toBe(false);
  // It took longer than a client may take nothing, or the test says nothing.
  expect(performance.now() - began).toBeGreaterThan(3000);
});

test('H-27 a client that takes nothing is cut off in the end, and what it has does not look whole', async () => {
  const server = await serving({
    repositories: [await largeSegment()],
    config: { ...SERVE_DEFAULTS, folder, stallTimeout: 1000 },
  });
  const socket = await stalled(server);
  await sleep(2500);
  let came = 0;
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.on('data', (data: Buffer) => (came += data.byteLength));
  socket.resume();
  await closed;
  expect(came).toBeLessThan(SIZE);
});

test('H-27 clients that leave at any moment end nothing but their own requests', async () => {
  const server = await serving({ repositories: [await largeSegment()], config: { ...SERVE_DEFAULTS, folder } });
  const names = [NAME, segmentName(1, 6n, SIZE), '00000002.history', 'nonsense'];
  for (let round = 0; round < 15; round++)
    await Promise.all(
      names.flatMap((name) =>
        [0, 1, 3, 10, 30].map(async (delay) => {
          const socket = await rawConnection(server);
          socket.write(`GET ${target(name)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${TOKEN}\r\n\r\n`);
          await sleep(delay + Math.random() * 5);
          if (delay % 2 === 0) socket.resetAndDestroy();
          else socket.destroy();
        }),
      ),
    );
  expect((await ask(server, target(NAME))).status).toBe(200);
  await until('nothing is left of them', () => readdirSync(folder).length === 0);
});

test('H-27 more requests than are allowed are told to come again, and not that there is nothing', async () => {
  const server = await serving({
    repositories: [await largeSegment()],
    config: { ...SERVE_DEFAULTS, folder, maxRequests: 2 },
  });
  const clients = [await stalled(server), await stalled(server)];
  const refused = await ask(server, target(NAME));
  expect(refused).toMatchObject({ status: 503, headers: { 'retry-after': '2' } });
  expect((await ask(server, '/healthz', { token: '' })).status).toBe(200);
  clients[0]?.destroy();
  await until('room', async () => (await ask(server, target(NAME))).status === 200);
});

test('H-27 a connection on which no request comes is closed', async () => {
  const server = await serving({ repositories: [await largeSegment()] });
  const silent = await rawConnection(server);
  const slow = await rawConnection(server);
  slow.write('GET /healthz HTTP/1.1\r\nHost: x\r\nX: ');
  const drip = setInterval(() => slow.write('x'), 500);
  for (const socket of [silent, slow]) socket.resume();
  await until('both are closed', () => silent.closed && slow.closed);
  clearInterval(drip);
});
