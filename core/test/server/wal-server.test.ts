import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FaultyRepository } from '../../../test/support/faulty-repository.ts';
import { until } from '../../../test/support/until.ts';
import { Secret } from '../../src/contracts/secret.ts';
import type { Storage } from '../../src/contracts/storage.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { serveWal } from '../../src/server/wal-server.ts';
import { keysOf, memoryRepository, memoryStorage, pluginContext } from '../repository/repository.ts';
import { SEGMENT_SIZE, SYSTEM_ID, walSegment } from '../wal-command/segments.ts';
import { ask, SERVE_DEFAULTS, serving, target, TOKEN } from './serving.ts';

const { logger } = pluginContext;
let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pgark-serving-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const HISTORY = Buffer.from('1\t0/5000000\tno recovery target specified\n');

/** Segments 5 and 6 and the history of timeline 2. */
async function archive(storage?: Storage): Promise<Repository> {
  const repository = await memoryRepository(storage === undefined ? {} : { storage });
  await repository.open({ create: true });
  const wal = repository.wal(SYSTEM_ID);
  for (const number of [5n, 6n]) {
    const { name, bytes } = walSegment(number);
    await wal.push(name, { bytes });
  }
  await wal.push('00000002.history', { bytes: HISTORY });
  return repository;
}

test('a whole, verified file is given with its length and digest, and nothing of it stays on the disk', async () => {
  const server = await serving({ repositories: [await archive()], config: { ...SERVE_DEFAULTS, folder } });
  for (const [name, bytes] of [
    [walSegment(5n).name, walSegment(5n).bytes],
    ['00000002.history', HISTORY],
  ] as const) {
    const { status, headers, body } = await ask(server, target(name));
    expect(status).toBe(200);
    expect(body.equals(bytes)).toBe(true);
    expect(headers).toMatchObject({
      'content-length': String(bytes.byteLength),
      'content-type': 'application/vnd.pgark.wal',
      'repr-digest': `sha-256=:${createHash('sha256').update(bytes).digest('base64')}:`,
      'cache-control': 'no-store',
    });
    const head = await ask(server, target(name), { method: 'HEAD' });
    expect(head).toMatchObject({ status: 200, headers: { 'content-length': String(bytes.byteLength) } });
    expect(head.body.byteLength).toBe(0);
  }
  expect(readdirSync(folder)).toEqual([]);
});

test('H-26 what no place has is 404, in words that name it, for every kind of name', async () => {
  const server = await serving({ repositories: [await archive()] });
  for (const name of [
    walSegment(7n).name,
    walSegment(5n, { timeline: 2 }).name,
    '00000003.history',
    `${walSegment(5n).name}.00000028.backup`,
    `${walSegment(6n).name}.partial`,
  ]) {
    const { status, body, headers } = await ask(server, target(name));
    expect([status, body.toString()]).toEqual([404, `pgark: no such WAL file: main/${SYSTEM_ID}/${name}\n`]);
    expect(headers['cache-control']).toBe('no-store');
    expect((await ask(server, target(name), { method: 'HEAD' })).status).toBe(404);
  }
});

test('the newest segment is given as far as it was received, filled up to its size: from the spool, and from slices', async () => {
  const repository = await archive();
  const { name, bytes } = walSegment(7n, { written: 3000 });
  await repository.wal(SYSTEM_ID).pushTail(name, 0, 2000, bytes.subarray(0, 2000));
  const server = await serving({ repositories: [repository], spool: folder });
  const short = walSegment(7n, { written: 2000 }).bytes;
  expect((await ask(server, target(name))).body.equals(short)).toBe(true);
  mkdirSync(join(folder, 'main', SYSTEM_ID), { recursive: true });
  writeFileSync(join(folder, 'main', SYSTEM_ID, `${name}.partial`), bytes);
  const { status, body } = await ask(server, target(name));
  expect([status, body.byteLength]).toEqual([200, SEGMENT_SIZE]);
  expect(body.equals(bytes)).toBe(true);
});

