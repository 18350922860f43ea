/**
 * H-27: whatever a client sends, it is answered with its own fault, and the daemon goes on. `PGARK_TEST_REQUESTS` says how many are sent,
 * `PGARK_TEST_SEED` which; `npm run fuzz -- --api 20000` is the long run.
 */
import { connect } from 'node:net';
import { once } from 'node:events';
import { expect, test, vi } from 'vitest';
import { later } from '../../../../test/support/later.ts';
import { randomFrom } from '../../../../test/support/random.ts';
import { Metrics } from '../../../src/daemon/metrics/metrics.ts';
import { mountedPage } from '../../../src/daemon/page/mounted-page.ts';
import { API } from '../../../src/daemon/http/routes/index.ts';
import { fuzzedRequest } from './fuzzed-request.ts';
import { ask, OPERATOR, scene, type Scene } from './scene.ts';

vi.setConfig({ testTimeout: 1_800_000 });

const REQUESTS = Number(process.env['PGARK_TEST_REQUESTS'] ?? (process.env['PGARK_TEST_FULL'] === '1' ? 20_000 : 480));
const AT_ONCE = 16;

/** Sends bytes and gives all that comes back. */
async function say({ server }: Scene, bytes: string | Buffer): Promise<string> {
  const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
  let said = '';
  socket.on('data', (data: Buffer) => (said += data.toString('latin1')));
  socket.on('error', () => undefined); // a connection that is cut is an answer too
  socket.setTimeout(2000, () => socket.destroy());
  socket.write(bytes);
  await once(socket, 'close');
  return said;
}

/** The cookie of a session of an operator. */
async function session({ server }: Scene): Promise<string> {
  const answer = await ask(server, '/login', {
    method: 'POST',
    token: '',
    body: { token: OPERATOR },
    headers: { 'Sec-Fetch-Site': 'same-origin' },
  });
  return answer.headers['set-cookie']?.[0]?.split(';')[0] ?? '';
}

/** Why an answer must not be; empty for one that may. */
function faultOf(request: string, said: string): string {
  const told = `${request.slice(0, 600)}\n=>\n${said.slice(0, 600)}`;
  for (const [, code] of said.matchAll(/^HTTP\/1\.1 (\d{3}) /gm)) {
    const status = Number(code);
    if (status < 500) continue;
    // Busy, or the health of a daemon that receives nothing here; of HEAD there is no body that says so.
    const isBusy = /"code":"DAEMON_BUSY"|<title>Busy|"status":"failed"/.test(said) || request.startsWith('HEAD ');
    if (status !== 503 || !isBusy || !/^retry-after: \d+\r$/im.test(said)) return told;
  }
  if (/access-control-allow|\bat [\w.<> ]+ \((?:file:|node:|\/)|node_modules/i.test(said)) return told;
  const [, first = ''] = /^HTTP\/1\.1 (\d{3}) /.exec(said) ?? [];
  const isJson = /^content-type: application\/json/im.test(said) && !request.startsWith('HEAD ');
  return Number(first) >= 400 && isJson && !/"error":\{"code":"[A-Z_]+"|"status":"failed"/.test(said) ? told : '';
}

test('H-27 no request makes the daemon fail', async () => {
  const seed = Number(process.env['PGARK_TEST_SEED'] ?? Date.now() % 1_000_000_000);
  process.stdout.write(`fuzz of the API: ${REQUESTS} requests, PGARK_TEST_SEED=${seed}\n`);
  const random = randomFrom(seed);
  const opened = await scene({
    page: (daemon) => mountedPage(daemon),
    metrics: (daemon) => later(new Metrics(daemon), (metrics) => metrics.close()),
  });
  let cookie = await session(opened);
  expect(cookie).toContain('pgark-session');
  const statuses = new Map<string, Map<number, number>>();
  let sent = 0;
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (sent < REQUESTS) {
        sent++;
        const { caller, bytes } = fuzzedRequest(random, cookie);
        const said = await say(opened, bytes);
        const of = statuses.get(caller) ?? new Map<number, number>();
        // 0: cut off, or nothing said of what is not whole.
        const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(said)?.[1] ?? 0);
        statuses.set(caller, of.set(status, (of.get(status) ?? 0) + 1));
        expect(faultOf(bytes.toString('latin1'), said)).toBe('');
        // It has signed out.
        if (/^set-cookie: [^\r]*Max-Age=0/im.test(said)) cookie = await session(opened);
      }
    }),
  );
  const counted = (status: number): number =>
    [...statuses.values()].reduce((sum, of) => sum + (of.get(status) ?? 0), 0);
  for (const [caller, of] of statuses) process.stdout.write(`${caller}: ${JSON.stringify(Object.fromEntries(of))}\n`);
  // The fuzz came through to the routes as well as to what is before them.
  for (const status of [200, 400, 401, 404, 405]) expect(counted(status), String(status)).toBeGreaterThan(0);
  expect(counted(0)).toBeLessThan(REQUESTS / 10);
  // Without a credential nothing is read but health and the page to sign in, and nothing acts.
  expect(statuses.get('nobody')?.get(202)).toBeUndefined();
  expect(statuses.get('viewer')?.get(202)).toBeUndefined();
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
