/** The loop of the scheduler: what begins, how it ends, and what somebody asks for. Clock and work are in the hands of the test. */
import { describe, expect, test } from 'vitest';
import { until } from '../../../test/support/until.ts';
import { ArchiveError } from '../../src/contracts/errors.ts';
import type { TakeLead } from '../../src/schedule/cluster-lock.ts';
import { HOUR, job, leads, Scene, withCode } from './scheduling.ts';

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
