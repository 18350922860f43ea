import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createServer as createTlsServer } from 'node:tls';
import { expect, onTestFinished, test, vi } from 'vitest';
import { storageStack } from '../../../core/src/storage/stack.ts';
import { CertificateAuthority } from '../../../test/support/certificates.ts';
import { silentLogger } from '../../../test/support/silent-logger.ts';
import { listenSlowly } from '../../../test/support/slow-reader.ts';
import { answer, body, CALLS, openOn, read, refuse, scriptedServer } from './scripted-server.ts';

const MIB = 1024 * 1024;

test.each([
  [401, 'Invalid Credentials', 'authError', 'STORAGE_DENIED', false],
  [403, 'reader@p does not have storage.objects.get access', 'forbidden', 'STORAGE_DENIED', false],
  [403, 'The rate of requests is too high', 'rateLimitExceeded', 'STORAGE_UNAVAILABLE', true],
  [400, 'Invalid argument.', 'invalid', 'STORAGE_MISCONFIGURED', false],
  [400, "Provided MD5 hash doesn't match calculated MD5 hash", 'invalid', 'STORAGE_UNAVAILABLE', true],
  [404, 'The specified bucket does not exist.', 'notFound', 'STORAGE_MISCONFIGURED', false],
  [408, 'Request timeout', undefined, 'STORAGE_UNAVAILABLE', true],
  [429, 'The project exceeded the rate limit', 'rateLimitExceeded', 'STORAGE_UNAVAILABLE', true],
  [500, 'Backend Error', 'backendError', 'STORAGE_UNAVAILABLE', true],
  [503, 'Backend Error', 'backendError', 'STORAGE_UNAVAILABLE', true],
] as const)('STOR-06 H-54 %i "%s" (%s) is %s in every call, after one request', async (...row) => {
  const [status, message, reason, code, retriable] = row;
  const server = await scriptedServer((response) => refuse(response, status, message, reason));
  for (const [name, call] of Object.entries(CALLS)) {
    const before = server.requests.length;
    await expect(call(openOn(server)), name).rejects.toMatchObject({ code, retriable });
    expect(server.requests.length - before, `${name}: requests`).toBe(1);
  }
});

test('a page of a proxy is not an answer of the storage', async () => {
  const server = await scriptedServer((response) => {
    response.writeHead(200, { 'content-type': 'text/html' }).end('<html>Welcome to the guest network</html>');
  });
  for (const name of ['stat', 'list']) {
    await expect(CALLS[name]?.(openOn(server)), name).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
  }
  await expect(CALLS['put']?.(openOn(server))).rejects.toMatchObject({ code: 'STORAGE_CORRUPT' });
});

test('H-50 a missing object is told from a missing bucket by what the server says of the object', async () => {
  const server = await scriptedServer((response, seen) => {
    // The bytes of an object are refused in plain text, all else in JSON.
    const message = 'No such object: archive/key';
    if (seen.query['alt'] === 'media') response.writeHead(404, { 'content-type': 'text/html' }).end(message);
    else refuse(response, 404, message, 'notFound');
  });
  await expect(openOn(server).stat('key')).rejects.toMatchObject({ code: 'STORAGE_NOT_FOUND', retriable: false });
  await expect(read(openOn(server).get('key'))).rejects.toMatchObject({ code: 'STORAGE_NOT_FOUND' });
  expect(await openOn(server).remove(['key'])).toEqual({ retained: [] });
  expect(server.requests).toHaveLength(3);
});

test.each([
  [200, 'STORAGE_NOT_FOUND'],
  [404, 'STORAGE_MISCONFIGURED'],
  [403, 'STORAGE_DENIED'],
  [503, 'STORAGE_UNAVAILABLE'],
])('H-50 a 404 that does not say of what is looked into: the listing answers %i, so it is %s', async (status, code) => {
  const server = await scriptedServer((response, seen) => {
    if (!seen.path.endsWith('/o')) refuse(response, 404, 'Not Found', 'notFound');
    else if (status === 200) answer(response, 200);
    else refuse(response, status, 'refused');
  });
  await expect(openOn(server).stat('key')).rejects.toMatchObject({ code });
  await expect(read(openOn(server).get('key'))).rejects.toMatchObject({ code });
  if (status === 200) expect(await openOn(server).remove(['key'])).toEqual({ retained: [] });
  else await expect(openOn(server).remove(['key'])).rejects.toMatchObject({ code });
  expect(server.requests).toHaveLength(6);
});

