/** The small parts of the page, each by itself. */
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { freePort } from '../../../../test/support/free-port.ts';
import { later } from '../../../../test/support/later.ts';
import { Secret } from '../../../src/contracts/secret.ts';
import { ASSET_PATHS, assets } from '../../../src/daemon/page/assets.ts';
import { chart } from '../../../src/daemon/page/chart.ts';
import { loginPage } from '../../../src/daemon/page/login-page.ts';
import { markup } from '../../../src/daemon/page/markup.ts';
import { Peers, type PeerState } from '../../../src/daemon/page/peers.ts';
import { readRunForm } from '../../../src/daemon/page/run-form.ts';
import { pageLinks, pageOf, table } from '../../../src/daemon/page/table.ts';
import { ago } from '../../../src/daemon/page/words.ts';

test('what stands in a template is text, unless a template made it; nothing is nothing, and zero is zero', () => {
  const text = `<script>alert('"&')</script>`;
  expect(markup`<p title="${text}">${text}</p>`.toString()).toBe(
    '<p title="&lt;script&gt;alert(&#39;&quot;&amp;&#39;)&lt;/script&gt;">&lt;script&gt;alert(&#39;&quot;&amp;&#39;)&lt;/script&gt;</p>',
  );
  expect(markup`${[markup`<b>${1n}</b>`, undefined, false, 0, ['<', ['>']]]}`.toString()).toBe('<b>1</b>0&lt;&gt;');
});

test('files have an address that changes with their content, and are kept', async () => {
  const routes = assets();
  for (const [name, type] of [
    ['style', 'text/css; charset=utf-8'],
    ['script', 'text/javascript; charset=utf-8'],
    ['icon', 'image/svg+xml'],
  ] as const) {
    const answer = await routes.request(ASSET_PATHS[name]);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toBe(type);
    expect(answer.headers.get('cache-control')).toBe('public, max-age=31536000, immutable');
    expect(ASSET_PATHS[name]).toMatch(/-[0-9a-f]{16}\.(?:css|js|svg)$/);
  }
  expect((await routes.request('/assets/page-0.css')).status).toBe(404);
});

test('a form that begins a run is taken or refused whole', () => {
  const read = (form: Readonly<Record<string, string>>): unknown => readRunForm(new Map(Object.entries(form)), 'ada');
  expect(read({ kind: 'backup', label: ' before <b>  ' })).toEqual({
    request: { kind: 'backup', by: 'ada', label: 'before <b>' },
  });
  expect(read({ kind: 'backup', label: '' })).toEqual({ request: { kind: 'backup', by: 'ada' } });
  expect(read({ kind: 'verify', level: 'full', label: 'x' })).toEqual({
    request: { kind: 'verify', by: 'ada', level: 'full' },
  });
  expect(read({ kind: 'drill' })).toEqual({ request: { kind: 'drill', by: 'ada' } });
  for (const wrong of [
    {},
    { kind: 'expire' },
    { kind: 'backup', label: 'a\u0000b' },
    { kind: 'backup', label: 'x'.repeat(901) },
    { kind: 'verify', level: 'deep' },
  ])
    expect(read(wrong as Readonly<Record<string, string>>)).toHaveProperty('problem');
});

test('a value that was not known is a gap in the line, and no zero', () => {
  const points = [0, 1, undefined, 3, 4].map((value, at) => ({ time: at * 1000, value }));
  const text = chart(points, { name: 'Lag', format: String }).toString();
  expect(text.match(/<polyline/g)).toHaveLength(2);
  expect(text).toContain('Lag: 4 now, at most 4');
  const lost = chart(points.slice(0, 3), { name: 'Lag', format: String }).toString();
  expect(lost).toContain('Lag: unknown now, at most 1');
  expect(chart([], { name: 'Lag', format: String }).toString()).toContain('Lag: not known yet.');
  const many = Array.from({ length: 5000 }, (_, at) => ({ time: at, value: at % 7 }));
  expect(chart(many, { name: 'Lag', format: String }).toString().length).toBeLessThan(10_000);
});

test('a long list has pages, and any address of one leads to one', () => {
  const all = Array.from({ length: 120 }, (_, at) => at);
  expect(pageOf(all, undefined)).toMatchObject({ number: 1, pages: 3, total: 120 });
  expect(pageOf(all, '3').rows).toEqual(all.slice(100));
  for (const wrong of ['0', '-1', '9', '1e9', '<b>', '99999999999999999999'])
    expect(pageOf(all, wrong).rows.length).toBeGreaterThan(0);
  expect(pageLinks(pageOf([], '1'), '?page=', 'rows')).toBeUndefined();
  expect(pageLinks(pageOf(all, '2'), '?page=', 'rows')?.toString()).toMatch(
    /\?page=1.*page 2 of 3, 120 in all.*\?page=3/s,
  );
  expect(table([], { name: 'Rows', columns: [], empty: 'none' }).toString()).toBe('<p class="empty">none</p>');
});

test('an age that lies ahead is not made into one that has passed', () => {
  expect(ago(1000, 61_000)).toBe('1m 00s ago');
  expect(ago(1000, 4400)).toBe('3 s ago');
  expect(ago(500, 0)).toBe('0 s ago');
  expect(ago(7_200_000, 0)).toBe('2h 00m AHEAD of this host: clocks differ');
});