test('H-27 without a valid token there is no answer but 401, whatever is asked for and however', async () => {
  const server = await serving({ repositories: [await archive()] });
  const { name } = walSegment(5n);
  for (const path of [
    target(name),
    target(walSegment(99n).name),
    '/',
    '/v1/other/1/wal/x',
    '/healthz?',
    '/healthz/',
    '//healthz',
  ])
    for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE'])
      for (const token of ['', 'wrong', `${TOKEN}x`, TOKEN.slice(1), TOKEN.toUpperCase()]) {
        const { status, headers, body } = await ask(server, path, { method, token });
        expect(status, `${method} ${path} ${token}`).toBe(401);
        expect(headers['www-authenticate']).toBe('Bearer realm="pgark"');
        expect(body.toString()).not.toContain(name);
      }
  const schemes = [
    TOKEN,
    `Basic ${TOKEN}`,
    `Bearer${TOKEN}`,
    `Bearer ${TOKEN} ${TOKEN}`,
    'Bearer ',
    `Bearer "${TOKEN}"`,
  ];
  for (const authorization of schemes)
    expect((await ask(server, target(name), { token: '', headers: { Authorization: authorization } })).status).toBe(
      401,
    );
  expect((await ask(server, target(name), { token: '', headers: { Authorization: `bearer ${TOKEN}` } })).status).toBe(
    200,
  );
});

test('requests without a token do not fill the log', async () => {
  const lines: Readonly<Record<string, unknown>>[] = [];
  const warn = (fields: Readonly<Record<string, unknown>>): void => void lines.push(fields);
  const server = await serving({ repositories: [await archive()], logger: { ...logger, warn } });
  for (let count = 0; count < 50; count++) expect((await ask(server, '/', { token: '' })).status).toBe(401);
  expect(lines).toEqual([{ from: '127.0.0.1', requests: 1 }]);
});

test('whether it runs is told to everyone, and nothing else', async () => {
  const server = await serving({ repositories: [await archive()] });
  expect(await ask(server, '/healthz', { token: '' })).toMatchObject({ status: 200, body: Buffer.from('ok\n') });
  expect((await ask(server, '/healthz', { token: '', method: 'POST' })).status).toBe(401);
});

test('names, methods, bodies and clusters that are none of ours are refused, and never with 404', async () => {
  const server = await serving({ repositories: [await archive()] });
  const good = target(walSegment(5n).name);
  for (const path of [`${good}?`, `${good}/`, target('pgark.json'), '/v1/main', '/v1/main/pgark.json', '/', '/metrics'])
    expect((await ask(server, path)).status, path).toBe(400);
  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
    const { status, headers } = await ask(server, good, { method });
    expect([status, headers['allow']], method).toEqual([405, 'GET, HEAD']);
  }
  expect((await ask(server, good.replace('main', 'other'))).status).toBe(421);
  // The archive has nothing of this cluster: it may be the wrong archive.
  const foreign = await ask(server, good.replace(SYSTEM_ID, '42'));
  expect([foreign.status, foreign.body.toString()]).toEqual([503, expect.stringContaining('REPOSITORY_NOT_FOUND')]);
});

test('H-20 a hole in the WAL is 503, not 404', async () => {
  const repository = await archive();
  const { name, bytes } = walSegment(8n);
  await repository.wal(SYSTEM_ID).push(name, { bytes });
  const server = await serving({ repositories: [repository] });
  const { status, body } = await ask(server, target(walSegment(7n).name));
  expect([status, body.toString()]).toEqual([503, expect.stringMatching(/^pgark: WAL_GAP: /)]);
  expect((await ask(server, target(walSegment(9n).name))).status).toBe(404);
});

