/** The HTTP side of a daemon with a real server: health and runs are what is so, and clients cannot hold the receiver up. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ROUTES } from '../../core/src/daemon/http/routes/index.ts';
import { serveHttp } from '../../core/src/daemon/http/serve-http.ts';
import type { HttpServer } from '../../core/src/daemon/http/server.ts';
import { sectionFor, testDaemon, type TestDaemon } from '../support/daemon.ts';
import type { CommitTimesOptions } from '../support/commit-times.ts';
import { later } from '../support/later.ts';
import { PostgresServer } from '../support/postgres.ts';
import { until } from '../support/until.ts';

const TOKEN = 'operator-token-0123456789';
const tokens = [{ name: 'ada', role: 'operator', token: TOKEN }];
let postgres: PostgresServer;
beforeAll(async () => {
  postgres = await PostgresServer.start({ major: 17, segmentMegabytes: 1 });
});
afterAll(() => postgres.destroy());

async function opened(section: object = {}): Promise<TestDaemon & { readonly server: HttpServer }> {
  let server: HttpServer | undefined;
  const made = await testDaemon(
    (folder) => ({ main: { ...sectionFor(folder, 'main', postgres.url()), backup: { checkpoint: 'fast' } } }),
    {
      section: { listen: '127.0.0.1:0', tokens, ...section },
      command: ['pgark'],
      http: async (daemon) =>
        (server = await serveHttp({
          daemon,
          secrets: { env: {}, directory: '/' },
          logger: { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined },
        })),
    },
  );
  if (server === undefined) throw new Error(`it does not listen:\n${made.logs.join('\n')}`);
  return { ...made, server };
}

interface Answer {
  readonly status: number;
  readonly json: Record<string, unknown>;
}

async function ask({ server }: { readonly server: HttpServer }, path: string, body?: object): Promise<Answer> {
  const response = await fetch(server.url + path, {
    headers: { Authorization: `Bearer ${TOKEN}`, 'Content-Type': 'application/json' },
    ...(body !== undefined && { method: 'POST', body: JSON.stringify(body) }),
  });
  return { status: response.status, json: (await response.json()) as Record<string, unknown> };
}

test('readiness follows the stream, a backup that is asked for is shown while it runs and when it is on record', async () => {
  const at = await opened();
  const main = '/api/v1/clusters/main';
  const ready = async (): Promise<Answer> => ask(at, '/readyz');
  await until(
    'it is ready',
    async () => (await ready()).status === 200,
    () => at.logs.join('\n'),
  );
  expect((await ready()).json).toEqual({ status: 'ok', reasons: [] });

  // Begun anew it finds the archive that the receiver has made meanwhile; what answers over HTTP has the new one too.
  const { clusters, ...rest } = at.config.value as { clusters: { main: object } };
  at.config.value = { ...rest, clusters: { main: { ...clusters.main, concurrency: 1 } } };
  expect((await at.daemon.reload()).restarted).toEqual(['main']);
  await until('it is ready anew', async () => (await ready()).status === 200);
  let scheduler: unknown;
  await until(
    'it runs jobs',
    async () => {
      ({ scheduler } = (await ask(at, `${main}/jobs`)).json);
      return (scheduler as { state: string }).state === 'running';
    },
    () => JSON.stringify(scheduler),
  );
  const begun = await ask(at, `${main}/runs`, { kind: 'backup', label: 'by hand' });
  expect(begun.status, JSON.stringify(begun.json)).toBe(202);
  const { id } = begun.json['run'] as { id: string };
  let run: Record<string, unknown> = {};
  // From its beginning on it is never out of sight.
  await until(
    'the run is on record',
    async () => {
      const shown = await ask(at, `${main}/runs/${id}`);
      expect(shown.status).toBe(200);
      run = shown.json['run'] as Record<string, unknown>;
      return run['state'] !== 'running';
    },
    () => `${JSON.stringify(run)}\n${at.logs.join('\n')}`,
  );
  expect(run).toMatchObject({ id, kind: 'backup', trigger: 'request', by: 'ada', state: 'succeeded' });
  await at.daemon.clusters.get('main')?.look();
  const { backups } = (await ask(at, `${main}/backups`)).json as {
    backups: { state: string; record: { label: string } }[];
  };
  expect(backups).toMatchObject([{ state: 'complete', record: { label: 'by hand' } }]);
  expect((await ask(at, `${main}/backups/latest`)).json).toMatchObject({ backup: { state: 'restorable' } });
  // With a real server every answer is what its row says, too.
  for (const row of ROUTES.filter(({ method }) => method === 'GET')) {
    const path = `/api/v1${row.path}`
      .replace('{cluster}', 'main')
      .replace('{id}', row.path.includes('/runs/') ? id : 'latest')
      .replace(/\/$/, '');
    const { status, json } = await ask(at, path);
    expect(status, `${path}: ${JSON.stringify(json).slice(0, 300)}`).toBe(200);
    const result = row.answer.safeParse(json);
    expect(result.error?.issues, path).toBeUndefined();
    expect(result.data, path).toEqual(json);
  }

  await postgres.stop('immediate');
  await until('it is not ready', async () => (await ready()).status === 503);
  expect((await ready()).json['reasons']).toEqual([expect.stringMatching(/^cluster main: the receiver /)]);
  // A new start would not help.
  expect((await ask(at, '/livez')).status).toBe(200);
  await postgres.start();
  await until(
    'it is ready again',
    async () => (await ready()).status === 200,
    () => at.logs.join('\n'),
  );
});

/** Milliseconds of commits that wait for the receiver, ascending. */
async function commits(count: number): Promise<readonly number[]> {
  const workerData: CommitTimesOptions = { url: postgres.url(), count };
  const [times] = await once(new Worker(COMMIT_TIMES, { workerData }), 'message');
  return times as readonly number[];
}