test('STOR-14 what is under retention or a hold comes back as retained, a plain refusal does not', async () => {
  const messages: Record<string, [string, string]> = {
    bucket: ["Object 'archive/bucket' is subject to bucket's retention policy and cannot be deleted", 'forbidden'],
    object: ["Object 'archive/object' is subject to object retention and cannot be deleted", 'forbidden'],
    reason: ['No.', 'retentionPolicyNotMet'],
    hold: ["Object 'archive/hold' is under active Temporary hold and cannot be deleted", 'forbidden'],
    denied: ['janitor@p does not have storage.objects.delete access', 'forbidden'],
  };
  const server = await scriptedServer((response, seen) => {
    const [message, reason] = messages[seen.path.split('/').at(-1) ?? ''] ?? [];
    if (message === undefined) response.writeHead(204).end();
    else refuse(response, 403, message, reason);
  });
  const storage = openOn(server);
  const keys = ['bucket', 'free', 'object', 'reason', 'hold'];
  expect(await storage.remove(keys)).toEqual({ retained: ['bucket', 'object', 'reason', 'hold'] });
  expect(server.requests).toHaveLength(5);
  await expect(storage.remove(['free', 'denied'])).rejects.toMatchObject({ code: 'STORAGE_DENIED' });
});

test('a removal deletes at most 16 objects at once, and stops at the first failure', async () => {
  let running = 0;
  let most = 0;
  const server = await scriptedServer(async (response, seen) => {
    most = Math.max(most, ++running);
    await sleep(5);
    running -= 1;
    if (seen.path.endsWith('key-50')) refuse(response, 503, 'try later');
    else response.writeHead(204).end();
  });
  const keys = Array.from({ length: 200 }, (_, index) => `key-${index}`);
  await expect(openOn(server).remove(keys)).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
  expect(most).toBe(16);
  expect(server.requests.length).toBeGreaterThan(50);
  expect(server.requests.length).toBeLessThan(50 + 2 * 16);
});

test('H-54 a server that takes the request and says nothing fails every call within the limit', async () => {
  const server = await scriptedServer(() => undefined);
  const started = Date.now();
  const calls = Object.entries(CALLS).map(async ([name, call]) => {
    await expect(call(openOn(server, { timeout: 1 })), name).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      retriable: true,
      message: expect.stringContaining('no answer for 1 seconds'),
    });
  });
  await Promise.all(calls);
  expect(Date.now() - started).toBeGreaterThanOrEqual(990);
  expect(server.requests).toHaveLength(5);
});

test('H-54 a peer that stops reading in the middle of an upload fails it within the limit', async () => {
  const sockets: Socket[] = [];
  const server = createServer((socket) => sockets.push(socket.pause()));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const storage = openOn({ endpoint: `http://127.0.0.1:${port}` }, { timeout: 1 });
  // More than the buffers of both kernels take.
  const put = storage.put('key', body(Buffer.alloc(16 * MIB)), { ifAbsent: true });
  await expect(put).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
  expect(sockets).toHaveLength(1);
});