test('two contents of one name are 409: asking again does not help', async () => {
  const repository = await archive();
  const { name, bytes } = walSegment(5n, { fill: 9 });
  await repository
    .wal(SYSTEM_ID)
    .push(name, { bytes })
    .catch(() => undefined); // refused: what is there stays
  const other = await memoryRepository({ name: 'other' });
  await other.open({ create: true });
  await other.wal(SYSTEM_ID).push(name, { bytes });
  const key = (await keysOf(other.storage)).find((each) => each.includes(name)) ?? '';
  await repository.storage.put(key, other.storage.get(key), { ifAbsent: true });
  const server = await serving({ repositories: [repository] });
  const { status, body } = await ask(server, target(name));
  expect([status, body.toString()]).toEqual([409, expect.stringMatching(/^pgark: WAL_CONFLICT: /)]);
});

test('H-20 a storage that fails is 503 with a time to come again, for what is there and what is not; afterwards all is as before', async () => {
  const faulty = new FaultyRepository('primary', folder);
  await faulty.repository.open({ create: true });
  const { name, bytes } = walSegment(5n);
  await faulty.repository.wal(SYSTEM_ID).push(name, { bytes });
  const server = await serving({ repositories: [faulty.repository] });
  const asked = [name, walSegment(6n).name, '00000002.history'];
  faulty.state = 'fails';
  for (const each of asked) {
    const { status, headers, body } = await ask(server, target(each));
    expect([status, headers['retry-after']], each).toEqual([503, '2']);
    expect(body.toString()).toMatch(/^pgark: STORAGE_UNAVAILABLE: /);
  }
  expect(faulty.faults).toBeGreaterThan(2);
  faulty.state = 'works';
  expect(await Promise.all(asked.map(async (each) => (await ask(server, target(each))).status))).toEqual([
    200, 404, 404,
  ]);
});

test('H-20 of two repositories one that fails makes "there is none" unknown, and a whole file is given all the same', async () => {
  const [one, other] = [new FaultyRepository('one', folder), new FaultyRepository('other', folder)];
  const { name, bytes } = walSegment(5n);
  for (const { repository } of [one, other]) {
    await repository.open({ create: true });
    await repository.wal(SYSTEM_ID).push(name, { bytes });
  }
  const server = await serving({ repositories: [one.repository, other.repository] });
  one.state = 'fails';
  expect((await ask(server, target(name))).status).toBe(200);
  expect((await ask(server, target(walSegment(6n).name))).status).toBe(503);
  one.state = 'works';
  expect((await ask(server, target(walSegment(6n).name))).status).toBe(404);
});

test('H-25 of a damaged object no byte is given', async () => {
  const storage = await memoryStorage();
  const repository = await archive(storage);
  const { name } = walSegment(5n);
  const key = (await keysOf(storage)).find((each) => each.includes(name)) ?? '';
  const chunks: Uint8Array[] = [];
  for await (const chunk of storage.get(key)) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  for (const damaged of [bytes.subarray(0, -1), Buffer.concat([bytes, Buffer.from([0])]), flipped(bytes)]) {
    await storage.remove([key]);
    await storage.put(key, one(damaged), { ifAbsent: true });
    const server = await serving({ repositories: [repository], config: { ...SERVE_DEFAULTS, folder } });
    const { status, body } = await ask(server, target(name));
    expect([status, body.toString()]).toEqual([503, expect.stringMatching(/^pgark: [A-Z_]+: .*\n$/)]);
    expect((await ask(server, target(name), { method: 'HEAD' })).status).toBe(503);
    expect(readdirSync(folder)).toEqual([]);
  }
});

function flipped(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy[copy.byteLength - 20] = (copy[copy.byteLength - 20] ?? 0) ^ 1;
  return copy;
}

