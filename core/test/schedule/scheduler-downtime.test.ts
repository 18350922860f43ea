/** What a scheduler makes of the time in which nobody ran the jobs. */
import { describe, expect, test } from 'vitest';
import { until } from '../../../test/support/until.ts';
import { HOUR, job, leads, Scene } from './scheduling.ts';

describe('after downtime', () => {
  test('one run catches up, and all others are on record as skipped', async () => {
    const scene = await Scene.set();
    const jobs = [job({ do: 'check', at: '0 * * * *' })];
    const before = scene.scheduler(jobs);
    await leads(before);
    await before.close();
    scene.clock.to('2026-05-01T05:20:00Z');
    const scheduler = scene.scheduler(jobs, { host: 'backup2' });
    const { end } = await scene.begins('check-20260501T050000000Z');
    end();
    await until('it has ended', () => scheduler.running().length === 0);
    expect((await scene.history()).map(({ id, state, trigger, result }) => [id, state, trigger, result])).toEqual([
      ['check-20260501T050000000Z', 'succeeded', 'catch-up', undefined],
      ['check-20260501T040000000Z', 'skipped', 'catch-up', { moments: 4, first: '2026-05-01T01:00:00.000Z' }],
    ]);
  });

  test('what is too late by its window is skipped', async () => {
    const scene = await Scene.set();
    const jobs = [job({ do: 'backup', at: '0 1 * * *', window: HOUR })];
    const before = scene.scheduler(jobs);
    await leads(before);
    await before.close();
    scene.clock.to('2026-05-01T02:00:01Z');
    await leads(scene.scheduler(jobs));
    expect(await scene.recorded('backup-20260501T010000000Z', 'skipped')).toMatchObject({
      summary: 'no daemon could run it in time',
    });
    expect(scene.begun).toEqual([]);
  });

  test('an expression that was changed is not held against what was due by the old one', async () => {
    const scene = await Scene.set();
    const before = scene.scheduler([job({ do: 'check', at: '0 * * * *' })]);
    await leads(before);
    await before.close();
    scene.clock.to('2026-05-01T10:30:00Z');
    const scheduler = scene.scheduler([job({ do: 'check', at: '15 * * * *' })]);
    await leads(scheduler);
    scene.clock.to('2026-05-01T11:15:00Z');
    await scene.begins('check-20260501T111500000Z');
    expect((await scene.history()).map(({ id }) => id)).toEqual(['check-20260501T111500000Z']);
  });

  test('a run whose daemon is gone is interrupted, once, and done again within its window, three times at most', async () => {
    const scene = await Scene.set();
    const jobs = [job({ do: 'backup', at: '0 1 * * *' })];
    // These daemons are not closed before the end: they are gone without a word, and their work with them.
    const left = scene.scheduler(jobs);
    await leads(left);
    scene.clock.to('2026-05-01T01:00:00Z');
    await scene.begins('backup-20260501T010000000Z');
    let interrupted = 'backup-20260501T010000000Z';
    for (const [minute, again] of [
      ['10', 'backup-20260501T010000001Z'],
      ['20', 'backup-20260501T010000002Z'],
    ] as const) {
      scene.clock.to(`2026-05-01T01:${minute}:00Z`);
      const next = scene.scheduler(jobs, { host: `backup${minute}` });
      await leads(next);
      expect(scene.begun).not.toContain(again);
      scene.clock.to(`2026-05-01T01:${minute}:15Z`);
      await scene.begins(again);
      expect(await scene.recorded(interrupted, 'interrupted')).toMatchObject({
        trigger: interrupted.endsWith('000Z') ? 'schedule' : 'catch-up',
      });
      expect(next.running()).toMatchObject([{ id: again, trigger: 'catch-up', repeats: interrupted }]);
      interrupted = again;
    }
    scene.clock.to('2026-05-01T01:30:00Z');
    const last = scene.scheduler(jobs, { host: 'backup4' });
    await leads(last);
    scene.clock.to('2026-05-01T01:30:15Z');
    await scene.recorded(interrupted, 'interrupted');
    scene.clock.to('2026-05-01T02:30:00Z');
    expect(scene.begun).toHaveLength(3);
    const told = scene.events.filter(({ name }) => name === 'run.failed');
    expect(told).toHaveLength(3);
  });

  test('a daemon that is stopped leaves what ran to the next one', async () => {
    const scene = await Scene.set();
    const jobs = [job({ do: 'backup', at: '0 1 * * *' })];
    const before = scene.scheduler(jobs);
    await leads(before);
    scene.clock.to('2026-05-01T01:00:00Z');
    await scene.begins('backup-20260501T010000000Z');
    await before.close();
    expect(await scene.recorded('backup-20260501T010000000Z', 'interrupted')).toMatchObject({
      summary: 'the daemon on backup1 was stopped',
    });
    const next = scene.scheduler(jobs);
    (await scene.begins('backup-20260501T010000001Z')).end();
    await until('it has ended', () => next.running().length === 0);
    expect(await scene.recorded('backup-20260501T010000001Z', 'succeeded')).toMatchObject({
      repeats: 'backup-20260501T010000000Z',
    });
  });
});