test('who is asked to sign in is asked with what they wanted, as text', () => {
  const page = loginPage({ problem: 'no <token>', next: '/clusters/main?zoom="7d"' });
  expect(page).toContain('no &lt;token&gt;');
  expect(page).toContain('value="/clusters/main?zoom=&quot;7d&quot;"');
});

test('other daemons: what they say now, or that they do not say it; nobody waits for one that hangs', async () => {
  let answer = (): string =>
    JSON.stringify({
      clusters: [
        { name: 'far', level: 'ok', canRestoreTo: 'far can restore', reasons: ['<b>'] },
        { name: 'old', level: 'ok', canRestoreTo: 'old can restore', look: { stale: true } },
        { name: 'new', level: 'splendid' },
      ],
      broken: [{ name: 'lame', error: { message: 'it has no postgres.url' } }],
    });
  const asked: (string | undefined)[] = [];
  const server = createServer(({ headers, url }, response) => {
    asked.push(`${url} ${headers.authorization}`);
    if (url?.startsWith('/hangs') === true) return;
    response.end(answer());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  later(server, () => server.closeAllConnections());
  later(server, () => server.close());
  const { port } = server.address() as AddressInfo;
  const config = {
    refresh: 10_000,
    peers: [
      { name: 'good', url: `http://127.0.0.1:${port}/base`, token: new Secret('token-of-a-viewer') },
      { name: 'hangs', url: `http://127.0.0.1:${port}/hangs/` },
      { name: 'away', url: `http://127.0.0.1:${await freePort()}/` },
    ],
  };
  const peers = new Peers({ config: () => config, env: {}, directory: '/' });
  const until = async (
    now: number,
    holds: (states: readonly PeerState[]) => boolean,
  ): Promise<readonly PeerState[]> => {
    for (;;) {
      const states = await peers.states(now);
      if (holds(states)) return states;
    }
  };
  const first = await until(1_000_000, ([good]) => good?.answered !== undefined);
  expect(first[0]?.clusters).toEqual([
    { name: 'far', level: 'ok', text: 'far can restore', reasons: ['<b>'] },
    { name: 'old', level: 'unknown', text: 'old can restore', reasons: ['its last look is STALE'] },
    { name: 'new', level: 'unknown', text: 'new: unknown', reasons: [] },
    {
      name: 'lame',
      level: 'unknown',
      text: 'lame: unknown',
      reasons: ['nothing is done for it: it has no postgres.url'],
    },
  ]);
  expect(first[1]).toMatchObject({ clusters: [], problem: 'it has not answered yet' });
  expect(asked).toContain('/base/api/v1/clusters Bearer token-of-a-viewer');
  const late = await until(1_000_001, ([, hangs]) => hangs?.problem !== 'it has not answered yet');
  expect(late[1]?.problem).toBe('it gave no answer within 3 s');
  expect(late[2]?.problem).toMatch(/ECONNREFUSED/);

  answer = () => '{"clusters": "many"}';
  const second = await until(1_020_000, ([good]) => good?.problem !== undefined);
  expect(second[0]).toMatchObject({
    clusters: [],
    problem: 'its answer is not understood',
    answered: first[0]?.answered,
  });
});

test('H-64 a token of a peer that cannot be sent is said to be none, and not shown', async () => {
  const config = {
    refresh: 10_000,
    peers: ['first-line-0123456789\nsecond-line', 'with a space 0123456789'].map((token, at) => ({
      name: `peer-${at}`,
      url: `http://127.0.0.1:${at + 1}/`,
      token: new Secret(token),
    })),
  };
  const peers = new Peers({ config: () => config, env: {}, directory: '/' });
  await expect.poll(async () => (await peers.states(1_000_000))[1]?.problem).toContain('printable characters');
  const states = await peers.states(1_000_000);
  expect(states[0]?.problem).toMatch(/^daemon\.peers: the token of peer-0 must be/);
  expect(JSON.stringify(states)).not.toMatch(/first-line|second-line|with a space/);
});

test('H-12 what another daemon said hours ago is not shown as what it says now; it is asked again after a clock was set back', async () => {
  let asked = 0;
  const server = createServer((_, response) => {
    asked++;
    if (asked !== 2) response.end(JSON.stringify({ clusters: [{ name: 'far', level: 'ok' }] }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  later(server, () => server.closeAllConnections());
  later(server, () => server.close());
  const { port } = server.address() as AddressInfo;
  const config = { refresh: 10_000, peers: [{ name: 'b', url: `http://127.0.0.1:${port}/` }] };
  const peers = new Peers({ config: () => config, env: {}, directory: '/' });
  const now = Date.now();
  await expect.poll(async () => (await peers.states(now))[0]?.clusters).toHaveLength(1);
  const [hoursLater] = await peers.states(now + 3 * 3_600_000);
  await expect.poll(() => asked).toBe(2);
  expect(hoursLater).toMatchObject({ clusters: [], problem: 'it has not answered again yet' });
  expect(hoursLater?.answered).toBeGreaterThanOrEqual(now);
  const askedNow = async (): Promise<number> => {
    await peers.states(now + 1000);
    return asked;
  };
  await expect.poll(askedNow, { timeout: 10_000 }).toBe(3);
});
