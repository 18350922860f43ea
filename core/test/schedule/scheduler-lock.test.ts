/** A scheduler that loses the lock of its cluster, or whose cluster becomes another one. */
import { describe, expect, test } from 'vitest';
import { until } from '../../../test/support/until.ts';
import type { TakeLead } from '../../src/schedule/cluster-lock.ts';
import { AwayStorage, granted, job, leads, Scene } from './scheduling.ts';

describe('the lock of the cluster', () => {
  test('H-82 two that both believe to have it begin each moment once', async () => {
    const scene = await Scene.set({ storages: [new AwayStorage(), new AwayStorage()] });
    const jobs = [job({ do: 'check', at: '* * * * *' }), job({ do: 'gc', at: '*/2 * * * *' })];
    const both = [scene.scheduler(jobs, { host: 'backup1' }), scene.scheduler(jobs, { host: 'backup2' })];
    for (const scheduler of both) await leads(scheduler);
    for (let minute = 1; minute <= 20; minute++) {
      const stamp = `20260501T00${String(minute).padStart(2, '0')}00000Z`;
      scene.clock.to(`2026-05-01T00:${String(minute).padStart(2, '0')}:00Z`);
      (await scene.begins(`check-${stamp}`)).end();
      if (minute % 2 === 0) (await scene.begins(`gc-${stamp}`)).end();
      await until('nothing goes on', () => both.every((scheduler) => scheduler.running().length === 0));
    }
    expect(scene.begun).toHaveLength(30);
    expect(new Set(scene.begun).size).toBe(30);
  });

  test('when it is lost what runs goes on, and is not taken for interrupted when it is back', async () => {
    const scene = await Scene.set();
    const lock = granted();
    const scheduler = scene.scheduler([job({ do: 'backup', at: '0 1 * * *' })], lock);
    await leads(scheduler);
    scene.clock.to('2026-05-01T01:00:00Z');
    const { context, end } = await scene.begins('backup-20260501T010000000Z');
    lock.lose();
    await until('it is back', () => scheduler.state.state === 'running');
    scene.clock.to('2026-05-01T01:10:00Z');
    expect(context.signal.aborted).toBe(false);
    end();
    await scene.recorded('backup-20260501T010000000Z', 'succeeded');
    expect(scene.begun).toHaveLength(1);
  });

  test('when another one has it what runs is cancelled, and left to it', async () => {
    const scene = await Scene.set();
    const lock = granted();
    let isTaken = false;
    const takeLead: TakeLead = (options) => {
      if (!isTaken) return lock.takeLead(options);
      options.onWaiting({ taken: true, problem: 'a daemon on backup2 runs the jobs' });
      return new Promise((_, reject) =>
        options.signal.addEventListener('abort', () => reject(options.signal.reason as Error)),
      );
    };
    const scheduler = scene.scheduler([job({ do: 'backup', at: '0 1 * * *' })], { takeLead });
    await leads(scheduler);
    scene.clock.to('2026-05-01T01:00:00Z');
    await scene.begins('backup-20260501T010000000Z');
    isTaken = true;
    lock.lose();
    expect(await scene.recorded('backup-20260501T010000000Z', 'interrupted')).toMatchObject({
      summary: 'the lock of the cluster was lost, and a daemon on backup2 runs the jobs',
    });
    expect(scheduler.state.state).toBe('waiting');
  });

  test('who is cut off from the server alone goes on, while another one does it again: its end is no other record, and it tells nothing of it', async () => {
    const scene = await Scene.set();
    const lock = granted();
    let isAway = false;
    const takeLead: TakeLead = (options) => {
      if (!isAway) return lock.takeLead(options);
      options.onWaiting({ taken: false, problem: 'db1:5432 does not answer' });
      return new Promise((_, reject) =>
        options.signal.addEventListener('abort', () => reject(options.signal.reason as Error)),
      );
    };
    const jobs = [job({ do: 'drill', at: '0 1 * * *' })];
    const away = scene.scheduler(jobs, { takeLead });
    await leads(away);
    scene.clock.to('2026-05-01T01:00:00Z');
    const first = await scene.begins('drill-20260501T010000000Z');
    isAway = true;
    lock.lose();
    await until('it waits', () => away.state.state === 'waiting');
    const next = scene.scheduler(jobs, { host: 'backup2' });
    await leads(next);
    scene.clock.to('2026-05-01T01:00:15Z');
    const second = await scene.begins('drill-20260501T010000001Z');
    expect(first.context.signal.aborted).toBe(false);
    expect(scene.events.map(({ data }) => 'run' in data && data.run)).toEqual(['drill-20260501T010000000Z']);
    first.end({ summary: 'proven here' });
    await until('the first one has ended', () => away.running().length === 0);
    second.end({ summary: 'proven there' });
    await scene.recorded('drill-20260501T010000001Z', 'succeeded');
    expect(await scene.history()).toMatchObject([
      { id: 'drill-20260501T010000001Z', state: 'succeeded', summary: 'proven there', host: 'backup2' },
      { id: 'drill-20260501T010000000Z', state: 'interrupted', host: 'backup1' },
    ]);
    expect(scene.events.map(({ name, data }) => [name, 'run' in data && data.run])).toEqual([
      ['run.failed', 'drill-20260501T010000000Z'],
      ['run.finished', 'drill-20260501T010000001Z'],
    ]);
  });
});

