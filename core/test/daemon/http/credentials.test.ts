/** Who may ask: tokens, sessions of browsers, certificates, and those who guess. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Hono } from 'hono';
import { expect, test } from 'vitest';
import { CertificateAuthority, type CertificateFiles } from '../../../../test/support/certificates.ts';
import { later } from '../../../../test/support/later.ts';
import type { MountedPage } from '../../../src/daemon/http/app.ts';
import { Attempts } from '../../../src/daemon/http/attempts.ts';
import type { HttpEnv } from '../../../src/daemon/http/caller.ts';
import { Sessions } from '../../../src/daemon/http/sessions.ts';
import { readTokens } from '../../../src/daemon/http/tokens.ts';
import { Secret } from '../../../src/contracts/secret.ts';
import { ask, codeOf, OPERATOR, scene, VIEWER, type Answer, type Scene } from './scene.ts';

const API = '/api/v1';
const SAME = { 'Sec-Fetch-Site': 'same-origin' };
const FORM = { 'Content-Type': 'application/x-www-form-urlencoded' };

/** A page that says who looks at it, and acts. */
function smallPage(acted: string[]): MountedPage {
  const routes = new Hono<HttpEnv>();
  routes.get('/', (context) => context.html(`<p>${context.get('caller').name}</p>`));
  routes.post('/act', async (context) => {
    const { what } = await context.req.parseBody();
    acted.push(context.get('caller').name + (typeof what === 'string' ? what : ''));
    return context.redirect('/', 303);
  });
  const assets = new Hono();
  assets.get('/assets/page.css', (context) => context.text('p {}', 200, { 'Content-Type': 'text/css' }));
  return {
    routes,
    assets,
    login: ({ problem = '', next = '/' }) => `<form action="/login">${problem}<input value="${next}"></form>`,
  };
}

async function login({ server }: Pick<Scene, 'server'>, token: string, headers: object = SAME): Promise<Answer> {
  const body = new URLSearchParams({ token, next: '/after' }).toString();
  return ask(server, '/login', { method: 'POST', token: '', body, headers: { ...FORM, ...headers } });
}

const cookieOf = ({ headers }: Answer): string => headers['set-cookie']?.[0]?.split(';')[0] ?? '';

test('a browser logs in, reads and acts by its session from the page alone, and logs out', async () => {
  const acted: string[] = [];
  const opened = await scene({ page: smallPage(acted) });
  const { server } = opened;
  const html = { Accept: 'text/html' };
  const stranger = await ask(server, '/?x=1', { token: '', headers: html });
  expect([stranger.status, stranger.text]).toEqual([401, '<form action="/login"><input value="/?x=1"></form>']);
  expect((await ask(server, '/assets/page.css', { token: '' })).status).toBe(200);
  expect(codeOf(await ask(server, '/assets/none.css', { token: '' }))).toBe('REQUEST_UNAUTHENTICATED');

  const wrong = await login(opened, 'wrong-token-0123456789');
  expect([wrong.status, cookieOf(wrong)]).toEqual([401, '']);
  expect(wrong.text).toContain('none of this daemon');
  const good = await login(opened, OPERATOR);
  expect([good.status, good.headers.location]).toEqual([303, '/after']);
  const [set = ''] = good.headers['set-cookie'] ?? [];
  expect(set).toMatch(/^pgark-session-\d+=[A-Za-z0-9_-]{43}; Path=\/; Max-Age=43200; HttpOnly; SameSite=Strict$/);
  const cookie = cookieOf(good);
  expect(set).toContain(new URL(server.url).port);

  const session = (headers: object = {}): { token: string; headers: Record<string, string> } => ({
    token: '',
    headers: { Cookie: `other=1; ${cookie}`, ...headers },
  });
  expect((await ask(server, '/', session())).text).toBe('<p>ada</p>');
  expect((await ask(server, `${API}/clusters`, session(SAME))).status).toBe(200);
  const act = (headers: object): Promise<Answer> =>
    ask(server, '/act', { method: 'POST', body: 'what=1', ...session({ ...FORM, ...headers }) });
  // What no page of another site can make a browser send.
  for (const headers of [
    {},
    { 'Sec-Fetch-Site': 'cross-site' },
    { 'Sec-Fetch-Site': 'same-site' },
    { Origin: 'null' },
    { Origin: 'http://127.0.0.1:1' },
    { Origin: 'http://evil.example' },
  ])
    expect(codeOf(await act(headers)), JSON.stringify(headers)).toBe('REQUEST_CROSS_SITE');
  const json = await ask(server, `${API}/clusters/main/runs`, {
    method: 'POST',
    body: { kind: 'check' },
    ...session({ 'Content-Type': 'application/json' }),
  });
  expect(codeOf(json)).toBe('REQUEST_CROSS_SITE');
  expect([acted, opened.scheduler.asked]).toEqual([[], []]);
  expect((await act(SAME)).status).toBe(303);
  expect((await act({ Origin: server.url })).status).toBe(303);
  expect(acted).toEqual(['ada1', 'ada1']);
  // A link from elsewhere shows the page; data of the API is for the page alone.
  const link = { 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'navigate' };
  expect((await ask(server, '/', session(link))).status).toBe(200);
  expect(codeOf(await ask(server, '/', session({ ...link, 'Sec-Fetch-Mode': 'no-cors' })))).toBe('REQUEST_CROSS_SITE');
  expect(codeOf(await ask(server, `${API}/clusters`, session(link)))).toBe('REQUEST_CROSS_SITE');

  expect(codeOf(await ask(server, '/logout', { method: 'POST', ...session() }))).toBe('REQUEST_CROSS_SITE');
  const out = await ask(server, '/logout', { method: 'POST', ...session(SAME) });
  expect([out.status, out.headers['set-cookie']?.[0]]).toEqual([303, expect.stringMatching(/=; .*Max-Age=0/)]);
  expect((await ask(server, '/', session())).status).toBe(401);
});