async function* one(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

test('a disk that takes nothing is 503', async () => {
  const gone = join(folder, 'gone');
  const server = await serving({ repositories: [await archive()], config: { ...SERVE_DEFAULTS, folder: gone } });
  const { status, body } = await ask(server, target(walSegment(5n).name));
  expect([status, body.toString()]).toEqual([503, expect.stringContaining('RESTORE_FAILED')]);
});

test('a client that leaves while its file is fetched ends the fetching, and makes room for others', async () => {
  const faulty = new FaultyRepository('primary', folder);
  await faulty.repository.open({ create: true });
  const { name, bytes } = walSegment(5n);
  await faulty.repository.wal(SYSTEM_ID).push(name, { bytes });
  const server = await serving({ repositories: [faulty.repository], config: { ...SERVE_DEFAULTS, maxFetches: 1 } });
  faulty.state = 'hangs';
  const leave = new AbortController();
  const left = ask(server, target(name), { signal: leave.signal });
  await until('the storage hangs', () => faulty.faults > 0);
  leave.abort();
  await expect(left).rejects.toThrow();
  faulty.state = 'works';
  expect((await ask(server, target(name))).status).toBe(200);
});

test('when it stops, what is under way ends, and nothing new begins', async () => {
  const faulty = new FaultyRepository('primary', folder);
  await faulty.repository.open({ create: true });
  const { name, bytes } = walSegment(5n);
  await faulty.repository.wal(SYSTEM_ID).push(name, { bytes });
  const server = await serving({ repositories: [faulty.repository] });
  faulty.state = 'hangs';
  const first = ask(server, target(name));
  await until('the storage hangs', () => faulty.faults > 0);
  const closed = server.close();
  await expect(ask(server, target(name))).rejects.toThrow(/ECONNREFUSED/);
  faulty.state = 'works';
  expect((await first).body.equals(bytes)).toBe(true);
  await closed;
});

test('when it stops, it does not wait for ever', async () => {
  const faulty = new FaultyRepository('primary', folder);
  await faulty.repository.open({ create: true });
  const server = await serving({ repositories: [faulty.repository] });
  faulty.state = 'hangs';
  const first = ask(server, target(walSegment(5n).name));
  await until('the storage hangs', () => faulty.faults > 0);
  await Promise.all([expect(first).rejects.toThrow(), server.close(50)]);
  faulty.state = 'works';
});

test.each([
  ['0.0.0.0:0', {}, /without TLS$/],
  ['[::]:0', {}, /without TLS$/],
  ['192.0.2.1:8732', { token: undefined }, /without TLS and without credentials$/],
  ['localhost.example.com:0', {}, /without TLS$/],
  ['127.0.0.1.example.com:0', {}, /without TLS$/],
])('an address that others reach, %s, is refused without protection', async (listen, given, message) => {
  const options = { repositories: [await archive()] as const, logger, config: { ...SERVE_DEFAULTS, listen } };
  const token = 'token' in given ? {} : { token: new Secret(TOKEN) };
  await expect(serveWal({ ...options, ...token })).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringMatching(message) as string,
    hint: expect.stringContaining('serve.tls') as string,
  });
});

test('a port that is taken, a token that can be guessed and files that are not there are errors that say so', async () => {
  const repositories = [await archive()] as const;
  const server = await serving({ repositories });
  const start = (config: Partial<typeof SERVE_DEFAULTS>, token = TOKEN): Promise<unknown> =>
    serveWal({ repositories, logger, token: new Secret(token), config: { ...SERVE_DEFAULTS, ...config } });
  await expect(start({ listen: new URL(server.url).host })).rejects.toThrow(
    /cannot listen on 127\.0\.0\.1.*EADDRINUSE/,
  );
  await expect(start({}, 'short')).rejects.toThrow(/at least|16 to 1024/);
  await expect(start({}, 'with spaces in between')).rejects.toThrow(/without spaces/);
  const missing = join(folder, 'none.pem');
  await expect(start({ tls: { certificate: missing, key: missing } })).rejects.toThrow(
    /serve\.tls\.\w+: cannot read .*ENOENT/,
  );
  writeFileSync(missing, 'nonsense');
  await expect(start({ tls: { certificate: missing, key: missing } })).rejects.toThrow(/cannot be used/);
});
