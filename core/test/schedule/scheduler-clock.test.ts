/** A scheduler on a host whose clock is put forward and back. */
import { describe, expect, test } from 'vitest';
import { until } from '../../../test/support/until.ts';
import type { Run } from '../../src/schedule/run.ts';
import { type AwayStorage, HOUR, job, leads, Scene } from './scheduling.ts';

describe('a clock that was a year ahead and is put back', () => {
  const ahead = async (scene: Scene): Promise<void> => {
    scene.clock.to('2027-05-01T12:00:00Z');
    (await scene.begins('backup-20270501T030000000Z')).end();
    await scene.recorded('backup-20270501T030000000Z', 'succeeded');
  };

  test('keeps no job from running', async () => {
    const scene = await Scene.set();
    const scheduler = scene.scheduler([job({ do: 'backup', at: '0 3 * * *' })]);
    await leads(scheduler);
    await ahead(scene);
    await until('nothing goes on', () => scheduler.running().length === 0);
    scene.clock.to('2026-05-01T12:00:00Z');
    scene.clock.to('2026-05-02T03:00:00Z');
    await scene.begins('backup-20260502T030000000Z');
  });

  test('keeps no end from its record, no run without a daemon from being judged, and no timeout', async () => {
    const scene = await Scene.set({ now: '2027-05-01T00:00:00Z' });
    const first = scene.scheduler([job({ do: 'check', at: '30 11 * * *' })]);
    await leads(first);
    scene.clock.to('2027-05-01T11:30:00Z');
    await scene.begins('check-20270501T113000000Z');
    const scheduler = scene.scheduler([job({ do: 'backup', at: '0 12 * * *', timeout: HOUR })], { host: 'backup2' });
    await leads(scheduler);
    const [storage] = scene.storages as [AwayStorage];
    scene.clock.to('2027-05-01T11:30:01Z');
    await scheduler.start({ kind: 'drill', by: 'anna' });
    const [drill] = scheduler.running();
    if (drill === undefined) throw new Error('no drill goes on');
    storage.isAway = true;
    scene.ongoing.get(drill.id)?.end();
    await until('it has ended', () => scheduler.running().length === 0);
    storage.isAway = false;

    let at = Date.parse('2026-05-01T11:00:00Z');
    const found = async (id: string, state: Run['state']): Promise<boolean> =>
      (await scene.history()).some((run) => run.id === id && run.state === state);
    await until('both are on record', async () => {
      scene.clock.to(new Date((at += 5000)).toISOString());
      return (await found(drill.id, 'succeeded')) && (await found('check-20270501T113000000Z', 'interrupted'));
    });
    expect(at).toBeLessThan(Date.parse('2026-05-01T12:00:00Z'));
    scene.clock.to('2026-05-01T12:00:00Z');
    await scene.begins('backup-20260501T120000000Z');
    at = Date.parse('2025-05-01T12:00:00Z');
    scene.clock.to(new Date(at).toISOString());
    await until('it is over', async () => {
      scene.clock.to(new Date((at += 300_000)).toISOString());
      return found('backup-20260501T120000000Z', 'failed');
    });
    expect(at).toBeLessThan(Date.parse('2025-05-02T12:00:00Z'));
  });
});

describe('a clock that is put forward', () => {
  test('makes no run of another daemon an interrupted one before its time, and ends none by its timeout', async () => {
    const scene = await Scene.set();
    const first = scene.scheduler([job({ do: 'backup', at: '0 1 * * *' })]);
    await leads(first);
    scene.clock.to('2026-05-01T01:00:00Z');
    await scene.begins('backup-20260501T010000000Z');
    const next = scene.scheduler([job({ do: 'drill', at: '0 2 * * *', timeout: HOUR })], { host: 'backup2' });
    await leads(next);
    scene.clock.put('2026-05-01T02:00:00Z');
    const { context } = await scene.begins('drill-20260501T020000000Z');
    scene.clock.put('2026-05-01T05:00:00Z');
    // What it looks at now is decided by the time that it shows.
    (await next.start({ kind: 'check', by: 'anna' })) satisfies Run;
    expect(context.signal.aborted).toBe(false);
    const backup = (await scene.history()).find(({ kind }) => kind === 'backup');
    expect(backup).toMatchObject({ state: 'running' });
    scene.clock.to('2026-05-01T05:00:15Z');
    await scene.recorded('backup-20260501T010000000Z', 'interrupted');
    scene.clock.to('2026-05-01T06:00:15Z');
    await scene.recorded('drill-20260501T020000000Z', 'failed');
  });
});
