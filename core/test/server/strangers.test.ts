/** Clients without a credential, and heads that are odd. */
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Secret } from '../../src/contracts/secret.ts';
import { serveWal, type WalServer } from '../../src/server/wal-server.ts';
import { memoryRepository, pluginContext } from '../repository/repository.ts';
import { SYSTEM_ID, walSegment } from '../wal-command/segments.ts';
import { say, SERVE_DEFAULTS, target, TOKEN } from './serving.ts';

vi.setConfig({ testTimeout: 60_000 });
const { name: NAME, bytes } = walSegment(5n);
let server: WalServer;
const open: Socket[] = [];
beforeEach(async () => {
  const repository = await memoryRepository();
  await repository.open({ create: true });
  await repository.wal(SYSTEM_ID).push(NAME, { bytes });
  server = await serveWal({
    repositories: [repository],
    token: new Secret(TOKEN),
    logger: pluginContext.logger,
    config: { ...SERVE_DEFAULTS, maxRequests: 8 },
  });
});
afterEach(async () => {
  for (const socket of open.splice(0)) socket.destroy();
  await server.close(0);
});

const AUTHORIZED = `Authorization: Bearer ${TOKEN}\r\n`;
const get = (more: string, method = 'GET', version = '1.1'): Promise<string> =>
  say(server, `${method} ${target(NAME)} HTTP/${version}\r\nHost: x\r\n${more}Connection: close\r\n\r\n`, 3000);
const status = (said: string): string => /^HTTP\/1\.[01] (\d{3})/.exec(said)?.[1] ?? 'none';

test('odd heads', async () => {
  const seen = {
    plain: status(await get(AUTHORIZED)),
    range: status(await get(`${AUTHORIZED}Range: bytes=0-9\r\n`)),
    head: (await get(AUTHORIZED, 'HEAD')).length < 1000,
    old: status(await get(AUTHORIZED, 'GET', '1.0')),
    twiceWrongFirst: status(await get(`Authorization: Bearer ${'x'.repeat(32)}\r\n${AUTHORIZED}`)),
    twiceRightFirst: status(await get(`${AUTHORIZED}Authorization: Bearer ${'x'.repeat(32)}\r\n`)),
    conditional: status(
      await get(`${AUTHORIZED}If-None-Match: *\r\nIf-Modified-Since: Wed, 21 Oct 2037 07:28:00 GMT\r\n`),
    ),
    websocket: status(
      await say(
        server,
        `GET ${target(NAME)} HTTP/1.1\r\nHost: x\r\n${AUTHORIZED}Connection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
        3000,
      ),
    ),
    manyHeaders: status(await get(`${'a: b\r\n'.repeat(2000)}${AUTHORIZED}`)),
    cookie: status(await get(`Cookie: Authorization=Bearer ${TOKEN}\r\n`)),
    basic: status(await get(`Authorization: Basic ${Buffer.from(`x:${TOKEN}`).toString('base64')}\r\n`)),
  };
  expect(seen).toMatchObject({ plain: '200', range: '200', head: true, cookie: '401', basic: '401' });
});

test('clients without a credential that only hold connections do not keep out those that have one', async () => {
  const { hostname, port } = new URL(server.url);
  for (let count = 0; count < 140; count++) {
    const socket = connect(Number(port), hostname);
    socket.on('error', () => undefined);
    open.push(socket);
  }
  await sleep(500);
  expect(status(await get(AUTHORIZED))).toBe('200');
});
