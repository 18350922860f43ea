/** H-27: who scrapes in a loop, or all at once, costs one collection now and then. */
import { expect, test } from 'vitest';
import { SharedMetrics } from '../../../src/daemon/http/shared-metrics.ts';
import { ask, scene, VIEWER } from './scene.ts';

test('H-27 metrics are collected once at a time, and what was collected is shared for a moment', async () => {
  let now = 0;
  let collections = 0;
  const ends: (() => void)[] = [];
  const shared = new SharedMetrics(
    {
      contentType: 'text/plain',
      text: () => new Promise((resolve) => ends.push(() => resolve(`${++collections}`))),
    },
    () => now,
  );
  const first = Array.from({ length: 100 }, () => shared.text());
  expect(ends).toHaveLength(1);
  now = 400;
  ends[0]?.();
  expect(new Set(await Promise.all(first))).toEqual(new Set(['1']));
  // It is as old as its beginning.
  now = 999;
  expect(await shared.text()).toBe('1');
  now = 1000;
  const second = [shared.text(), shared.text()];
  expect(ends).toHaveLength(2);
  ends[1]?.();
  expect(await Promise.all(second)).toEqual(['2', '2']);
});

test('a collection that fails is nobody else’s', async () => {
  let fails = true;
  const shared = new SharedMetrics({
    contentType: 'text/plain',
    text: async () => {
      if (fails) throw new Error('it fails');
      return 'good';
    },
  });
  await expect(shared.text()).rejects.toThrow('it fails');
  fails = false;
  expect(await shared.text()).toBe('good');
});

test('H-27 a flood of scrapes is one collection, and nobody is turned away for it', async () => {
  let collections = 0;
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  const { server } = await scene({
    metrics: {
      contentType: 'text/plain',
      text: async () => {
        collections++;
        await opened;
        return 'pgark_up 1\n';
      },
    },
  });
  const flood = Array.from({ length: 90 }, () => ask(server, '/metrics', { token: VIEWER }));
  await expect.poll(() => collections).toBe(1);
  expect((await ask(server, '/api/v1', { token: VIEWER })).status).toBe(200);
  open();
  expect(new Set((await Promise.all(flood)).map(({ status }) => status))).toEqual(new Set([200]));
  expect(collections).toBeLessThanOrEqual(2);
});
