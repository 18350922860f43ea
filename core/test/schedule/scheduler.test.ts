/** The loop of the scheduler, with a clock and work that the test has in its hands. */
import { isArchiveError } from '@pgark/sdk';
import { describe, expect, test } from 'vitest';
import { until } from '../../../test/support/until.ts';
import { ArchiveError } from '../../src/contracts/errors.ts';
import type { TakeLead } from '../../src/schedule/cluster-lock.ts';
import type { Run } from '../../src/schedule/run.ts';
import type { JobScheduler } from '../../src/schedule/scheduler.ts';
import { readHistory } from '../../src/schedule/history.ts';
import { RunRecords } from '../../src/schedule/run-records.ts';
import { recordingLogger } from '../plugins/support.ts';
import { SYSTEM } from '../retention/small-archive.ts';
import { AwayStorage, granted, job, Scene } from './scheduling.ts';

const HOUR = 3_600_000;
const leads = (scheduler: JobScheduler): Promise<void> =>
  until(
    'it runs the jobs',
    () => scheduler.state.state === 'running',
    () => JSON.stringify(scheduler.state),
  );
const withCode = (code: string): unknown =>
  expect.toSatisfy((error) => isArchiveError(error) && error.code === code, code);

describe('a run', () => {
  test('begins when it is due, and is on record with what came of it', async () => {
    const scene = await Scene.set();
    const scheduler = scene.scheduler([job({ do: 'backup', at: '0 3 * * *', label: 'nightly' })]);
    await leads(scheduler);
    expect(scheduler.planned()).toMatchObject([{ job: { name: 'backup' }, next: Date.parse('2026-05-01T03:00:00Z') }]);
    scene.clock.to('2026-05-01T02:59:59Z');
    expect(scheduler.running()).toEqual([]);
    scene.clock.to('2026-05-01T03:00:00Z');
    const { context, end } = await scene.begins('backup-20260501T030000000Z');
    expect(context.label).toBe('nightly');
    context.onProgress({ done: 5, total: 10, text: 'copying' });
    context.logger.info({ part: 1 }, 'a part is done');
    expect(scheduler.running()).toMatchObject([{ state: 'running', progress: { done: 5, total: 10 } }]);
    scene.clock.to('2026-05-01T03:10:00Z');
    end({ summary: 'backup 1', result: { bytes: 7 } });
    const run = await scene.recorded('backup-20260501T030000000Z', 'succeeded');
    expect(run).toMatchObject({
      job: 'backup',
      trigger: 'schedule',
      host: 'backup1',
      summary: 'backup 1',
      result: { bytes: 7 },
    });
    expect((run.ended ?? 0) - run.started).toBe(600_000);
    await until('it is told', () => scene.events.length > 0);
    expect(scene.events).toMatchObject([{ name: 'run.finished', data: { run: run.id, job: 'backup' } }]);
    expect(scheduler.log(run.id)?.map(({ message }) => message)).toContain('a part is done');
  });

  test('that fails, or falls short, is on record with its code, and told', async () => {
    const scene = await Scene.set();
    const scheduler = scene.scheduler([job({ do: 'check', at: '0 * * * *' })]);
    await leads(scheduler);
    scene.clock.to('2026-05-01T01:00:00Z');
    const failure = new ArchiveError('CHECK_FAILED', '1 of 20 checks failed');
    (await scene.begins('check-20260501T010000000Z')).end({ summary: 'looked', failure });
    expect(await scene.recorded('check-20260501T010000000Z', 'failed')).toMatchObject({
      summary: 'looked',
      error: { code: 'CHECK_FAILED', message: '1 of 20 checks failed' },
    });
    scene.clock.to('2026-05-01T02:00:00Z');
    (await scene.begins('check-20260501T020000000Z')).fail(new Error('broken'));
    expect(await scene.recorded('check-20260501T020000000Z', 'failed')).toMatchObject({ error: { code: 'INTERNAL' } });
    expect(scene.events.map(({ name, data }) => [name, 'code' in data && data.code])).toEqual([
      ['run.failed', 'CHECK_FAILED'],
      ['run.failed', 'INTERNAL'],
    ]);
  });

  test('H-82 that is wedged is cancelled by its timeout, keeps no other kind waiting, and no other one of its kind begins beside it', async () => {
    const scene = await Scene.set();
    const scheduler = scene.scheduler([
      job({ do: 'verify', at: '0 1 * * *', timeout: HOUR }),
      job({ name: 'often', do: 'verify', at: '30 * * * *' }),
      job({ do: 'check', at: '*/30 * * * *' }),
    ]);
    await leads(scheduler);
    scene.clock.to('2026-05-01T00:30:00Z');
    (await scene.begins('check-20260501T003000000Z')).end();
    (await scene.begins('often-20260501T003000000Z')).end();
    await until('both ended', () => scheduler.running().length === 0);
    scene.clock.to('2026-05-01T01:00:00Z');
    const wedged = await scene.begins('verify-20260501T010000000Z');
    (await scene.begins('check-20260501T010000000Z')).end();
    scene.clock.to('2026-05-01T01:30:00Z');
    (await scene.begins('check-20260501T013000000Z')).end();
    expect(scene.begun.filter((id) => id.startsWith('often'))).toHaveLength(1);
    expect(wedged.context.signal.aborted).toBe(false);
    scene.clock.to('2026-05-01T02:00:00Z');
    const late = await scene.recorded('verify-20260501T010000000Z', 'failed');
    expect(late.error).toMatchObject({ code: 'ABORTED', message: 'it was not done in 3600 s, its timeout' });
    // What waited begins, for it is not due again yet.
    await scene.begins('often-20260501T013000000Z');
  });

  test('what is due while one of its kind goes on waits, and is skipped, with a record, once it is due again', async () => {
    const scene = await Scene.set();
    const scheduler = scene.scheduler([job({ do: 'drill', at: '0 * * * *' })]);
    await leads(scheduler);
    scene.clock.to('2026-05-01T01:00:00Z');
    const { end } = await scene.begins('drill-20260501T010000000Z');
    for (const hour of ['02', '03', '04']) {
      scene.clock.to(`2026-05-01T${hour}:00:00Z`);
      if (hour !== '02') await scene.recorded(`drill-20260501T0${Number(hour) - 1}0000000Z`, 'skipped');
    }
    expect(scene.events.map(({ data }) => 'state' in data && data.state)).toEqual(['skipped', 'skipped']);
    end();
    await scene.begins('drill-20260501T040000000Z');
  });

  test('what removes waits for what else removes', async () => {
    const scene = await Scene.set();
    const scheduler = scene.scheduler([job({ do: 'expire', at: '0 1 * * *' }), job({ do: 'gc', at: '1 1 * * *' })]);
    await leads(scheduler);
    scene.clock.to('2026-05-01T01:00:00Z');
    const { end } = await scene.begins('expire-20260501T010000000Z');
    scene.clock.to('2026-05-01T01:02:00Z');
    await expect(scheduler.start({ kind: 'gc', by: 'anna' })).rejects.toEqual(withCode('RUN_BUSY'));
    expect(scene.begun).toHaveLength(1);
    end();
    await scene.begins('gc-20260501T010100000Z');
  });
});

