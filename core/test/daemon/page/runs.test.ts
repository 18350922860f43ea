/** Runs on the page, between the end of one and the look that sees it. */
import { Hono } from 'hono';
import { expect, test } from 'vitest';
import type { HttpEnv } from '../../../src/daemon/http/caller.ts';
import { Turnstile } from '../../../src/daemon/http/turnstile.ts';
import { pageRoutes } from '../../../src/daemon/page/page-routes.ts';
import type { Run } from '../../../src/schedule/run.ts';
import { scene } from '../http/scene.ts';

test('a run that has ended since the last look is shown as it ended, and is no address without anything', async () => {
  const { daemon, scheduler } = await scene();
  const ended = new Map<string, Run>();
  const app = new Hono<HttpEnv>();
  app.use(async (context, next) => {
    context.set('caller', { name: 'ada', role: 'operator' });
    context.set('recent', { of: () => ended });
    context.set('heavy', new Turnstile(1, 1));
    await next();
  });
  app.route('/', pageRoutes(daemon));
  const shown = async (path: string): Promise<readonly [status: number, text: string]> => {
    const answer = await app.request(`/clusters/main/runs${path}`);
    return [answer.status, await answer.text()];
  };
  const { id } = await scheduler.start({ kind: 'backup', by: 'ada' });
  expect(await shown(`/${id}`)).toEqual([200, expect.stringContaining('running')]);
  const run = await scheduler.cancel(id, 'grace');
  ended.set(id, run);
  expect(daemon.clusters.get('main')?.latest()?.runs).toEqual([]);
  const [status, text] = await shown(`/${id}`);
  expect(status).toBe(200);
  expect(text).toContain('cancelled by grace');
  expect((await shown(''))[1]).toContain('cancelled by grace');
  expect((await shown('/none'))[0]).toBe(404);
});