test('no page of another site logs a browser in, and nobody is sent elsewhere after it', async () => {
  const opened = await scene({ page: smallPage([]) });
  for (const headers of [{ 'Sec-Fetch-Site': 'cross-site' }, { Origin: 'http://evil.example' }]) {
    const refused = await login(opened, OPERATOR, headers);
    expect([codeOf(refused), cookieOf(refused)]).toEqual(['REQUEST_CROSS_SITE', '']);
  }
  for (const next of [
    '//evil.example',
    '/\\evil.example',
    'https://evil.example',
    '/a\r\nSet-Cookie: x=1',
    '/login',
    '/logout',
    'x',
  ]) {
    const body = new URLSearchParams({ token: VIEWER, next }).toString();
    const answer = await ask(opened.server, '/login', {
      method: 'POST',
      token: '',
      body,
      headers: { ...FORM, ...SAME },
    });
    expect([next, answer.status, answer.headers.location]).toEqual([next, 303, '/']);
    const shown = await ask(opened.server, `/login?next=${encodeURIComponent(next)}`, { token: '' });
    expect(shown.text).toContain('value="/"');
  }
});

test('a token that goes takes its sessions with it, another one does not, and a broken reload changes nothing', async () => {
  const opened = await scene({ page: smallPage([]) });
  const { daemon, server, section } = opened;
  const [ada, grafana] = [cookieOf(await login(opened, OPERATOR)), cookieOf(await login(opened, VIEWER))];
  const seen = async (Cookie: string): Promise<number> =>
    (await ask(server, '/', { token: '', headers: { Cookie } })).status;
  expect([await seen(ada), await seen(grafana)]).toEqual([200, 200]);
  const fresh = 'another-token-0123456789';
  const token = (name: string, role: string, value: unknown): object => ({ name, role, token: value });
  section.value = { ...section.value, tokens: [token('ada', 'operator', fresh), token('grafana', 'operator', VIEWER)] };
  await daemon.reload();
  expect([await seen(ada), await seen(grafana)]).toEqual([401, 200]);
  expect((await ask(server, API, { token: OPERATOR })).status).toBe(401);
  expect((await ask(server, API, { token: fresh })).json).toMatchObject({ caller: { name: 'ada', role: 'operator' } });
  // What somebody may do is what his token may now.
  const role = await ask(server, API, { token: '', headers: { Cookie: grafana } });
  expect(role.json).toMatchObject({ caller: { name: 'grafana', role: 'operator' } });
  section.value = { ...section.value, tokens: [token('ada', 'operator', { env: 'NOT_THERE' })] };
  await daemon.reload();
  expect(opened.logs.some((line) => line.includes('stay as they were') && line.includes('NOT_THERE'))).toBe(true);
  expect((await ask(server, API, { token: fresh })).status).toBe(200);
});

