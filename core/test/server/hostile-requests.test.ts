/** H-27: what a client can send that is not a request of ours. */
import fc from 'fast-check';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { fsRepository } from '../../../test/support/fs-repository.ts';
import type { Storage } from '../../src/contracts/storage.ts';
import { Secret } from '../../src/contracts/secret.ts';
import { parseWalKey, parseTailKey, walPrefix } from '../../src/repository/layout.ts';
import { serveWal, type WalServer } from '../../src/server/wal-server.ts';
import { pluginContext } from '../repository/repository.ts';
import { SYSTEM_ID, walSegment } from '../wal-command/segments.ts';
import { say, SERVE_DEFAULTS, target, TOKEN } from './serving.ts';

// They wait for others more than they compute; a busy machine makes them wait longer.
vi.setConfig({ testTimeout: 120_000 });

const SECRET = 'the-content-that-must-never-be-seen';
const { name: NAME } = walSegment(5n);
/** What a request asked of the storage that is not WAL of the archive. */
const strayed: string[] = [];
let looked = 0;
let folder = '';
let server: WalServer;

/** Notes every key that is asked for outside of the WAL and the format marker. */
function watched(storage: Storage): Storage {
  const prefix = walPrefix('main', SYSTEM_ID);
  const note = (key: string, allowed: boolean): void => {
    looked++;
    if (!allowed) strayed.push(key);
  };
  const file = (key: string): boolean => {
    if (key === 'main/pgark.json') return true;
    const below = key.startsWith(prefix) ? key.slice(prefix.length) : '';
    return parseWalKey(below) !== undefined || parseTailKey(below) !== undefined;
  };
  return {
    capabilities: storage.capabilities,
    put: (...call) => storage.put(...call),
    stat: (...call) => storage.stat(...call),
    remove: (...call) => storage.remove(...call),
    close: () => storage.close(),
    get: (key, options) => {
      note(key, file(key));
      return storage.get(key, options);
    },
    list: (below, options) => {
      note(below, /^main\/(?:\d{1,20}\/wal\/[0-9A-Za-z./-]*)?$/.test(below) && !below.includes('..'));
      return storage.list(below, options);
    },
  };
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'pgark-hostile-'));
  const repository = await fsRepository(join(folder, 'repository'), { wrap: watched });
  await repository.open({ create: true });
  await repository.wal(SYSTEM_ID).push(NAME, { bytes: walSegment(5n).bytes });
  for (const place of [
    '',
    'repository',
    'repository/main',
    `repository/main/${SYSTEM_ID}/wal`,
    `spool/main/${SYSTEM_ID}`,
    'serve',
  ]) {
    mkdirSync(join(folder, place), { recursive: true });
    writeFileSync(join(folder, place, 'secret'), SECRET);
  }
  server = await serveWal({
    repositories: [repository],
    spool: join(folder, 'spool'),
    token: new Secret(TOKEN),
    logger: pluginContext.logger,
    config: { ...SERVE_DEFAULTS, folder: join(folder, 'serve') },
  });
});
afterAll(async () => {
  await server.close(0);
  rmSync(folder, { recursive: true });
});

const AUTHORIZED = `Authorization: Bearer ${TOKEN}\r\n`;
const request = (line: string, more = ''): string => `${line}\r\nHost: x\r\n${more}Connection: close\r\n\r\n`;
/** The statuses of the answers that came back on one connection. */
const statuses = (said: string): number[] =>
  [...said.matchAll(/^HTTP\/1\.1 (\d{3}) /gm)].map(([, code]) => Number(code));

test('the scene works: a plain request gets the segment', async () => {
  looked = 0;
  const said = await say(server, request(`GET ${target(NAME)} HTTP/1.1`, AUTHORIZED));
  expect(statuses(said)).toEqual([200]);
  expect(looked).toBeGreaterThan(0);
});

