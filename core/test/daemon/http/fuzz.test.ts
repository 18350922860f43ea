/** H-27: whatever a client sends, it is answered with its own fault, and the daemon goes on. */
import { connect } from 'node:net';
import { once } from 'node:events';
import { expect, test, vi } from 'vitest';
import { randomFrom } from '../../../../test/support/random.ts';
import { API, ROUTES } from '../../../src/daemon/http/routes/index.ts';
import { ask, OPERATOR, scene, VIEWER, type Scene } from './scene.ts';

vi.setConfig({ testTimeout: 300_000 });

const ROUNDS = process.env['PGARK_TEST_FULL'] === '1' ? 20_000 : 480;

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

/** A request as it goes over the wire. Most are nearly right, so that they come as far as they can. */
function request(random: Random): string {
  const paths = [
    ...ROUTES.map(({ path }) => API + path),
    '/livez',
    '/readyz',
    '/login',
    '/logout',
    '/metrics',
    '/assets/x',
    '/',
    API,
    `${API}/nothing`,
  ];
  const near = (text: string): string => (random() < 0.75 ? text : pick(random, NASTY));
  let path = pick(random, paths)
    .replace('{cluster}', () => near('main'))
    .replace('{id}', () => near('20260101T020000Z-0001'));
  if (random() < 0.1)
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
    ]);
  const query = Array.from({ length: Math.floor(random() * 3) }, () => `${pick(random, KEYS)}=${pick(random, NASTY)}`);
  if (query.length > 0 && random() < 0.7) path += `?${query.join('&')}`;
  const method = pick(random, METHODS);
  const body = random() < 0.5 ? pick(random, BODIES) : '';
  const headers: Record<string, string> = {
    Host: '127.0.0.1',
    Connection: 'close',
    // Of operators a request may begin something, which is no fault.
    ...(random() < 0.8 && { Authorization: `Bearer ${random() < 0.5 ? VIEWER : OPERATOR}` }),
    ...(body !== '' && { 'Content-Type': random() < 0.7 ? 'application/json' : pick(random, TYPES) }),
    ...(body !== '' && { 'Content-Length': String(Buffer.byteLength(body)) }),
    ...(random() < 0.5 && pick(random, HEADERS)),
  };
  const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\n${head.join('')}\r\n${body}`;
}

/** Sends bytes and gives all that comes back. */
async function say({ server }: Scene, bytes: string): Promise<string> {
  const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
  let said = '';
  socket.on('data', (data: Buffer) => (said += data.toString('latin1')));
  socket.on('error', () => undefined); // a connection that is cut is an answer too
  socket.setTimeout(2000, () => socket.destroy());
  socket.write(bytes);
  await once(socket, 'close');
  return said;
}

test('H-27 no request makes the daemon fail', async () => {
  const seed = Number(process.env['PGARK_TEST_SEED'] ?? Date.now() % 1_000_000_000);
  process.stdout.write(`fuzz of the API: PGARK_TEST_SEED=${seed}\n`);
  const random = randomFrom(seed);
  const opened = await scene();
  const statuses = new Map<number, number>();
  let open = 0;
  for (let done = 0; done < ROUNDS; done += 16) {
    await Promise.all(
      Array.from({ length: 16 }, async () => {
        const bytes = request(random);
        const said = await say(opened, bytes);
        const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(said)?.[1] ?? 0);
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        // Readiness is 503 here, as nobody streams; a storage or a line that is busy never is here but for plans.
        const health = bytes.split(' ')[1]?.startsWith('/readyz') ?? false;
        const busy = /"code":"(?:DAEMON_BUSY|ABORTED)"/.test(said);
        const waiting = status === 417 || (status === 503 && (health || busy));
        expect(status >= 500 && !waiting ? `${bytes.slice(0, 600)}\n=>\n${said.slice(0, 600)}` : '').toBe('');
        expect(said).not.toMatch(/access-control-allow|\bat [\w.<>]+ \(|node_modules/i);
        if (
          status >= 400 &&
          status !== 417 &&
          /content-type: application\/json/i.test(said) &&
          !bytes.startsWith('HEAD')
        )
          expect(said).toMatch(/"error":\{"code":"[A-Z_]+"|"status":"failed"/);
        if (status === 0) open++;
      }),
    );
  }
  process.stdout.write(`${JSON.stringify(Object.fromEntries(statuses))}\n`);
  // The fuzz came through to the routes as well as to what is before them.
  for (const status of [200, 400, 401, 404, 405]) expect(statuses.get(status) ?? 0, String(status)).toBeGreaterThan(0);
  expect(open).toBeLessThan(ROUNDS / 10);
  expect((await ask(opened.server, API)).status).toBe(200);
  expect(opened.logs.filter((line) => line.startsWith('error') && line.includes('a request has failed'))).toEqual([]);
});

test.each([
  ['a body that is too large', 'x'.repeat(70_000), 413, 'REQUEST_TOO_LARGE'],
  ['one that says so', '', 413, 'REQUEST_TOO_LARGE'],
] as const)('%s is refused before it is read whole', async (_, text, status, code) => {
  const opened = await scene();
  const length = text === '' ? 10_000_000_000 : undefined;
  const head = `POST ${API}/clusters/main/runs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${OPERATOR}\r\nContent-Type: application/json\r\n`;
  const body =
    length === undefined
      ? `Transfer-Encoding: chunked\r\n\r\n${text.length.toString(16)}\r\n${text}\r\n`
      : `Content-Length: ${length}\r\n\r\n{`;
  const said = await say(opened, head + body);
  expect(said).toContain(`HTTP/1.1 ${status} `);
  expect(said).toContain(code);
});
