/** The daemon with real servers: what fails in it stays where it is. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Worker } from 'node:worker_threads';
import { MemoryStorage } from '@pgark/storage-memory';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { API_VERSION, type Plugin } from '../../core/src/contracts/plugin.ts';
import type { PartReport } from '../../core/src/daemon/daemon.ts';
import { sectionFor, streamIs, testDaemon } from '../support/daemon.ts';
import { later } from '../support/later.ts';
import { PostgresServer } from '../support/postgres.ts';
import { until } from '../support/until.ts';

let one: PostgresServer;
let other: PostgresServer;
beforeAll(async () => {
  [one, other] = await Promise.all([
    PostgresServer.start({ major: 17, segmentMegabytes: 1 }),
    PostgresServer.start({ major: 16, segmentMegabytes: 1 }),
  ]);
});
afterAll(async () => {
  await Promise.all([one.destroy(), other.destroy()]);
});

test('two clusters are received; one that is broken, and one whose secret is not there, keep nobody from it', async () => {
  const opened = await testDaemon((folder) => ({
    one: sectionFor(folder, 'one', one.url()),
    broken: { postgres: {}, repositories: [], nonsense: 1 },
    secret: { ...sectionFor(folder, 'secret', one.url()), postgres: { url: { env: 'NOT_THERE' } } },
    other: sectionFor(folder, 'other', other.url()),
  }));
  const { daemon } = opened;
  await daemon.ready;
  expect(daemon.state).toBe('running');
  await streamIs(opened, 'one', 'streaming');
  await streamIs(opened, 'other', 'streaming');
  expect([...daemon.clusters.keys()]).toEqual(['one', 'secret', 'other']);
  expect(daemon.broken.get('broken')?.message).toMatch(/nonsense/);
  expect(daemon.stream('secret')).toMatchObject({ state: 'SECRET_UNAVAILABLE' });
  const look = await daemon.clusters.get('one')?.look();
  expect(look?.failures).toEqual([]);
  expect(look?.status?.status.server.state).toBe('answered');
  await until(
    'samples',
    () =>
      daemon.clusters
        .get('one')
        ?.samples()
        .some(({ flushed }) => flushed !== undefined) === true,
  );
});

test('a receiving thread that ends is begun anew, and its failure is told; an observer that throws reaches nobody', async () => {
  const threads: Worker[] = [];
  const seen = (message: unknown): void => void threads.push((message as { worker: Worker }).worker);
  subscribe('worker_threads', seen);
  later(seen, () => unsubscribe('worker_threads', seen));
  const opened = await testDaemon((folder) => ({
    one: sectionFor(folder, 'one', one.url()),
    other: sectionFor(folder, 'other', other.url()),
  }));
  const { daemon, logs } = opened;
  daemon.observe({
    event: () => {
      throw new Error('an observer fails');
    },
  });
  await streamIs(opened, 'one', 'streaming');
  await streamIs(opened, 'other', 'streaming');
  expect(threads).toHaveLength(2);
  const parts = (): readonly (PartReport | undefined)[] =>
    [...daemon.clusters.values()].map((cluster) => cluster.parts()[0]);
  await until('both threads work', () => parts().every((part) => part?.state === 'running'));
  const before = parts();
  await threads[0]?.terminate();
  const hit = (): number => parts().findIndex((part) => part?.restarts === 1);
  await until(
    'it begins anew',
    () => hit() >= 0,
    () => logs.join('\n'),
  );
  const name = ['one', 'other'][hit()] ?? '';
  await streamIs(opened, name, 'streaming');
  const ended = { code: 'INTERNAL', message: expect.stringMatching(/thread ended/) as string };
  expect(parts()[hit()]).toMatchObject({ state: 'running', error: ended });
  expect(parts()[1 - hit()]).toEqual(before[1 - hit()]);
  expect(threads).toHaveLength(3);
  expect(logs.filter((line) => line.startsWith(`error: ${name}: the receiver has failed`))).toHaveLength(1);
  expect(logs.filter((line) => line.includes('an observer of event has failed'))).toHaveLength(1);
});

test('a receiver that ships when it ends, its thread gone, is not taken for one that stands still', async () => {
  const memory = new MemoryStorage();
  let free = Promise.resolve();
  let waiting = 0;
  const slow: Plugin<'storage'> = {
    name: 'slow',
    kind: 'storage',
    apiVersion: API_VERSION,
    options: { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) } },
    create: () =>
      Promise.resolve({
        capabilities: memory.capabilities,
        put: async (key, body, options) => {
          waiting += 1;
          await free;
          waiting -= 1;
          await memory.put(key, body, options);
        },
        get: (key, options) => memory.get(key, options),
        stat: (key, options) => memory.stat(key, options),
        list: (prefix, options) => memory.list(prefix, options),
        remove: (keys, options) => memory.remove(keys, options),
        close: () => memory.close(),
      }),
  };
  const opened = await testDaemon(
    (folder) => ({
      one: { ...sectionFor(folder, 'one', one.url()), repositories: [{ name: 'slow', storage: { use: 'slow' } }] },
    }),
    { plugins: [slow] },
  );
  const { daemon } = opened;
  await streamIs(opened, 'one', 'streaming');
  let release = (): void => undefined;
  free = new Promise((resolve) => (release = resolve));
  later(release, () => release());
  await one.query('CREATE TABLE filled AS SELECT pg_switch_wal()');
  await until('a segment is on its way', () => waiting > 0);
  expect(daemon.stuck(-1)).toEqual(['one']);
  let isClosed = false;
  const closed = daemon.close(20_000).then(() => (isClosed = true));
  await until('the thread has ended', () => daemon.stuck(-1).length === 0 || daemon.stuck(3000).length === 1);
  expect(isClosed).toBe(false);
  expect(daemon.stuck(3000)).toEqual([]);
  release();
  await closed;
});