/** Ways up, each written in several encodings. */
const UP = [
  '../',
  '..%2f',
  '..%2F',
  '%2e%2e/',
  '%2e%2e%2f',
  '%252e%252e%252f',
  '..\\',
  '..%5c',
  '.%00./',
  '..;/',
  '\u{ff0e}\u{ff0e}/',
  '..%c0%af',
  '%c0%ae%c0%ae/',
  '..//',
  './/../',
];

test('H-27 no path leads out of the WAL, however it is written', async () => {
  const base = `/v1/main/${SYSTEM_ID}/wal`;
  const paths = UP.flatMap((up) => [
    ...[1, 2, 3, 4, 8].flatMap((times) => [
      `${base}/${up.repeat(times)}secret`,
      `${base}/${NAME}/${up.repeat(times)}secret`,
      `/v1/${up.repeat(times)}secret`,
      `/${up.repeat(times)}secret`,
    ]),
    `/v1/main/${up}main/wal/${NAME}`,
    `${base}/${up}wal/${NAME}`,
    `${up}${base}/${NAME}`,
  ]);
  paths.push(
    `file://${folder}/secret`,
    `http://x${base}/../secret`,
    `${folder}/secret`,
    `/${folder}/secret`,
    `${base}/secret`,
    `${base}/${NAME}\0`,
    `${base}/${NAME}%00.history`,
  );
  for (const path of paths) {
    const said = await say(server, request(`GET ${path} HTTP/1.1`, AUTHORIZED), 2000);
    expect(said, path).not.toContain(SECRET);
    expect(statuses(said), path).toEqual([400]);
  }
  expect(strayed).toEqual([]);
});

test('H-27 absolute addresses, the asterisk and CONNECT name nothing', async () => {
  const { host } = new URL(server.url);
  for (const line of [
    `GET http://${host}${target(NAME)} HTTP/1.1`,
    `GET http://evil/secret HTTP/1.1`,
    'GET * HTTP/1.1',
  ])
    expect(statuses(await say(server, request(line, AUTHORIZED))), line).toEqual([400]);
  expect(statuses(await say(server, request('OPTIONS * HTTP/1.1', AUTHORIZED)))).toEqual([405]);
  expect(statuses(await say(server, request(`CONNECT ${host} HTTP/1.1`, AUTHORIZED)))).not.toContain(200);
});

test('H-27 paths and heads that are very long are refused', async () => {
  for (const length of [2000, 15_000, 100_000, 1_000_000]) {
    const said = await say(server, request(`GET ${target(NAME)}${'0'.repeat(length)} HTTP/1.1`, AUTHORIZED), 2000);
    for (const status of statuses(said)) expect([400, 431]).toContain(status);
    const head = await say(
      server,
      request(`GET ${target(NAME)} HTTP/1.1`, `${AUTHORIZED}X: ${'x'.repeat(length)}\r\n`),
      2000,
    );
    if (length > 16_384) expect(statuses(head)).not.toContain(200);
  }
});

/** A second request that hides in the first one, and would give the segment to someone without a token. */
const HIDDEN = `GET ${target(NAME)} HTTP/1.1\r\nHost: x\r\n\r\n`;