test('sessions are bounded for each token, end with their time, and never with those of another one', async () => {
  let now = 0;
  const tokens = await readTokens(
    [
      { name: 'one', role: 'viewer', token: new Secret(VIEWER) },
      { name: 'two', role: 'operator', token: new Secret(OPERATOR) },
    ],
    { env: {}, directory: '/' },
  );
  const [one, two] = [tokens.find(VIEWER), tokens.find(OPERATOR)];
  if (one === undefined || two === undefined) throw new Error('a token is not found');
  const sessions = new Sessions({ now: () => now });
  const kept = sessions.begin(two);
  const ids = Array.from({ length: 500 }, () => sessions.begin(one));
  expect(sessions.size).toBe(51);
  expect(sessions.find(ids[0] ?? '', tokens)).toBeUndefined();
  expect(sessions.find(ids.at(-1) ?? '', tokens)?.name).toBe('one');
  expect(sessions.find(kept, tokens)?.name).toBe('two');
  now = 12 * 3_600_000;
  expect(sessions.find(kept, tokens)).toBeUndefined();
  sessions.begin(one);
  expect(sessions.size).toBe(1);
});

test.each([
  ['is short', [{ name: 'a', role: 'viewer', token: new Secret('short') }], /16 to 1024/],
  ['has a space', [{ name: 'a', role: 'viewer', token: new Secret('a token with spaces in it') }], /16 to 1024/],
  [
    'is twice there',
    [
      { name: 'a', role: 'viewer', token: new Secret(VIEWER) },
      { name: 'b', role: 'operator', token: new Secret(VIEWER) },
    ],
    /tokens\[1\].token is the same as daemon.tokens\[0\]/,
  ],
  [
    'has the name of another one',
    [
      { name: 'a', role: 'viewer', token: new Secret(VIEWER) },
      { name: 'a', role: 'viewer', token: new Secret(OPERATOR) },
    ],
    /like that of another one/,
  ],
] as const)('a token that %s is refused', async (_, tokens, message) => {
  const refused = await readTokens(tokens, { env: {}, directory: '/' }).catch((error: unknown) => error);
  expect(refused).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringMatching(message) as string });
  expect(String(refused)).not.toContain(VIEWER);
});

test('who guesses is slowed down, and a client that is known beside him is not', async () => {
  let now = 0;
  const pauses: number[] = [];
  const attempts = new Attempts({
    now: () => now,
    pause: async (milliseconds) => {
      pauses.push(milliseconds);
      now += milliseconds;
    },
  });
  const { signal } = new AbortController();
  attempts.met('10.0.0.1', 'page');
  const guess = async (address: string): Promise<void> => {
    expect(await attempts.turn(address, undefined, signal)).toBe(true);
    attempts.failed(address);
  };
  for (let guesses = 0; guesses < 100; guesses++) await guess('10.0.0.1');
  // The first ten are free; then one for each second, however fast they come.
  expect(pauses.length).toBeGreaterThanOrEqual(80);
  expect(now).toBeGreaterThanOrEqual(80_000);
  const before = pauses.length;
  for (let views = 0; views < 100; views++) expect(await attempts.turn('10.0.0.1', 'page', signal)).toBe(true);
  expect(await attempts.turn('10.0.0.2', undefined, signal)).toBe(true);
  expect(pauses).toHaveLength(before);
  // A good token that is new at this address waits like a wrong one.
  expect(await attempts.turn('10.0.0.1', 'new', signal)).toBe(true);
  expect(pauses).toHaveLength(before + 1);
  // One /64 is one client.
  for (let guesses = 0; guesses < 30; guesses++) await guess(`2001:db8::${guesses.toString(16)}`);
  const slowed = pauses.length;
  expect(await attempts.turn('2001:db8:0:0:ffff::1', undefined, signal)).toBe(true);
  expect(pauses).toHaveLength(slowed + 1);
  now += 200_000;
  expect(await attempts.turn('10.0.0.1', undefined, signal)).toBe(true);
  expect(pauses).toHaveLength(slowed + 1);
});

