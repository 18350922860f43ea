/**
 * Requests for the API and the page that are wrong in some way, or in none: of each kind so many that they come as far as they can.
 */
import { gzipSync } from 'node:zlib';
import { API, ROUTES } from '../../../src/daemon/http/routes/index.ts';
import { OPERATOR, VIEWER } from './scene.ts';

type Random = () => number;
const pick = <Item>(random: Random, items: readonly Item[]): Item => {
  const item = items[Math.floor(random() * items.length)];
  if (item === undefined) throw new Error('there is nothing to choose from');
  return item;
};

const NASTY = [
  '',
  '%',
  '%00',
  '%2e%2e%2f',
  '..%2f..%2fetc%2fpasswd',
  '%ff%fe',
  '%C0%AE',
  '\u00e9',
  '🙂',
  '__proto__',
  'constructor',
  'toString',
  'null',
  '-1',
  '1e9',
  '99999999999999999999',
  '0x10',
  'NaN',
  '900000000 weeks ago',
  'main',
  'latest',
  "' OR 1=1 --",
  '{{7*7}}',
  '${x}',
  '<script>',
  'a'.repeat(300),
  'a'.repeat(3000),
  '+',
  '%20',
  ';',
  '//',
  '\\',
  '*',
  '[]',
  '{}',
  'true',
] as const;
const KEYS = [
  'limit',
  'before',
  'repository',
  'time',
  'lsn',
  'xid',
  'name',
  'target',
  'exclusive',
  'timeline',
  'action',
  'backup',
  'systemId',
  'job',
  'kind',
  'state',
  '__proto__',
  'constructor',
  'x',
  '',
];
const TYPES = [
  'application/json',
  'application/json; charset=utf-16',
  'text/plain',
  'application/x-www-form-urlencoded',
  'multipart/form-data; boundary=a',
  'image/png',
  '',
];
const BODIES = [
  '{}',
  '[]',
  'null',
  '{"kind":"backup"',
  '{"kind":"nothing"}',
  '{"kind":["backup"]}',
  '{"kind":{"kind":"backup"}}',
  '{"__proto__":{"kind":"backup"}}',
  '{"constructor":1}',
  '{"kind":"backup","label":1}',
  '\u0000',
  '\ufeff{}',
  '[[[[[[[[',
  '['.repeat(20_000),
  `{"label":"${'x'.repeat(5000)}","kind":"backup"}`,
  '1e999',
  '"\\ud800"',
  'token=x',
  `token=${'%'.repeat(100)}`,
];
const HEADERS: readonly Readonly<Record<string, string>>[] = [
  {},
  { Host: '' },
  { Host: 'a b' },
  { Host: '127.0.0.1:99999999' },
  { Host: 'localhost#x' },
  { Host: 'user@localhost' },
  { Host: '[::1' },
  { Accept: 'text/html' },
  { Accept: '*/*;q=x' },
  { Range: 'bytes=0-1' },
  { 'If-None-Match': '*' },
  { Cookie: ';;=;pgark-session=x' },
  { Cookie: 'a'.repeat(5000) },
  { Authorization: 'Basic eDp5' },
  { Authorization: 'Bearer ' },
  { Origin: 'null' },
  { Origin: '://' },
  { 'Sec-Fetch-Site': 'none' },
  { 'Sec-Fetch-Site': 'x' },
  { 'Content-Encoding': 'gzip' },
  { 'X-Forwarded-For': '1.2.3.4' },
  { 'X-Http-Method-Override': 'DELETE' },
  { Expect: 'x' },
  { 'Accept-Encoding': 'br;q=1' },
  { 'Transfer-Encoding': 'gzip' },
  { Upgrade: 'websocket', Connection: 'Upgrade' },
  { 'Content-Length': '-1' },
  { 'Content-Length': '5' },
];
const METHODS = [
  ...Array<string>(10).fill('GET'),
  ...Array<string>(8).fill('POST'),
  'HEAD',
  'PUT',
  'DELETE',
  'OPTIONS',
  'TRACE',
  'FOO',
];
/** As a browser of the page, as a program, as nobody, and as one who guesses. */
const CALLERS = ['viewer', 'viewer', 'operator', 'operator', 'session', 'nobody', 'guess'] as const;
type FuzzedCaller = (typeof CALLERS)[number];

interface FuzzedRequest {
  readonly caller: FuzzedCaller;
  /** As it goes over the wire. */
  readonly bytes: Buffer;
}

const PAGE = [
  '/',
  '/clusters/{cluster}',
  '/clusters/{cluster}/restore',
  '/clusters/{cluster}/moment',
  '/clusters/{cluster}/runs/{id}',
  '/clusters/{cluster}/runs/{id}/cancel',
  '/clusters/{cluster}/backups/{id}',
  ...['stream', 'backups', 'wal', 'runs', 'repositories', 'events'].map((view) => `/clusters/{cluster}/${view}`),
];
const OTHERS = ['/livez', '/readyz', '/login', '/logout', '/metrics', '/assets/x', API, `${API}/nothing`];
/** Methods that are answered there, and the address. */
const TARGETS: readonly (readonly [method: string, path: string])[] = [
  ...ROUTES.map(({ method, path }) => [method, API + path] as const),
  ...ROUTES.map(({ method, path }) => [method, API + path] as const),
  ...PAGE.map((path) => [path.endsWith('/cancel') ? 'POST' : 'GET', path] as const),
  ['POST', '/clusters/{cluster}/runs'],
  ...OTHERS.map((path) => [/log(?:in|out)$/.test(path) ? 'POST' : 'GET', path] as const),
  ['GET', '/login'],
];
const BEGINNINGS = [
  '{"kind":"check"}',
  '{"kind":"verify","level":"chain"}',
  '{}',
  'kind=check',
  'kind=drill&level=full',
];