test('H-27 no request hides in another one', async () => {
  const length = Buffer.byteLength(HIDDEN);
  const heads: readonly (readonly [head: string, body: string])[] = [
    [`Content-Length: ${length}\r\n`, HIDDEN],
    [`Content-Length: ${length}\r\nContent-Length: 0\r\n`, HIDDEN],
    [`Content-Length: 0, ${length}\r\n`, HIDDEN],
    [`Content-Length: +0\r\n`, HIDDEN],
    [`Content-Length : 0\r\n`, HIDDEN],
    [`Content-Length: ${length}\r\nTransfer-Encoding: chunked\r\n`, `0\r\n\r\n${HIDDEN}`],
    [`Transfer-Encoding: chunked\r\nContent-Length: ${length}\r\n`, `0\r\n\r\n${HIDDEN}`],
    ['Transfer-Encoding: chunked\r\n', `${length.toString(16)}\r\n${HIDDEN}\r\n0\r\n\r\n`],
    ['Transfer-Encoding: xchunked\r\n', HIDDEN],
    ['Transfer-Encoding: chunked, identity\r\n', HIDDEN],
    ['Transfer-Encoding:\tchunked\r\n', `0\r\n\r\n${HIDDEN}`],
    ['Transfer-Encoding\r\n : chunked\r\n', HIDDEN],
    ['X: y\n', HIDDEN],
    ['X: y\r', HIDDEN],
    ['Upgrade: h2c\r\nConnection: Upgrade\r\n', HIDDEN],
    ['Expect: 100-continue\r\n', HIDDEN],
    ['Expect: nonsense\r\n', HIDDEN],
  ];
  for (const credentials of [AUTHORIZED, ''])
    for (const path of [target(NAME), '/healthz'])
      for (const [head, body] of heads) {
        const text = `GET ${path} HTTP/1.1\r\nHost: x\r\n${credentials}${head}\r\n${body}`;
        const said = await say(server, text);
        const got = statuses(said);
        const bodies = said.split(/^HTTP\/1\.1 /m).filter((part) => part.startsWith('200') && part.length > 10_000);
        // At most what the first request itself may have, and nothing for the hidden one.
        expect(bodies.length, JSON.stringify(text)).toBeLessThanOrEqual(
          credentials !== '' && path !== '/healthz' ? 1 : 0,
        );
        expect(got.filter((status) => status === 200).length, JSON.stringify(text)).toBeLessThanOrEqual(1);
      }
});

test('H-27 a request with a body gets nothing, and its connection ends', async () => {
  for (const [head, body] of [
    ['Content-Length: 5\r\n', 'hello'],
    ['Transfer-Encoding: chunked\r\n', '5\r\nhello\r\n0\r\n\r\n'],
  ]) {
    const said = await say(server, `GET ${target(NAME)} HTTP/1.1\r\nHost: x\r\n${AUTHORIZED}${head}\r\n${body}`);
    expect(statuses(said)).toEqual([400]);
    expect(said).toMatch(/^connection: close\r$/im);
  }
});

test('H-27 requests that come before the answer to the last one end the connection', async () => {
  const one = `GET ${target(NAME)} HTTP/1.1\r\nHost: x\r\n${AUTHORIZED}\r\n`;
  const said = await say(server, one.repeat(50), 1000);
  expect(statuses(said).length).toBeLessThanOrEqual(1);
  // One after the other on one connection is what clients do.
  const alone = await say(server, one);
  expect(statuses(alone)).toEqual([200]);
});

test('H-27 whatever bytes come, the server answers others, reads nothing but WAL, and gives nothing without a credential', async () => {
  const piece = fc.oneof(
    fc.constantFrom(
      ...UP,
      'secret',
      NAME,
      SYSTEM_ID,
      'main',
      '/v1/',
      '/wal/',
      '\r\n',
      '\r\n\r\n',
      '\0',
      ' ',
      'GET ',
      'HTTP/1.1',
      AUTHORIZED,
      'Host: x\r\n',
      'Content-Length: 3\r\n',
    ),
    fc.string({ unit: 'binary', maxLength: 12 }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 14 }), fc.boolean(), async (pieces, authorized) => {
      const middle = pieces.filter((each) => authorized || each !== AUTHORIZED).join('');
      const said = await say(server, request(`GET ${target('')}${middle} HTTP/1.1`, authorized ? AUTHORIZED : ''), 100);
      expect(said).not.toContain(SECRET);
      if (!authorized) for (const status of statuses(said)) expect([400, 401, 431]).toContain(status);
    }),
    { numRuns: 300 },
  );
  expect(strayed).toEqual([]);
  expect(statuses(await say(server, request(`GET ${target(NAME)} HTTP/1.1`, AUTHORIZED)))).toEqual([200]);
});
