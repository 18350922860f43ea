/** Each route of the API: what it answers is what its row says, and who may not ask is not answered. */
import { expect, test } from 'vitest';
import { API, ROUTES } from '../../../src/daemon/http/routes/index.ts';
import { openApi, unknownCodes } from '../../../src/daemon/http/openapi.ts';
import type { Route } from '../../../src/daemon/http/route.ts';
import { ask, codeOf, filled, OutageStorage, scene, VIEWER, type Answer } from './scene.ts';

const ID = '20260101T020000Z-0001';
const RUN = 'backup-20261130T020000Z';

/** Good requests, at least one for each route. */
const REQUESTS: Readonly<Record<string, readonly { readonly query?: string; readonly body?: unknown }[]>> = {
  'GET /': [{}],
  'GET /openapi.json': [{}],
  'GET /clusters': [{}],
  'GET /clusters/{cluster}': [{}],
  'GET /clusters/{cluster}/samples': [{}, { query: '?limit=1' }],
  'GET /clusters/{cluster}/events': [{}, { query: '?limit=1' }],
  'GET /clusters/{cluster}/status': [{}],
  'GET /clusters/{cluster}/map': [{}],
  'GET /clusters/{cluster}/wal': [{}],
  'GET /clusters/{cluster}/backups': [{}, { query: `?limit=1&repository=near&before=${ID}` }],
  'GET /clusters/{cluster}/backups/{id}': [{}],
  'GET /clusters/{cluster}/jobs': [{}],
  'POST /clusters/{cluster}/runs': [{ body: { kind: 'backup', label: 'before the upgrade' } }],
  'GET /clusters/{cluster}/runs': [{}, { query: '?job=backup&kind=backup&state=running&limit=5' }],
  'GET /clusters/{cluster}/runs/{id}': [{}],
  'GET /clusters/{cluster}/runs/{id}/log': [{}],
  'POST /clusters/{cluster}/runs/{id}/cancel': [{ body: {} }],
  'GET /clusters/{cluster}/restore-plan': [
    {},
    { query: '?target=immediate' },
    { query: '?lsn=0/600028&timeline=1' },
    { query: `?time=2026-01-01%2005:15:00Z&backup=${ID}&action=pause` },
  ],
  'GET /clusters/{cluster}/expire-plan': [{}],
  'GET /clusters/{cluster}/config': [{}],
};

const nameOf = ({ method, path }: Route): string => `${method} ${path}`;

function pathOf({ path }: Route): string {
  const id = path.includes('/runs/') ? RUN : ID;
  return (API + path).replace('{cluster}', 'main').replace('{id}', id).replace(/\/$/, '');
}

/** In the order in which they make sense: what is begun is shown, then cancelled. */
const ORDERED = Object.keys(REQUESTS).map((name) => ROUTES.find((row) => nameOf(row) === name));

test('every route has a request here, codes that there are, and an id of its own', () => {
  expect(ROUTES.map(nameOf).toSorted()).toEqual(Object.keys(REQUESTS).toSorted());
  expect(unknownCodes(ROUTES)).toEqual([]);
  const { paths } = openApi(ROUTES, API) as {
    paths: Record<string, Record<string, { operationId: string }>>;
  };
  const ids = Object.values(paths).flatMap((one) => Object.values(one).map(({ operationId }) => operationId));
  expect(ids).toHaveLength(ROUTES.length);
  expect(new Set(ids).size).toBe(ids.length);
  // Nothing in it leads nowhere.
  const document = JSON.stringify(openApi(ROUTES, API));
  const { components } = JSON.parse(document) as { components: { schemas: object } };
  for (const [, name] of document.matchAll(/"\$ref":"([^"]+)"/g))
    expect(Object.keys(components.schemas).map((one) => `#/components/schemas/${one}`)).toContain(name);
});

/** A schema takes what it does not know; what it gives back has only what it does. */
function expectAnswer(row: Route, { json }: Answer): void {
  const result = row.answer.safeParse(json);
  expect(result.error?.issues, `${nameOf(row)}: ${JSON.stringify(json).slice(0, 2000)}`).toBeUndefined();
  expect(result.data).toEqual(json);
}