const quantile = (part: number, sorted: readonly number[]): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
const median = (numbers: readonly number[]): number =>
  quantile(
    0.5,
    numbers.toSorted((one, other) => one - other),
  );

/**
 * Clients that hold connections with requests that do not end, and one that asks and guesses: once they are there, as what it costs this process
 * to be 300 clients is no matter of the daemon. `end` gives how many were there to the last.
 */
async function slowClients(opened: { readonly server: HttpServer }): Promise<{ readonly end: () => Promise<number> }> {
  const { port } = new URL(opened.server.url);
  const slow = await Promise.all(
    Array.from({ length: 300 }, async () => {
      const socket = later(connect(Number(port), '127.0.0.1'), (each) => each.destroy());
      socket.on('error', () => undefined); // to be cut off is what it is for
      await once(socket, 'connect');
      socket.write('POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n{');
      return socket;
    }),
  );
  expect((await ask(opened, '/api/v1')).status).toBe(200);
  const stop = new AbortController();
  // One after the other, so that what is measured is what they hold up, not what they take of two cores.
  const guessing = (async () => {
    while (!stop.signal.aborted) {
      await ask(opened, '/api/v1/openapi.json');
      await fetch(`${opened.server.url}/api/v1`, { headers: { Authorization: 'Bearer wrong-token-0123456789' } });
      await sleep(20);
    }
  })();
  return {
    end: async () => {
      const left = slow.filter((socket) => !socket.closed).length;
      stop.abort();
      await guessing;
      for (const socket of slow) socket.destroy();
      return left;
    },
  };
}

const COMMIT_TIMES = new URL('../support/commit-times.ts', import.meta.url);

/** Measurements alone and beside slow clients, of so many commits each. */
const PAIRS = 8;
const COMMITS = 2000;

test.runIf(process.env['PGARK_TEST_FULL'] === '1')(
  'H-27 slow clients, floods and guesses do not hold up the acknowledgement of commits',
  async () => {
    const opening = await opened({ refresh: '1h' });
    await until('it streams', async () => (await ask(opening, '/readyz')).status === 200);
    await postgres.query('CREATE TABLE IF NOT EXISTS load (n int)');
    await postgres.query(`ALTER SYSTEM SET synchronous_standby_names = 'pgark'`);
    await postgres.query('SELECT pg_reload_conf()');
    later(undefined, async () => {
      await postgres.query('ALTER SYSTEM RESET synchronous_standby_names');
      await postgres.query('SELECT pg_reload_conf()');
    });
    await commits(500);
    expect(
      await postgres.value(`SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'`),
      'commits wait for the receiver',
    ).toBe('1');
    // Alternating, as a machine is not as fast at one moment as at another; which comes first alternates too.
    const pairs: { readonly alone: readonly number[]; readonly beside: readonly number[] }[] = [];
    const besideClients = async (): Promise<readonly number[]> => {
      const clients = await slowClients(opening);
      const times = await commits(COMMITS);
      expect(await clients.end(), 'clients that were slow to the last').toBeGreaterThan(0);
      return times;
    };
    for (let pair = 0; pair < PAIRS; pair++) {
      if (pair % 2 === 0) {
        const alone = await commits(COMMITS);
        pairs.push({ alone, beside: await besideClients() });
      } else {
        const beside = await besideClients();
        pairs.push({ alone: await commits(COMMITS), beside });
      }
    }
    for (const [part, name] of [
      [0.5, 'p50'],
      [0.99, 'p99'],
    ] as const) {
      const [alone, beside] = [
        median(pairs.map((pair) => quantile(part, pair.alone))),
        median(pairs.map((pair) => quantile(part, pair.beside))),
      ];
      const ratios = pairs.map((pair) => quantile(part, pair.beside) / quantile(part, pair.alone));
      process.stdout.write(
        `acknowledgement ${name}, median of ${PAIRS} pairs of ${COMMITS} commits: alone ${alone.toFixed(2)} ms, beside slow clients ${beside.toFixed(2)} ms, ` +
          `ratio ${(beside / alone).toFixed(2)}; of the pairs ${ratios.map((ratio) => ratio.toFixed(2)).join(' ')}, median ${median(ratios).toFixed(2)}\n`,
      );
    }
    // A handler that held it up would do so by seconds.
    const p99 = (which: 'alone' | 'beside'): number => median(pairs.map((pair) => quantile(0.99, pair[which])));
    expect(p99('beside')).toBeLessThan(p99('alone') * 4 + 20);
  },
);
