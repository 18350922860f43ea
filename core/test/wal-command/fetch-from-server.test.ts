import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { freePort } from '../../../test/support/free-port.ts';
import { later } from '../../../test/support/later.ts';
import { Secret } from '../../src/contracts/secret.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { fetchFromServer, type ServerFetchOptions } from '../../src/wal-command/fetch-from-server.ts';
import { memoryRepository, pluginContext } from '../repository/repository.ts';
import { SERVE_DEFAULTS, serving, TOKEN } from '../server/serving.ts';
import { SYSTEM_ID, walSegment } from './segments.ts';

const { logger } = pluginContext;
let folder = '';
let path = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pgark-from-server-'));
  mkdirSync(join(folder, 'pg_wal'));
  path = join(folder, 'pg_wal', 'RECOVERYXLOG');
});
afterEach(() => rmSync(folder, { recursive: true }));

const { name: NAME, bytes: BYTES } = walSegment(5n);

function fetch(
  url: string,
  name: string,
  options: Partial<ServerFetchOptions> = {},
): ReturnType<typeof fetchFromServer> {
  return fetchFromServer({
    name,
    path,
    url: `${url}/v1/main`,
    token: new Secret(TOKEN),
    systemId: SYSTEM_ID,
    dataDirectories: [folder],
    mode: 'recovery',
    retry: 0,
    logger,
    ...options,
  });
}

async function archive(numbers: readonly bigint[] = [5n]): Promise<Repository> {
  const repository = await memoryRepository();
  await repository.open({ create: true });
  for (const number of numbers) {
    const { name, bytes } = walSegment(number);
    await repository.wal(SYSTEM_ID).push(name, { bytes });
  }
  return repository;
}

