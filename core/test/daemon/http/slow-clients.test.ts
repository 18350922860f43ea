/** H-27: clients that are slow on purpose hold up nobody. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Hono } from 'hono';
import { expect, test, vi } from 'vitest';
import { later } from '../../../../test/support/later.ts';
import { until } from '../../../../test/support/until.ts';
import type { HttpEnv } from '../../../src/daemon/http/caller.ts';
import { API } from '../../../src/daemon/http/routes/index.ts';
import { mountedPage } from '../../../src/daemon/page/mounted-page.ts';
import { ask, OPERATOR, scene, VIEWER, type Scene } from './scene.ts';

vi.setConfig({ testTimeout: 120_000 });

async function open({ server }: Scene): Promise<Socket> {
  const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
  socket.on('error', () => undefined); // to be cut off is what it is for
  await once(socket, 'connect');
  return later(socket, (each) => each.destroy());
}

const several = (count: number, work: () => Promise<Socket>): Promise<readonly Socket[]> =>
  Promise.all(Array.from({ length: count }, work));

/** A request that is answered at once, with and without credentials. */
async function expectAnswered({ server }: Scene): Promise<void> {
  expect((await ask(server, `${API}/clusters/main/status`, { token: VIEWER })).status).toBe(200);
  expect((await ask(server, '/livez', { token: '' })).status).toBe(200);
}

const post = (path: string): string =>
  `POST ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${OPERATOR}\r\n`;

test('H-27 heads and bodies that do not end, of clients without a credential and with one, keep nobody out', async () => {
  const opened = await scene();
  const strangers = await several(300, async () => {
    const socket = await open(opened);
    socket.write('GET /api/v1 HTTP/1.1\r\nHost: local');
    return socket;
  });
  await expectAnswered(opened);
  const logins = await several(120, async () => {
    const socket = await open(opened);
    socket.write(
      'POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{',
    );
    return socket;
  });
  await expectAnswered(opened);
  // They have shown a credential, and still take no place of those who ask for something.
  const bodies = await several(100, async () => {
    const socket = await open(opened);
    socket.write(
      `${post(`${API}/clusters/main/runs`)}Content-Type: application/json\r\nContent-Length: 60000\r\n\r\n{`,
    );
    return socket;
  });
  for (let round = 0; round < 5; round++) await expectAnswered(opened);
  // Who has shown nothing makes room for who comes; the others stay until their time is over.
  await until('strangers are cut off', () => [...strangers, ...logins].filter((one) => one.closed).length >= 300);
  expect(bodies.filter((one) => one.closed)).toEqual([]);
});

test('H-27 answers that nobody takes hold a bounded memory, and the oldest of them are cut off', async () => {
  const routes = new Hono<HttpEnv>();
  const big = 'x'.repeat(12 << 20);
  routes.get('/big', (context) => context.text(big));
  const opened = await scene({ page: { routes, assets: new Hono(), login: () => '' } });
  const take = async (): Promise<Socket> => {
    const socket = await open(opened);
    socket.pause();
    socket.write(`GET /big HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${VIEWER}\r\n\r\n`);
    return socket;
  };
  const readers: Socket[] = [];
  for (let count = 0; count < 12; count++) {
    readers.push(await take());
    await expectAnswered(opened);
  }
  /** Takes what comes until it is all there or the connection ends; whether it was cut. */
  const cut = async (socket: Socket | undefined): Promise<boolean> => {
    if (socket === undefined) throw new Error('there is no such reader');
    let bytes = 0;
    const whole = new Promise<void>((resolve) => {
      socket.on('data', (data: Buffer) => {
        bytes += data.byteLength;
        if (bytes > big.length) resolve();
      });
    });
    socket.resume();
    await Promise.race([whole, socket.closed ? undefined : once(socket, 'close')]);
    return bytes < big.length;
  };
  expect(await cut(readers[0])).toBe(true);
  // The last one, as soon as it takes what it has asked for, gets all of it.
  expect(await cut(readers.at(-1))).toBe(false);
});

test('H-27 plans are made two at a time, for the API and for the page: a few wait, others are told to come again, and everything else is answered', async () => {
  const opened = await scene({ page: (daemon) => mountedPage(daemon) });
  const archive = opened.daemon.clusters.get('main')?.archive;
  if (archive === undefined) throw new Error('there is no archive');
  let [underWay, most] = [0, 0];
  let areTwo = (): void => undefined;
  const two = new Promise<void>((resolve) => (areTwo = resolve));
  const plan = archive.planRestore.bind(archive);
  vi.spyOn(archive, 'planRestore').mockImplementation(async (call) => {
    most = Math.max(most, ++underWay);
    if (underWay === 2) areTwo();
    try {
      await two;
      return await plan(call);
    } finally {
      underWay--;
    }
  });
  const paths = [`${API}/clusters/main/restore-plan?target=immediate`, '/clusters/main/restore'];
  const plans = Promise.all(Array.from({ length: 40 }, (_, at) => ask(opened.server, paths[at % 2] ?? '')));
  await expectAnswered(opened);
  const answers = await plans;
  expect(answers.filter(({ status }) => status === 200).length).toBeGreaterThanOrEqual(10);
  for (const { status, headers } of answers)
    if (status !== 200) expect([status, Number(headers['retry-after']) > 0]).toEqual([503, true]);
  expect(most).toBe(2);
  expect((await ask(opened.server, `${API}/clusters/main/restore-plan`)).status).toBe(200);
});
