/** The daemon with real servers: what fails in it stays where it is. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, expect, test } from 'vitest';
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