describe('somebody', () => {
  test('asks for a run, once of its kind at a time, and cancels it', async () => {
    const scene = await Scene.set();
    const scheduler = scene.scheduler([]);
    await leads(scheduler);
    const asked = scheduler.start({ kind: 'backup', by: 'anna', label: 'before the upgrade' });
    await expect(scheduler.start({ kind: 'backup', by: 'ben' })).rejects.toEqual(withCode('RUN_BUSY'));
    const run = await asked;
    expect(run).toMatchObject({ id: 'backup-20260501T000000001Z', trigger: 'request', by: 'anna', state: 'running' });
    expect((await scene.begins(run.id)).context.label).toBe('before the upgrade');
    await expect(scheduler.cancel('backup-19990501T000000001Z', 'ben')).rejects.toEqual(withCode('RUN_NOT_FOUND'));
    expect(await scheduler.cancel(run.id, 'ben')).toMatchObject({ state: 'cancelled', summary: 'cancelled by ben' });
    expect(await scene.recorded(run.id, 'cancelled')).toMatchObject({ by: 'anna', summary: 'cancelled by ben' });
    expect(scene.events).toEqual([]);
    await scheduler.start({ kind: 'backup', by: 'anna' });
  });

  test('is told why not, where this is not the one that runs the jobs', async () => {
    const scene = await Scene.set();
    const takeLead: TakeLead = ({ signal, onWaiting }) => {
      onWaiting({ taken: true, problem: 'a daemon on backup2 runs the jobs' });
      return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
    };
    const scheduler = scene.scheduler([job({ do: 'check', at: '* * * * *' })], { takeLead });
    await expect(scheduler.start({ kind: 'check', by: 'anna' })).rejects.toEqual(withCode('SCHEDULER_WAITING'));
    expect(scheduler.state).toMatchObject({ state: 'waiting', problem: 'a daemon on backup2 runs the jobs' });
    scene.clock.to('2026-05-02T00:00:00Z');
    await scheduler.close();
    expect(scheduler.state.state).toBe('stopped');
    expect(scene.begun).toEqual([]);
  });
});

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
});

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
});