test('each route answers as its row says, to those who may ask, and to nobody else', async () => {
  const { server, scheduler } = await scene();
  for (const row of ORDERED) {
    if (row === undefined) throw new Error('a request is for no route');
    for (const { query = '', body } of REQUESTS[nameOf(row)] ?? []) {
      const path = pathOf(row) + query;
      const call = { method: row.method, ...(body !== undefined && { body }) };
      const before = scheduler.asked.length + scheduler.running().length;
      for (const [why, wrong, code] of [
        ['no credentials', { token: '' }, 'REQUEST_UNAUTHENTICATED'],
        ['another site', { headers: { 'Sec-Fetch-Site': 'cross-site' } }, 'REQUEST_CROSS_SITE'],
        ['another port', { headers: { 'Sec-Fetch-Site': 'same-site' } }, 'REQUEST_CROSS_SITE'],
        ['another origin', { headers: { Origin: 'http://evil.example' } }, 'REQUEST_CROSS_SITE'],
        ['another name', { headers: { Host: 'evil.example' } }, 'REQUEST_HOST'],
        ...(row.role === 'operator' ? ([['a viewer', { token: VIEWER }, 'REQUEST_FORBIDDEN']] as const) : []),
      ] as const) {
        const { headers, ...rest } = { headers: {}, ...wrong };
        const refused = await ask(server, path, { ...call, ...rest, headers });
        expect(codeOf(refused), `${nameOf(row)} with ${why}`).toBe(code);
        expect(refused.headers['access-control-allow-origin']).toBeUndefined();
      }
      expect(scheduler.asked.length + scheduler.running().length).toBe(before);
      const good = await ask(server, path, { ...call, ...(row.role === 'viewer' && { token: VIEWER }) });
      expect(good.status, `${nameOf(row)}: ${good.text.slice(0, 500)}`).toBe(row.status);
      expectAnswer(row, good);
      expect(good.headers).toMatchObject({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' });
      expect(good.headers['content-security-policy']).toMatch(/default-src 'none'.*frame-ancestors 'none'/);
    }
  }
});

test('what the answers say is what the archive holds', async () => {
  const { server } = await scene();
  const get = async (path: string): Promise<unknown> =>
    (await ask(server, `${API}/clusters/main${path}`, { token: VIEWER })).json;
  const list = (await get('/backups')) as { backups: { id: string; record: object }[]; more: boolean };
  expect(list.backups.map(({ id }) => id)).toEqual(['20260101T050000Z-0001', ID]);
  expect(list.backups[0]?.record).not.toHaveProperty('parts');
  const first = (await get('/backups?limit=1')) as typeof list;
  expect(first).toMatchObject({ more: true, backups: [{ id: '20260101T050000Z-0001' }] });
  expect(await get(`/backups?limit=1&before=${first.backups[0]?.id}`)).toMatchObject({
    more: false,
    backups: [{ id: ID }],
  });
  expect(await get('/backups/latest')).toMatchObject({ backup: { id: '20260101T050000Z-0001', state: 'restorable' } });
  const { systems } = (await get('/wal')) as { systems: { timelines: { runs: object[]; holes: object[] }[] }[] };
  expect(systems[0]?.timelines[0]).toMatchObject({
    runs: [{ count: 7 }, { count: 2 }],
    holes: [{ count: 2, from: '000000010000000000000008', to: '000000010000000000000009' }],
  });
  const plan = (await get('/restore-plan?target=immediate')) as { command: string };
  expect(plan).toMatchObject({ plan: { reachable: true, backup: { id: '20260101T050000Z-0001' } } });
  expect(plan.command).toBe(
    'pgark --cluster main restore --target immediate --backup 20260101T050000Z-0001 --system-id 7710493345181022616 DIRECTORY',
  );
  const far = await get('/restore-plan?lsn=0/B00100');
  expect(far).toMatchObject({ plan: { reachable: false, problems: [{ code: 'RESTORE_UNREACHABLE' }] } });
  expect(far).not.toHaveProperty('command');
});

test('runs: who has asked is on record, one of a kind at a time, and only what runs here is cancelled', async () => {
  const { server, scheduler, logs } = await scene();
  const runs = `${API}/clusters/main/runs`;
  const post = (path: string, body: unknown): Promise<Answer> => ask(server, path, { method: 'POST', body });
  expect((await post(runs, { kind: 'verify', level: 'chain' })).status).toBe(202);
  expect(scheduler.asked).toEqual([{ kind: 'verify', by: 'ada', level: 'chain' }]);
  expect(logs.some((line) => line.includes('ada has asked for a verify'))).toBe(true);
  expect(codeOf(await post(runs, { kind: 'verify' }))).toBe('RUN_BUSY');
  expect((await post(runs, { kind: 'verify' })).status).toBe(409);
  for (const wrong of [
    { kind: 'expire' },
    { kind: 'gc' },
    { kind: 'backup', level: 'full' },
    { kind: 'drill', label: 'x' },
    {},
    [],
    'backup',
    null,
    { kind: 'backup', force: true },
  ])
    expect(codeOf(await post(runs, wrong)), JSON.stringify(wrong)).toBe('REQUEST_INVALID');
  expect(scheduler.asked).toHaveLength(1);
  expect(codeOf(await post(`${runs}/nothing/cancel`, {}))).toBe('RUN_NOT_FOUND');
  const ended = await post(`${runs}/verify-20261130T020000Z/cancel`, {});
  expect(ended.json).toMatchObject({ run: { state: 'cancelled', summary: 'cancelled by ada' } });
  scheduler.state = { state: 'waiting', since: Date.now(), problem: 'another daemon has the lock' };
  const waiting = await post(runs, { kind: 'backup' });
  expect([waiting.status, codeOf(waiting)]).toEqual([503, 'SCHEDULER_WAITING']);
  // A form of another site cannot send JSON, and nothing else is taken.
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', '']) {
    const refused = await ask(server, runs, {
      method: 'POST',
      body: '{"kind":"check"}',
      headers: { 'Content-Type': type },
    });
    expect([refused.status, codeOf(refused)]).toEqual([415, 'REQUEST_TYPE']);
  }
});

test('an outage of the storage is a 503 with its code, what was seen before is shown with its age, and never as new', async () => {
  const storage = await filled(new OutageStorage());
  const { server, daemon } = await scene({ storage });
  storage.down = true;
  const plan = await ask(server, `${API}/clusters/main/restore-plan`);
  expect([plan.status, codeOf(plan)]).toEqual([503, 'STORAGE_UNAVAILABLE']);
  expect(plan.headers['retry-after']).toBe('1');
  await daemon.clusters.get('main')?.look();
  const backups = await ask(server, `${API}/clusters/main/backups`);
  expect([backups.status, codeOf(backups)]).toEqual([503, 'STORAGE_UNAVAILABLE']);
  const map = await ask(server, `${API}/clusters/main/map`);
  expect([map.status, codeOf(map)]).toEqual([503, 'STORAGE_UNAVAILABLE']);
  // The status is about what could not be seen, too.
  const status = await ask(server, `${API}/clusters/main/status`);
  expect(status.json).toMatchObject({
    status: { level: 'unknown' },
    look: { failures: expect.arrayContaining([expect.objectContaining({ code: 'STORAGE_UNAVAILABLE' })]) as unknown },
  });
});

test('what is not there, and what is no request of a route, is refused in JSON', async () => {
  const { server } = await scene();
  for (const [path, status, code] of [
    [`${API}/clusters/other`, 404, 'REQUEST_NOT_FOUND'],
    [`${API}/clusters/main/backups/20200101T000000Z-0000`, 404, 'REQUEST_NOT_FOUND'],
    [`${API}/clusters/main/runs/none`, 404, 'REQUEST_NOT_FOUND'],
    [`${API}/clusters/main/nothing`, 404, 'REQUEST_NOT_FOUND'],
    ['/', 404, 'REQUEST_NOT_FOUND'],
    ['/metrics', 404, 'REQUEST_NOT_FOUND'],
    [`${API}/clusters/%2e%2e%2f`, 400, 'REQUEST_INVALID'],
    [`${API}/clusters/main/backups?limit=1&limit=2`, 400, 'REQUEST_INVALID'],
    [`${API}/clusters/main/backups?limit=0`, 400, 'REQUEST_INVALID'],
    [`${API}/clusters/main/backups?limits=1`, 400, 'REQUEST_INVALID'],
    [`${API}/clusters/main/restore-plan?time=yesterday`, 400, 'USAGE'],
    [`${API}/clusters/main/restore-plan?time=2026-01-01%2005:15:00`, 400, 'USAGE'],
    [`${API}/clusters/main/restore-plan?target=latest&name=x`, 400, 'USAGE'],
    // The WAL here ends within a segment: to ask again changes nothing.
    [`${API}/clusters/main/restore-plan?name=x`, 422, 'WAL_INVALID'],
  ] as const) {
    const answer = await ask(server, path);
    expect([path, answer.status, codeOf(answer)]).toEqual([path, status, code]);
  }
  const method = await ask(server, `${API}/clusters`, { method: 'POST', body: {} });
  expect([method.status, codeOf(method), method.headers['allow']]).toEqual([405, 'REQUEST_METHOD', 'GET, HEAD']);
  for (const other of ['OPTIONS', 'PUT', 'DELETE', 'PATCH', 'TRACE']) {
    const refused = await ask(server, `${API}/clusters`, { method: other });
    expect([other, refused.status, refused.headers['access-control-allow-methods']]).toEqual([other, 405, undefined]);
  }
  const head = await ask(server, `${API}/clusters`, { method: 'HEAD' });
  expect([head.status, head.text]).toEqual([200, '']);
});

test('H-12 a cluster whose section cannot be used is named with the reason, and does not just fail to be there', async () => {
  const { server } = await scene({ others: { lame: { repositories: [], nonsense: 1 } } });
  const { status, json } = await ask(server, `${API}/clusters`);
  expect(status).toBe(200);
  expect(json).toMatchObject({
    clusters: [{ name: 'main' }],
    broken: [
      { name: 'lame', error: { code: 'CONFIG_INVALID', message: expect.stringContaining('nonsense') as string } },
    ],
  });
});
