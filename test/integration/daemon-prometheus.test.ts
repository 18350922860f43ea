/**
 * A real Prometheus scrapes a real daemon and evaluates the rules, while one failure after the other is driven: alerts fire, and clear. What the
 * rules wait for is shortened; each with its own times is tested by promtool (test/docs/monitoring.test.ts).
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { stringify } from 'yaml';
import { Metrics } from '../../core/src/daemon/metrics/metrics.ts';
import { sectionFor, streamIs, testDaemon } from '../support/daemon.ts';
import { freePort } from '../support/free-port.ts';
import { later } from '../support/later.ts';
import { PostgresServer } from '../support/postgres.ts';
import { hasPrometheus, NO_PROMETHEUS, PROMETHEUS } from '../support/prometheus.ts';
import { until } from '../support/until.ts';

const RULES = new URL('../../docs/monitoring/pgark.rules.yml', import.meta.url);
const isWanted = process.env['PGARK_TEST_FULL'] === '1' && hasPrometheus;

interface Alert {
  readonly state: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

test.runIf(isWanted)(`alerts fire and clear in Prometheus (PGARK_TEST_FULL=1; ${NO_PROMETHEUS})`, async () => {
  const server = later(await PostgresServer.start({ major: 17, segmentMegabytes: 1 }), (one) => one.destroy());
  const opened = await testDaemon((folder) => ({
    main: {
      ...(sectionFor(folder, 'main', server.url()) as object),
      status: { cacheAge: 'off' },
      backup: { checkpoint: 'fast' },
    },
  }));
  const { daemon, folder } = opened;
  const metrics = new Metrics(daemon);
  later(metrics, (one) => one.close());
  const port = await freePort();
  let endpoint = await serve(metrics, port);
  later(undefined, () => stop(endpoint));
  const asked = await prometheus(folder, port);

  /** The alerts that fire; each with texts that are whole. */
  const firing = async (): Promise<readonly string[]> => {
    const { alerts } = await asked<{ alerts: readonly Alert[] }>('/api/v1/alerts');
    for (const { annotations } of alerts)
      for (const text of Object.values(annotations)) expect(text).not.toMatch(/error|no value|NaN/i);
    return [
      ...new Set(alerts.filter(({ state }) => state === 'firing').map(({ labels }) => labels['alertname'] ?? '')),
    ];
  };
  const fires = async (...names: readonly string[]): Promise<void> => {
    let last: readonly string[] = [];
    await until(
      `${names.join(', ') || 'nothing'} fires`,
      async () => {
        last = await firing();
        return names.length === 0 ? last.length === 0 : names.every((name) => last.includes(name));
      },
      () => `${last.join()}\n${opened.logs.slice(-20).join('\n')}`,
    );
  };
  const cluster = daemon.clusters.get('main');
  if (cluster === undefined) throw new Error('no cluster');

  await streamIs(opened, 'main', 'streaming');
  await fires('PgarkNoBackup', 'PgarkNothingRestorable');
  await cluster.archive.backup();
  await fires();

  await server.stop();
  await fires('PgarkReceiverDown');
  await server.start();
  await fires();

  const repository = join(folder, 'main.repository');
  renameSync(repository, `${repository}.away`);
  await fires('PgarkRepositoryUnreachable');
  renameSync(`${repository}.away`, repository);
  await fires();

  await stop(endpoint);
  await fires('PgarkDown');
  endpoint = await serve(metrics, port);
  await fires();

  const segments = (): readonly string[] =>
    readdirSync(repository, { recursive: true, encoding: 'utf8' })
      .filter((name) => /\/[0-9A-F]{24}-[0-9a-f]{32}/.test(name))
      .sort();
  const before = segments().length;
  for (let turn = 0; turn < 3; turn += 1)
    await server.query('SELECT pg_switch_wal() FROM pg_logical_emit_message(true, $1, $2)', ['test', 'x']);
  await until('they are shipped', () => segments().length >= before + 3);
  rmSync(join(repository, segments().at(-2) ?? ''));
  await fires('PgarkWalGap');
  await cluster.archive.backup();
  await until('the gap is a hole', async () => {
    const all = await firing();
    return all.includes('PgarkWalHole') && !all.includes('PgarkWalGap');
  });

  const { groups } = await asked<{ groups: readonly { rules: readonly { name: string; health: string }[] }[] }>(
    '/api/v1/rules',
  );
  const all = groups.flatMap(({ rules }) => rules);
  expect(all.length).toBeGreaterThan(30);
  expect(all.filter(({ health }) => health !== 'ok')).toEqual([]);
});

async function serve(metrics: Metrics, port: number): Promise<Server> {
  const answer = async (response: ServerResponse): Promise<void> => {
    const text = await metrics.text();
    response.writeHead(200, { 'content-type': metrics.contentType });
    response.end(text);
  };
  const endpoint = createServer((_, response) => void answer(response));
  endpoint.listen(port, '127.0.0.1');
  await once(endpoint, 'listening');
  return endpoint;
}

async function stop(endpoint: Server): Promise<void> {
  if (!endpoint.listening) return;
  const closed = once(endpoint, 'close');
  endpoint.close();
  endpoint.closeAllConnections();
  await closed;
}

/** Starts one that scrapes the port every second, and gives how its API is asked. */
async function prometheus(folder: string, port: number): Promise<<Data>(path: string) => Promise<Data>> {
  const rules = readFileSync(RULES, 'utf8')
    .replaceAll(/for: \d+[mh]/g, 'for: 2s')
    .replaceAll(/\[\d+m\]/g, '[10s]');
  writeFileSync(join(folder, 'rules.yml'), rules);
  const config = {
    global: { scrape_interval: '1s', evaluation_interval: '1s' },
    rule_files: ['rules.yml'],
    scrape_configs: [{ job_name: 'pgark', static_configs: [{ targets: [`127.0.0.1:${port}`] }] }],
  };
  writeFileSync(join(folder, 'prometheus.yml'), stringify(config));
  const own = await freePort();
  const child: ChildProcess = spawn(
    PROMETHEUS,
    [
      `--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(folder, 'tsdb')}`,
      `--web.listen-address=127.0.0.1:${own}`,
    ],
    { stdio: 'ignore' },
  );
  later(child, async () => {
    if (child.exitCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  });
  const address = `http://127.0.0.1:${own}`;
  await until('Prometheus is ready', async () => {
    if (child.exitCode !== null) throw new Error(`prometheus ended with ${child.exitCode}`);
    const answer = await fetch(`${address}/-/ready`).catch(() => undefined); // it does not listen yet
    return answer?.ok === true;
  });
  return async <Data>(path: string): Promise<Data> =>
    ((await (await fetch(`${address}${path}`)).json()) as { readonly data: Data }).data;
}