describe('a cluster that comes back with another system identifier', () => {
  const OTHER = '7300000000000000002';

  test('gets the ends of its runs under the one that they began with, also those that could not be written at once', async () => {
    const scene = await Scene.set();
    const lock = granted();
    const scheduler = scene.scheduler(
      [job({ do: 'verify', at: '0 1 * * *' }), job({ do: 'drill', at: '0 1 * * *' })],
      lock,
    );
    await leads(scheduler);
    const [storage] = scene.storages as [AwayStorage];
    scene.clock.to('2026-05-01T01:00:00Z');
    const verify = await scene.begins('verify-20260501T010000000Z');
    const drill = await scene.begins('drill-20260501T010000000Z');
    storage.isAway = true;
    verify.end();
    await until('it has ended', () => scheduler.running().length === 1);
    lock.become(OTHER);
    await until('it waits for the storage', () => scheduler.state.state === 'waiting');
    storage.isAway = false;
    scene.clock.to('2026-05-01T01:01:00Z');
    await leads(scheduler);
    drill.end();
    for (const id of ['verify-20260501T010000000Z', 'drill-20260501T010000000Z']) {
      scene.clock.to('2026-05-01T01:02:00Z');
      await scene.recorded(id, 'succeeded');
    }
    scene.clock.to('2026-05-03T01:00:00Z');
    await scene.begins('drill-20260503T010000000Z');
    const states = (await scene.history()).filter(({ planned }) => planned < Date.parse('2026-05-02T00:00:00Z'));
    expect(states.map(({ state }) => state)).toEqual(['succeeded', 'succeeded']);
  });

  test('a run of the former one without an end is not running for ever: after a day its end is not known', async () => {
    const scene = await Scene.set();
    const lock = granted();
    const left = scene.scheduler([job({ do: 'backup', at: '0 1 * * *' })], lock);
    await leads(left);
    scene.clock.to('2026-05-01T01:00:00Z');
    await scene.begins('backup-20260501T010000000Z');
    // The first daemon is gone without a word.
    const other = granted();
    other.become(OTHER);
    const next = scene.scheduler([job({ do: 'check', at: '0 1 * * *' })], {
      takeLead: other.takeLead,
      host: 'backup2',
    });
    await leads(next);
    scene.clock.to('2026-05-02T00:59:59Z');
    await next.start({ kind: 'gc', by: 'anna' });
    const backup = (await scene.history()).find(({ kind }) => kind === 'backup');
    // Its server may still be there, with a daemon of its own, such as while one moves to a new version.
    expect(backup).toMatchObject({ state: 'running' });
    scene.clock.to('2026-05-02T01:00:00Z');
    expect(await scene.recorded('backup-20260501T010000000Z', 'interrupted')).toMatchObject({
      host: 'backup1',
      summary: 'how it ended is not known: the system identifier of the cluster has changed since it began on backup1',
    });
    expect(scene.begun.filter((id) => id.startsWith('backup'))).toHaveLength(1);
  });

  test('what is removed with a former system is not put on record again', async () => {
    const scene = await Scene.set();
    const jobs = [job({ do: 'backup', at: '0 1 * * *' }), job({ do: 'drill', at: '0 1 * * *' })];
    await leads(scene.scheduler(jobs));
    scene.clock.to('2026-05-01T01:00:00Z');
    for (const kind of ['backup', 'drill']) await scene.begins(`${kind}-20260501T010000000Z`);
    const other = granted();
    other.become(OTHER);
    await leads(scene.scheduler([], { takeLead: other.takeLead, host: 'backup2' }));
    const [storage] = scene.storages as [AwayStorage];
    const keys: string[] = [];
    for await (const { key } of storage.list('')) if (key.includes('/job-backup/')) keys.push(key);
    expect(keys).toHaveLength(2);
    await storage.remove(keys);
    scene.clock.to('2026-05-02T01:00:00Z');
    await scene.recorded('drill-20260501T010000000Z', 'interrupted');
    for await (const { key } of storage.list('')) expect(key).not.toContain('/job-backup/');
  });
});