test('guesses at once are refused but for a few, while the page goes on', async () => {
  const { server } = await scene();
  expect((await ask(server, API, { token: VIEWER })).status).toBe(200);
  const wrong = (at: number): Promise<Answer> => ask(server, API, { token: `wrong-token-0123456789-${at}` });
  for (let at = 0; at < 10; at++) expect((await wrong(at)).status).toBe(401);
  const flood = Promise.all(Array.from({ length: 40 }, (_, at) => wrong(at)));
  for (let views = 0; views < 20; views++) expect((await ask(server, API, { token: VIEWER })).status).toBe(200);
  const codes = (await flood).map(codeOf);
  expect(codes).toContain('REQUEST_TOO_MANY');
  expect(codes.filter((code) => code !== 'REQUEST_TOO_MANY' && code !== 'REQUEST_UNAUTHENTICATED')).toEqual([]);
});

/** Certificates for the length of a test. */
function authorities(): {
  readonly folder: string;
  readonly own: CertificateAuthority;
  readonly clients: CertificateAuthority;
} {
  const folder = later(mkdtempSync(join(tmpdir(), 'pgark-http-tls-')), (path) => rmSync(path, { recursive: true }));
  return { folder, own: new CertificateAuthority(folder, 'own'), clients: new CertificateAuthority(folder, 'clients') };
}

const pair = ({ certificate, key }: CertificateFiles): { readonly cert: Buffer; readonly key: Buffer } => ({
  cert: readFileSync(certificate),
  key: readFileSync(key),
});

test('over TLS a certificate of the CA of clients is a credential of its role, and cookies are for TLS alone', async () => {
  const { own, clients } = authorities();
  const files = own.issue('server', { alternative: 'DNS:archive.example,IP:127.0.0.1' });
  const acted: string[] = [];
  const section = { tls: { ...files, clientCa: clients.root } };
  const opened = await scene({ section, page: smallPage(acted) });
  const { server } = opened;
  const ca = { ca: readFileSync(own.root) };
  const good = pair(clients.issue('prometheus'));
  const shown = await ask(server, API, { ...ca, ...good, token: '' });
  expect(shown.json).toMatchObject({ caller: { name: 'prometheus', role: 'viewer' } });
  const act = { method: 'POST', body: { kind: 'check' }, ...ca, ...good, token: '' };
  expect(codeOf(await ask(server, `${API}/clusters/main/runs`, act))).toBe('REQUEST_FORBIDDEN');
  // A browser shows it to every page that asks.
  const foreign = { ...ca, ...good, token: '', headers: { 'Sec-Fetch-Site': 'cross-site' } };
  expect(codeOf(await ask(server, API, foreign))).toBe('REQUEST_CROSS_SITE');
  // A form of the page says from where it comes; a browser so old that it does not is answered no more than one of another site.
  const form = { ...ca, ...good, token: '', method: 'POST', body: 'what=!' };
  expect(codeOf(await ask(server, '/act', { ...form, headers: FORM }))).toBe('REQUEST_CROSS_SITE');
  expect(acted).toEqual([]);
  expect((await ask(server, '/act', { ...form, headers: { ...FORM, ...SAME } })).status).toBe(303);
  expect(acted).toEqual(['prometheus!']);
  expect((await ask(server, API, { ...ca, ...pair(own.issue('stranger')), token: '' })).status).toBe(401);
  expect((await ask(server, API, { ...ca, token: '' })).status).toBe(401);
  expect((await ask(server, API, { ...ca, token: VIEWER })).status).toBe(200);
  // Beside a wrong token it is worth nothing: somebody wanted to be somebody else.
  expect((await ask(server, API, { ...ca, ...good, token: 'wrong-token-0123456789' })).status).toBe(401);
  for (const [host, status] of [
    ['archive.example', 200],
    ['archive.example:8733', 200],
    ['other.example', 421],
    ['127.0.0.1', 200],
    ['[::1]:8733', 200],
  ] as const)
    expect([host, (await ask(server, API, { ...ca, headers: { Host: host } })).status]).toEqual([host, status]);
  const session = await ask(server, '/login', { ...ca, method: 'POST', token: '', body: { token: OPERATOR } });
  expect(session.headers['set-cookie']?.[0]).toMatch(/^__Host-pgark-session-\d+=.*; Secure$/);
});