/** A server that is none of ours. */
async function strange(listener: RequestListener, port = 0): Promise<string> {
  const server = createServer(listener).listen(port, '127.0.0.1');
  await once(server, 'listening');
  later(server, (each) => {
    each.closeAllConnections();
    each.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const digestOf = (bytes: Uint8Array): string => `sha-256=:${createHash('sha256').update(bytes).digest('base64')}:`;

test('a whole file is put in place, and nothing else is left beside it', async () => {
  const { url } = await serving({ repositories: [await archive()] });
  expect(await fetch(url, NAME)).toEqual({ outcome: 'fetched', source: 'server' });
  expect(readFileSync(path).equals(BYTES)).toBe(true);
  expect(readdirSync(join(folder, 'pg_wal'))).toEqual(['RECOVERYXLOG']);
});

test('H-26 what the server has not is a miss, and what lies behind the last segment to give is not even asked for', async () => {
  const { url } = await serving({ repositories: [await archive()] });
  for (const name of ['00000002.history', walSegment(6n).name, `${NAME}.00000028.backup`])
    expect(await fetch(url, name)).toEqual({ outcome: 'missing' });
  const nowhere = `http://127.0.0.1:${await freePort()}`;
  expect(await fetch(nowhere, walSegment(6n).name, { until: NAME })).toEqual({ outcome: 'missing' });
  expect(existsSync(path)).toBe(false);
});

test('H-20 a hole is told from the end', async () => {
  const { url } = await serving({ repositories: [await archive([5n, 7n])] });
  await expect(fetch(url, walSegment(6n).name)).rejects.toMatchObject({ code: 'WAL_GAP' });
});

test('H-20 a 404 that a pgark server did not say of this very file is no miss', async () => {
  const missing = (name: string, cluster = 'main'): string =>
    `pgark: no such WAL file: ${cluster}/${SYSTEM_ID}/${name}`;
  for (const body of [
    '',
    'Not Found',
    '<html>404</html>',
    missing('00000003.history'),
    missing('00000002.history', 'other'),
    `x${missing('00000002.history')}`,
    `${missing('00000002.history')}x`,
  ]) {
    const url = await strange((_, response) => response.writeHead(404).end(body));
    await expect(fetch(url, '00000002.history'), body).rejects.toMatchObject({ code: 'WAL_SERVER_UNAVAILABLE' });
  }
  const cut = await strange((_, response) => {
    response.writeHead(404, { 'Content-Length': 500 });
    response.write(`${missing('00000002.history')}\n`, () => response.destroy());
  });
  await expect(fetch(cut, '00000002.history')).rejects.toMatchObject({ code: 'WAL_SERVER_UNAVAILABLE' });
  const right = await strange((_, response) => response.writeHead(404).end(`${missing('00000002.history')}\n`));
  expect(await fetch(right, '00000002.history')).toEqual({ outcome: 'missing' });
});

test.each<[string, RequestListener, string]>([
  [
    '200 without a digest',
    (_, response) => response.writeHead(200, { 'Content-Length': BYTES.byteLength }).end(BYTES),
    'WAL_SERVER_UNAVAILABLE',
  ],
  [
    '200 without a length',
    (_, response) => {
      response.writeHead(200, { 'Repr-Digest': digestOf(BYTES) });
      response.write(BYTES.subarray(0, 1000));
      response.end(BYTES.subarray(1000));
    },
    'WAL_SERVER_UNAVAILABLE',
  ],
  [
    'another content than its digest',
    (_, response) =>
      response
        .writeHead(200, { 'Content-Length': BYTES.byteLength, 'Repr-Digest': digestOf(BYTES) })
        .end(walSegment(5n, { fill: 8 }).bytes),
    'WAL_SERVER_UNAVAILABLE',
  ],
  [
    'another segment',
    (_, response) => {
      const { bytes } = walSegment(6n);
      response.writeHead(200, { 'Content-Length': bytes.byteLength, 'Repr-Digest': digestOf(bytes) }).end(bytes);
    },
    'WAL_INVALID',
  ],
  [
    'half of a segment that looks whole',
    (_, response) => {
      const bytes = BYTES.subarray(0, BYTES.byteLength / 2);
      response.writeHead(200, { 'Content-Length': bytes.byteLength, 'Repr-Digest': digestOf(bytes) }).end(bytes);
    },
    'WAL_INVALID',
  ],
  [
    'a segment of another cluster',
    (_, response) => {
      const { bytes } = walSegment(5n, { systemId: '42' });
      response.writeHead(200, { 'Content-Length': bytes.byteLength, 'Repr-Digest': digestOf(bytes) }).end(bytes);
    },
    'SYSTEM_MISMATCH',
  ],
  [
    'half of what it announced',
    (_, response) => {
      response.writeHead(200, { 'Content-Length': BYTES.byteLength, 'Repr-Digest': digestOf(BYTES) });
      response.write(BYTES.subarray(0, 500_000), () => response.destroy());
    },
    'WAL_SERVER_UNAVAILABLE',
  ],
  ['nothing at all', () => undefined, 'WAL_SERVER_UNAVAILABLE'],
  [
    'a beginning, then nothing',
    (_, response) => {
      response.writeHead(200, { 'Content-Length': BYTES.byteLength, 'Repr-Digest': digestOf(BYTES) });
      response.write(BYTES.subarray(0, 500_000));
    },
    'WAL_SERVER_UNAVAILABLE',
  ],
  ['the end of the connection', ({ socket }) => socket.destroy(), 'WAL_SERVER_UNAVAILABLE'],
  ['no HTTP', ({ socket }) => socket.end('SSH-2.0-x\r\n'), 'WAL_SERVER_UNAVAILABLE'],
  ['a redirect', (_, response) => response.writeHead(302, { Location: '/elsewhere' }).end(), 'WAL_SERVER_UNAVAILABLE'],
  ['500', (_, response) => response.writeHead(500).end(), 'WAL_SERVER_UNAVAILABLE'],
  ['204', (_, response) => response.writeHead(204).end(), 'WAL_SERVER_UNAVAILABLE'],
  ['206', (_, response) => response.writeHead(206).end(BYTES), 'WAL_SERVER_UNAVAILABLE'],
  ['403', (_, response) => response.writeHead(403).end(), 'WAL_SERVER_DENIED'],
  ['409 of something else', (_, response) => response.writeHead(409).end('conflict'), 'WAL_SERVER_DENIED'],
  ['410', (_, response) => response.writeHead(410).end(), 'WAL_SERVER_DENIED'],
])(
  'H-20 H-25 a server that answers with %s is neither a file nor a miss, and an older file there stays',
  async (_, listener, code) => {
    writeFileSync(path, 'older');
    const url = await strange(listener);
    await expect(fetch(url, NAME, { silence: 500 })).rejects.toMatchObject({ code });
    expect(readFileSync(path, 'utf8')).toBe('older');
    expect(readdirSync(join(folder, 'pg_wal'))).toEqual(['RECOVERYXLOG']);
  },
);

test('H-20 a server that is not there is asked again for the given time; a standby is told at once', async () => {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  await expect(fetch(url, NAME)).rejects.toMatchObject({ code: 'WAL_SERVER_UNAVAILABLE' });
  await expect(fetch(url, NAME, { mode: 'standby', retry: 60_000 })).rejects.toMatchObject({
    code: 'WAL_SERVER_UNAVAILABLE',
    message: expect.stringContaining('ECONNREFUSED') as string,
  });
  const fetched = fetch(url, NAME, { retry: 60_000 });
  await serving({ repositories: [await archive()], config: { ...SERVE_DEFAULTS, listen: `127.0.0.1:${port}` } });
  expect(await fetched).toMatchObject({ outcome: 'fetched' });
});

test('a token that is not taken is an error at once, and is in no message', async () => {
  const { url } = await serving({ repositories: [await archive()] });
  const error: unknown = await fetch(url, NAME, {
    token: new Secret('another-token-of-some-length'),
    retry: 60_000,
  }).catch((caught: unknown) => caught);
  expect(error).toMatchObject({ code: 'WAL_SERVER_DENIED', message: expect.stringContaining('401') as string });
  expect(JSON.stringify(error) + String(error)).not.toContain('another-token');
});

test('names that are none, and a cluster that nobody names, are wrong usage', async () => {
  await expect(fetch('http://127.0.0.1:1', '../secret')).rejects.toMatchObject({ code: 'USAGE' });
  await expect(fetch('http://192.0.2.1:1', NAME)).rejects.toMatchObject({ code: 'USAGE' });
  const { systemId: _, ...options } = { systemId: '', name: NAME, path, url: 'http://127.0.0.1:1/v1/main' };
  await expect(
    fetchFromServer({ ...options, dataDirectories: [folder], mode: 'recovery', retry: 0, logger }),
  ).rejects.toMatchObject({ code: 'USAGE' });
});
