/** A scheduler whose repositories do not answer. */
import { describe, expect, test } from 'vitest';
import { until } from '../../../test/support/until.ts';
import { ArchiveError } from '../../src/contracts/errors.ts';
import { readHistory } from '../../src/schedule/history.ts';
import { RunRecords } from '../../src/schedule/run-records.ts';
import type { Run } from '../../src/schedule/run.ts';
import { recordingLogger } from '../plugins/support.ts';
import { SYSTEM } from '../retention/small-archive.ts';
import { AwayStorage, job, leads, Scene, withCode } from './scheduling.ts';

describe('while repositories do not answer', () => {
  test('nothing begins that cannot be put on record, the state says why, and what is due stays due', async () => {
    const scene = await Scene.set();
    const scheduler = scene.scheduler([job({ do: 'backup', at: '0 1 * * *' })]);
    await leads(scheduler);
    const [storage] = scene.storages as [AwayStorage];
    storage.isAway = true;
    scene.clock.to('2026-05-01T01:00:00Z');
    await until('it says so', () => scheduler.state.problem !== undefined);
    expect(scheduler.state).toMatchObject({ problem: 'repository repository0: the storage does not answer' });
    expect(scene.begun).toEqual([]);
    storage.isAway = false;
    scene.clock.to('2026-05-01T01:05:00Z');
    (await scene.begins('backup-20260501T010000000Z')).end();
    await scene.recorded('backup-20260501T010000000Z', 'succeeded');
    expect(scheduler.state.problem).toBeUndefined();
  });

  test('one of two keeps no run from beginning, and gets its record later', async () => {
    const scene = await Scene.set({ storages: [new AwayStorage(), new AwayStorage()] });
    const scheduler = scene.scheduler([job({ do: 'backup', at: '0 1 * * *' })]);
    await leads(scheduler);
    const [away, other] = scene.storages as [AwayStorage, AwayStorage];
    away.isAway = true;
    scene.clock.to('2026-05-01T01:00:00Z');
    (await scene.begins('backup-20260501T010000000Z')).end();
    await scene.recorded('backup-20260501T010000000Z', 'succeeded');
    away.isAway = false;
    other.isAway = true;
    await until('nothing goes on', () => scheduler.running().length === 0);
    for (const minute of ['02', '03', '04']) scene.clock.to(`2026-05-01T01:${minute}:00Z`);
    await scene.recorded('backup-20260501T010000000Z', 'succeeded');
  });

  test('one of two is asked once each time, however many ends it lacks', async () => {
    const scene = await Scene.set({ storages: [new AwayStorage(), new AwayStorage()] });
    const [, away] = scene.storages as [AwayStorage, AwayStorage];
    const run = (minute: number): Run => {
      const planned = Date.parse(`2026-05-01T00:0${minute}:00Z`);
      const id = `check-20260501T000${minute}00000Z`;
      const common = { id, job: 'check', kind: 'check', trigger: 'schedule', host: 'backup1', planned } as const;
      return { ...common, started: planned, ended: planned, state: 'succeeded', summary: 'done' };
    };
    const { repositories } = scene;
    const logger = recordingLogger();
    const records = new RunRecords({ systemId: SYSTEM, repositories, writable: repositories, claim: 'one', logger });
    away.isAway = true;
    for (const minute of [1, 2, 3, 4]) expect(await records.end(run(minute))).toBe(true);
    away.refused = 0;
    await records.settle();
    expect(away.refused).toBe(1);
    expect(records.owes).toBe(true);
    away.isAway = false;
    await records.settle();
    expect(records.owes).toBe(false);
    const { runs } = await readHistory(repositories.slice(1), { limit: 10 });
    expect(runs.map(({ id }) => id)).toEqual([4, 3, 2, 1].map((minute) => run(minute).id));
  });

  test('what is due while somebody asks for one of its kind in vain begins afterwards', async () => {
    const scene = await Scene.set();
    const scheduler = scene.scheduler([job({ do: 'backup', at: '0 3 * * *' })]);
    await leads(scheduler);
    const [storage] = scene.storages as [AwayStorage];
    scene.clock.to('2026-05-01T02:59:59Z');
    storage.isAway = true;
    const asked = scheduler.start({ kind: 'backup', by: 'anna' });
    // It is decided while the kind is taken.
    scene.clock.to('2026-05-01T03:00:00Z');
    await expect(asked).rejects.toEqual(withCode('STORAGE_UNAVAILABLE'));
    storage.isAway = false;
    // It may have been tried while the storage was away.
    scene.clock.to('2026-05-01T03:00:30Z');
    await scene.begins('backup-20260501T030000000Z');
  });

  test('the end of a run that could not be written is written later', async () => {
    const scene = await Scene.set();
    const scheduler = scene.scheduler([job({ do: 'backup', at: '0 1 * * *' })]);
    await leads(scheduler);
    const [storage] = scene.storages as [AwayStorage];
    scene.clock.to('2026-05-01T01:00:00Z');
    const { end } = await scene.begins('backup-20260501T010000000Z');
    storage.isAway = true;
    end();
    await until('it has ended', () => scheduler.running().length === 0);
    storage.isAway = false;
    expect(await scene.history()).toMatchObject([{ state: 'running' }]);
    scene.clock.to('2026-05-01T01:02:00Z');
    await scene.recorded('backup-20260501T010000000Z', 'succeeded');
  });

  test('a job that is due all the time does not put off the ends that one of two repositories lacks', async () => {
    const scene = await Scene.set({ storages: [new AwayStorage(), new AwayStorage()] });
    const scheduler = scene.scheduler([job({ do: 'check', at: '*/2 * * * * *' })]);
    await leads(scheduler);
    const [, away] = scene.storages as [AwayStorage, AwayStorage];
    const runAt = async (second: number): Promise<void> => {
      const stamp = String(second).padStart(2, '0');
      scene.clock.to(`2026-05-01T00:00:${stamp}Z`);
      (await scene.begins(`check-20260501T0000${stamp}000Z`)).end();
      await until('it has ended', () => scheduler.running().length === 0);
    };
    away.isAway = true;
    await runAt(2);
    expect(away.refused).toBeGreaterThan(0);
    away.isAway = false;
    for (let second = 4; second < 30; second += 2) await runAt(second);
    const { runs } = await readHistory(scene.repositories.slice(1), { limit: 100 });
    expect(runs.at(-1)).toMatchObject({ id: 'check-20260501T000002000Z', state: 'succeeded' });
  });
});

test('what is on record of an error is no longer than a text in a fact may be', async () => {
  const scene = await Scene.set();
  const scheduler = scene.scheduler([]);
  await leads(scheduler);
  const { id } = await scheduler.start({ kind: 'check', by: 'anna' });
  const failure = new ArchiveError('CHECK_FAILED', 'm'.repeat(9000), { hint: `Look\n${'h'.repeat(9000)}` });
  (await scene.begins(id)).end({ summary: 's'.repeat(9000), failure });
  const { error, summary } = await scene.recorded(id, 'failed');
  expect([summary, error?.message, error?.hint].map((text) => text?.length)).toEqual([500, 500, 500]);
  expect(error?.hint).toMatch(/^Look h+\.\.\.$/);
});