test('certificates are read anew, names of the config too, and a broken one leaves the old', async () => {
  const { own, folder } = authorities();
  const files = own.issue('server', { alternative: 'IP:127.0.0.1' });
  const { daemon, server, section, logs } = await scene({ section: { tls: files } });
  const ca = { ca: readFileSync(own.root) };
  const named = async (): Promise<number> =>
    (await ask(server, API, { ...ca, headers: { Host: 'proxy.example' } })).status;
  expect(await named()).toBe(421);
  section.value = { ...section.value, names: ['proxy.example'] };
  await daemon.reload();
  expect(await named()).toBe(200);
  const other = new CertificateAuthority(folder, 'other');
  const fresh = other.issue('fresh', { alternative: 'IP:127.0.0.1' });
  writeFileSync(files.certificate, readFileSync(fresh.certificate));
  await daemon.reload();
  expect(logs.some((line) => line.includes('stay as they were'))).toBe(true);
  expect((await ask(server, API, ca)).status).toBe(200);
  writeFileSync(files.key, readFileSync(fresh.key));
  await daemon.reload();
  expect((await ask(server, API, { ca: readFileSync(other.root) })).status).toBe(200);
  await expect(ask(server, API, ca)).rejects.toThrow(/certificate/);
});

test('an address that others reach is refused without TLS and credentials; without tokens only health is answered', async () => {
  await expect(scene({ section: { listen: '0.0.0.0:0' } })).rejects.toThrow(/which other hosts reach, without TLS/);
  const { own } = authorities();
  const tls = own.issue('server', { alternative: 'IP:127.0.0.1' });
  await expect(scene({ section: { listen: '0.0.0.0:0', tls, tokens: [] } })).rejects.toThrow(/without credentials/);
  const { server, logs } = await scene({ section: { tokens: [] } });
  expect(logs.some((line) => line.includes('nobody may ask for more than health'))).toBe(true);
  expect((await ask(server, '/livez', { token: '' })).status).toBe(200);
  expect((await ask(server, API, { token: '' })).status).toBe(401);
});

test('metrics are behind the credentials unless they are for anybody', async () => {
  const metrics = { contentType: 'text/plain; version=0.0.4', text: () => Promise.resolve('pgark_up 1\n') };
  const closed = await scene({ metrics });
  expect((await ask(closed.server, '/metrics', { token: '' })).status).toBe(401);
  const seen = await ask(closed.server, '/metrics', { token: VIEWER });
  expect([seen.status, seen.text, seen.headers['content-type']]).toEqual([200, 'pgark_up 1\n', metrics.contentType]);
  const open = await scene({ metrics, section: { openMetrics: true } });
  expect((await ask(open.server, '/metrics', { token: '' })).text).toBe('pgark_up 1\n');
});

test('health says what is so, to anybody, and nothing that is secret', async () => {
  const { server } = await scene();
  const live = await ask(server, '/livez', { token: '' });
  expect([live.status, live.json]).toEqual([200, { status: 'ok', reasons: [] }]);
  const ready = await ask(server, '/readyz', { token: '' });
  expect(ready.status).toBe(503);
  expect(ready.json).toMatchObject({
    status: 'failed',
    reasons: expect.arrayContaining([expect.stringMatching(/^cluster main: /)]) as unknown,
  });
  expect(ready.text).not.toContain('127.0.0.1');
});

test('H-27 who guesses and leaves while they wait fills no log', async () => {
  const { server, logs } = await scene();
  const guess = (signal?: AbortSignal): Promise<Answer> =>
    ask(server, API, { token: 'wrong-token-0123456789', ...(signal !== undefined && { signal }) });
  for (let time = 0; time < 11; time++) await guess();
  const left = Array.from({ length: 4 }, () => {
    const leaving = new AbortController();
    const waiting = guess(leaving.signal).catch(() => 'left');
    setTimeout(() => leaving.abort(), 100);
    return waiting;
  });
  expect(await Promise.all(left)).toContain('left');
  await expect.poll(() => logs.filter((line) => line.startsWith('debug: a client left')).length).toBeGreaterThan(0);
  expect(logs.filter((line) => line.startsWith('error'))).toEqual([]);
});