test('but a peer that reads slowly is none, however long the upload takes', async () => {
  let pauses = 0;
  const server = createServer((socket) => {
    let came = 0;
    socket.on('data', (data) => {
      came += data.byteLength;
      if (data.subarray(-4).toString() === '--\r\n') {
        const text = JSON.stringify({ size: String(16 * MIB) });
        socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${text.length}\r\n\r\n${text}`);
      } else if (came > (pauses + 1) * 2 * MIB) {
        pauses += 1;
        socket.pause();
        setTimeout(() => socket.resume(), 600);
      }
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const started = Date.now();
  const storage = openOn({ endpoint: `http://127.0.0.1:${port}` }, { timeout: 3 });
  await storage.put('key', body(Buffer.alloc(16 * MIB)), { ifAbsent: true });
  expect(pauses).toBeGreaterThanOrEqual(7);
  expect(Date.now() - started).toBeGreaterThan(3000);
});

test('nor is it one for the stack, which counts the time of a step from the last bytes that were taken', async () => {
  let came = 0;
  const peer = await listenSlowly({ every: 4 * MIB, pause: 500 }, (response, bytes) => {
    came = bytes;
    answer(response, 200, { size: String(32 * MIB) });
  });
  onTestFinished(() => peer.close());
  const storage = openOn({ endpoint: `http://127.0.0.1:${peer.port}` }, { chunkSize: 64 * MIB });
  const stack = storageStack(storage, { logger: silentLogger, stallTimeout: 3000, retry: { deadline: 0 } });
  const begun = performance.now();
  await stack.put('key', body(Buffer.alloc(32 * MIB)), { ifAbsent: true });
  expect(came).toBeGreaterThan(32 * MIB);
  expect(peer.pauses).toBeGreaterThanOrEqual(7);
  expect(performance.now() - begun).toBeGreaterThan(3000);
});

/** Serves the first `given` bytes of `bytes`, then does `then`. */
const partOf = (bytes: Buffer, given: number, headers: object, then: (socket: Socket) => void) =>
  scriptedServer((response) => {
    response.writeHead(200, { 'x-goog-stored-content-length': bytes.byteLength, ...headers });
    response.write(bytes.subarray(0, given), () => then(response.socket as Socket));
    if (given === 0) response.flushHeaders();
  });

test('H-54 a download that stands still fails within the limit', async () => {
  const bytes = Buffer.alloc(MIB);
  const server = await partOf(bytes, MIB / 2, { 'content-length': MIB }, () => undefined);
  let came = 0;
  const reading = (async (): Promise<void> => {
    for await (const chunk of openOn(server, { timeout: 1 }).get('key')) came += chunk.byteLength;
  })();
  await expect(reading).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
  expect(came).toBe(MIB / 2);
});

test('but a reader that takes its time is no dead peer', async () => {
  const bytes = Buffer.alloc(8 * MIB, 1);
  const server = await scriptedServer((response) => {
    response.writeHead(200, { 'content-length': bytes.byteLength }).end(bytes);
  });
  let came = 0;
  for await (const chunk of openOn(server, { timeout: 2.5 }).get('key')) {
    if (came === 0) await sleep(3500);
    came += chunk.byteLength;
  }
  expect(came).toBe(bytes.byteLength);
});

test.each([
  ['by a reset of the connection', { 'content-length': MIB }, (socket: Socket): void => void socket.resetAndDestroy()],
  ['by its end', { 'content-length': MIB }, (socket: Socket): void => void socket.end()],
  ['by its end, the length not announced', { connection: 'close' }, (socket: Socket): void => void socket.end()],
])('STOR-09 H-59 a download that is cut %s is an error', async (_how, headers, cut) => {
  const bytes = Buffer.alloc(MIB, 1);
  const server = await partOf(bytes, MIB / 2, headers, cut);
  await expect(read(openOn(server).get('key'))).rejects.toMatchObject({
    code: 'STORAGE_UNAVAILABLE',
    retriable: true,
  });
  expect(server.requests).toHaveLength(1);
});

test('STOR-09 H-59 a whole answer that is shorter than the object is an error', async () => {
  const server = await scriptedServer((response) => {
    response.writeHead(200, { 'content-length': 5, 'x-goog-stored-content-length': 10 }).end('01234');
  });
  await expect(read(openOn(server).get('key'))).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
});

test('STOR-09 an answer of which nothing says how long it is does not count as whole', async () => {
  const server = await scriptedServer((response) => void response.writeHead(200).end('all or a part'));
  await expect(read(openOn(server).get('key'))).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
});

test('STOR-09 bytes that do not have the MD5 of the object are STORAGE_CORRUPT', async () => {
  const md5 = createHash('md5').update('the right bytes').digest('base64');
  const server = await scriptedServer((response, _, number) => {
    const headers = { 'x-goog-hash': `crc32c=AAAAAA==,md5=${md5}`, 'content-length': 15 };
    response.writeHead(200, headers).end(number === 1 ? 'the right bytes' : 'the wrong bytes');
  });
  const storage = openOn(server);
  expect((await read(storage.get('key'))).toString()).toBe('the right bytes');
  await expect(read(storage.get('key'))).rejects.toMatchObject({ code: 'STORAGE_CORRUPT' });
});

test('STOR-10 a range that the server ignores is an error, not the wrong bytes', async () => {
  const server = await scriptedServer((response, seen) => {
    expect(seen.headers.range).toBe('bytes=2-3');
    response.writeHead(200, { 'content-length': 10 }).end('0123456789');
  });
  const reading = read(openOn(server).get('key', { range: { start: 2, end: 4 } }));
  await expect(reading).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
});

test('objects come as they are stored: no decompression is asked for, none is done', async () => {
  const server = await scriptedServer((response, seen) => {
    expect(seen.headers['accept-encoding']).toBe('gzip');
    response.writeHead(200, { 'content-length': 4, 'content-encoding': 'gzip' }).end('\x1f\x8b??', 'latin1');
  });
  expect((await read(openOn(server).get('key'))).toString('latin1')).toBe('\x1f\x8b??');
});

test('STOR-12 a listing is followed page by page, the next one asked for when it is needed', async () => {
  const timeCreated = '2026-11-21T10:00:00.000Z';
  const server = await scriptedServer((response, seen) => {
    const page = Number(seen.query['pageToken'] ?? '0');
    const items = [0, 1].map((index) => ({ name: `key-${page * 2 + index}`, size: '5', timeCreated }));
    // A page may be empty and yet not be the last.
    answer(response, 200, {
      ...(page === 1 ? {} : { items }),
      ...(page < 2 ? { nextPageToken: String(page + 1) } : {}),
    });
  });
  const seen: unknown[] = [];
  for await (const entry of openOn(server).list('key', { startAfter: 'key-0' })) {
    if (seen.length === 0) expect(server.requests).toHaveLength(1);
    seen.push(entry);
  }
  const modified = Date.parse(timeCreated);
  expect(seen).toEqual(['key-1', 'key-4', 'key-5'].map((key) => ({ key, size: 5, modified })));
  expect(server.requests.map(({ query }) => query['pageToken'])).toEqual([undefined, '1', '2']);
  expect(server.requests.every(({ query }) => query['prefix'] === 'key' && query['startOffset'] === 'key-0')).toBe(
    true,
  );
});

test('requests go through the proxy that the environment names', async () => {
  const proxy = await scriptedServer((response) => answer(response, 200, { size: '5' }));
  vi.stubEnv('HTTP_PROXY', proxy.endpoint);
  vi.stubEnv('NO_PROXY', '');
  onTestFinished(() => void vi.unstubAllEnvs());
  const storage = openOn({ endpoint: 'http://storage.invalid' });
  expect(await storage.stat('key')).toMatchObject({ size: 5 });
  expect(proxy.requests.map(({ headers }) => headers.host)).toEqual(['storage.invalid']);
});

test('a certificate that nobody vouches for is STORAGE_MISCONFIGURED: it does not pass by waiting', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'pgark-gcs-tls-'));
  const { certificate, key } = new CertificateAuthority(folder, 'pgark test').issue('localhost', {
    alternative: 'DNS:localhost',
  });
  let connections = 0;
  const server = createTlsServer({ cert: readFileSync(certificate), key: readFileSync(key) });
  server.on('connection', () => (connections += 1));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    rmSync(folder, { recursive: true });
  });
  const { port } = server.address() as AddressInfo;
  const error: unknown = await openOn({ endpoint: `https://localhost:${port}` })
    .stat('key')
    .catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: 'STORAGE_MISCONFIGURED', retriable: false });
  expect(connections).toBe(1);
});

test('STOR-11 leaving a read early ends its connection, reading to the end keeps it for the next', async () => {
  const bytes = Buffer.alloc(32 * MIB);
  const sockets = new Set<Socket>();
  const server = await scriptedServer((response) => {
    sockets.add(response.socket as Socket);
    response.writeHead(200, { 'content-length': bytes.byteLength }).end(bytes);
  });
  const storage = openOn(server);
  for await (const chunk of storage.get('key')) if (chunk.byteLength > 0) break;
  const [left] = [...sockets];
  await vi.waitFor(() => expect(left?.destroyed).toBe(true), 5000);
  await read(storage.get('key'));
  await read(storage.get('key'));
  expect(server.requests).toHaveLength(3);
  expect(sockets.size).toBe(2);
});