/** `cookie`: of a session of an operator. */
export function fuzzedRequest(random: Random, cookie: string): FuzzedRequest {
  const caller = random() < 0.9 ? pick(random, CALLERS.slice(0, -1)) : random() < 0.9 ? 'nobody' : 'guess';
  const [wanted, path] = pick(random, TARGETS);
  const method = random() < 0.85 ? wanted : pick(random, METHODS);
  const body = random() < (method === 'POST' ? 0.95 : 0.05) ? bodyOf(random) : Buffer.alloc(0);
  const isChunked = body.byteLength > 0 && random() < 0.2;
  const headers: [string, string][] = [
    ['Host', '127.0.0.1'],
    ['Connection', 'close'],
    ...credentialsOf(caller, cookie, random),
    ...(body.byteLength > 0 ? bodyHeaders(body, isChunked, random) : []),
  ];
  for (const [name, value] of Object.entries(random() < 0.3 ? pick(random, HEADERS) : {})) {
    // One that is there already takes its place, or stands beside it.
    const place = headers.findIndex(([one]) => one === name);
    if (place >= 0 && random() < 0.7) headers.splice(place, 1);
    headers.push([name, value]);
  }
  const head = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  const target = targetOf(path, random);
  const bytes = Buffer.concat([
    Buffer.from(`${method} ${target} HTTP/1.1\r\n${head}\r\n`),
    isChunked ? chunked(body, random) : body,
  ]);
  return { caller, bytes: random() < 0.06 ? damaged(bytes, random) : bytes };
}

function bodyHeaders(body: Buffer, isChunked: boolean, random: Random): readonly [string, string][] {
  const type = random() < 0.7 ? pick(random, TYPES.slice(0, 4)) : pick(random, TYPES);
  return [
    ['Content-Type', type],
    isChunked ? ['Transfer-Encoding', 'chunked'] : ['Content-Length', String(body.byteLength)],
  ];
}

function credentialsOf(caller: FuzzedCaller, cookie: string, random: Random): readonly [string, string][] {
  const bearer = (token: string): readonly [string, string][] => [['Authorization', `Bearer ${token}`]];
  switch (caller) {
    case 'viewer':
      return bearer(VIEWER);
    case 'operator':
      return bearer(OPERATOR);
    case 'session':
      return [
        ['Cookie', cookie],
        ['Sec-Fetch-Site', 'same-origin'],
        ['Accept', 'text/html'],
      ];
    case 'guess':
      return bearer(`wrong-token-${Math.floor(random() * 1e9)}`);
    case 'nobody':
      return [];
  }
}

function targetOf(given: string, random: Random): string {
  const near = (text: string): string => (random() < 0.85 ? text : encoded(pick(random, NASTY), random));
  let path = given
    .replace('{cluster}', () => near('main'))
    .replace('{id}', () => near(random() < 0.5 ? '20260101T020000Z-0001' : 'check-20261130T020000Z'));
  if (random() < 0.08)
    path = pick(random, [
      '',
      '*',
      'http://evil.example/',
      '/a b',
      `/${'x'.repeat(5000)}`,
      '/%',
      '/api/v1/../../etc',
      '//api/v1',
      '/api//v1/clusters',
      `${path}/`,
      `${path}#x`,
      path.toUpperCase(),
      path.replaceAll('/', '%2f'),
    ]);
  const query = Array.from(
    { length: Math.floor(random() * 3) },
    () => `${pick(random, KEYS)}=${encoded(pick(random, NASTY), random)}`,
  );
  return query.length > 0 && random() < 0.5 ? `${path}?${query.join('&')}` : path;
}

/** As it is, or so that it can stand in an address. */
function encoded(text: string, random: Random): string {
  if (random() < 0.4) return text;
  return encodeURIComponent(text);
}

function bodyOf(random: Random): Buffer {
  const text = pick(random, random() < 0.5 ? BEGINNINGS : BODIES);
  const way = random();
  if (way < 0.8) return Buffer.from(text);
  if (way < 0.87) return gzipSync(text);
  if (way < 0.94) return Buffer.from(text, 'utf16le');
  return Buffer.from(Array.from({ length: Math.floor(random() * 300) + 1 }, () => Math.floor(random() * 256)));
}

/** In pieces; now and then with a length that is none. */
function chunked(body: Buffer, random: Random): Buffer {
  const pieces: Buffer[] = [];
  for (let at = 0; at < body.byteLength;) {
    const piece = body.subarray(at, at + 1 + Math.floor(random() * 2000));
    at += piece.byteLength;
    const length =
      random() < 0.95 ? piece.byteLength.toString(16) : pick(random, ['-1', 'zz', '', 'ffffffffffffffffff']);
    pieces.push(Buffer.from(`${length}\r\n`), piece, Buffer.from('\r\n'));
  }
  return Buffer.concat([...pieces, Buffer.from('0\r\n\r\n')]);
}

/** With some bytes changed, put in or left out. */
function damaged(bytes: Buffer, random: Random): Buffer {
  const all = [...bytes];
  for (let times = 1 + Math.floor(random() * 4); times > 0; times--) {
    const at = Math.floor(random() * all.length);
    const byte = Math.floor(random() * 256);
    const way = random();
    if (way < 0.4) all[at] = byte;
    else if (way < 0.7) all.splice(at, 0, byte);
    else all.splice(at, 1 + Math.floor(random() * 8));
  }
  return Buffer.from(all);
}
