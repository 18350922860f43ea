import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { RunningJob, type Work, type WorkDone } from '../../src/schedule/running-job.ts';
import type { Run } from '../../src/schedule/run.ts';
import { recordingLogger } from '../plugins/support.ts';
import { ManualClock } from './manual-clock.ts';

const run: Run = {
  id: 'drill-20260501T010000000Z',
  job: 'drill',
  kind: 'drill',
  trigger: 'schedule',
  planned: Date.parse('2026-05-01T01:00:00Z'),
  started: Date.parse('2026-05-01T01:00:00Z'),
  state: 'running',
  host: 'backup1',
};

test('H-82 work that does not end when it is cancelled is given up, and it is known when it is gone', async () => {
  const clock = new ManualClock('2026-05-01T01:00:00Z');
  let end: (done: WorkDone) => void = () => undefined;
  const work = (): Promise<WorkDone> => new Promise((resolve) => (end = resolve));
  const job = new RunningJob({ run, work, clock, logger: recordingLogger(), patience: 20 });
  let isGone = false;
  const gone = job.gone.then(() => (isGone = true));
  job.end({ reason: 'asked', by: 'anna' });
  job.end({ reason: 'timeout', text: 'too late to count' });
  expect((await job.ended).run).toMatchObject({ state: 'cancelled', summary: 'cancelled by anna' });
  expect(isGone).toBe(false);
  end({ summary: 'done at last', failure: undefined });
  await gone;
  expect((await job.ended).run.state).toBe('cancelled');
});

test('work that is done although it was cancelled has succeeded', async () => {
  const clock = new ManualClock('2026-05-01T01:00:00Z');
  let end: (done: WorkDone) => void = () => undefined;
  const work = (): Promise<WorkDone> => new Promise((resolve) => (end = resolve));
  const job = new RunningJob({ run, work, clock, logger: recordingLogger() });
  job.end({ reason: 'asked', by: 'anna' });
  end({ summary: 'proven', failure: undefined });
  expect((await job.ended).run).toMatchObject({ state: 'succeeded', summary: 'proven' });
});

test('H-82 a clock that is put forward or back ends no run: its timeout is the time that has gone by', async () => {
  const clock = new ManualClock('2026-05-01T01:00:00Z');
  const work: Work = ({ signal }) =>
    new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
  const job = new RunningJob({ run, work, clock, logger: recordingLogger(), timeout: 3_600_000 });
  let isOver = false;
  const ended = job.ended.finally(() => (isOver = true));
  for (const time of ['2027-05-01T01:00:00Z', '2025-05-01T01:00:00Z', '2025-05-01T01:00:01Z']) {
    clock.put(time);
    await setImmediate();
  }
  clock.to('2025-05-01T02:00:00Z');
  await setImmediate();
  expect(isOver).toBe(false);
  clock.to('2025-05-01T02:00:01Z');
  expect((await ended).run).toMatchObject({ state: 'failed', summary: 'it was not done in 3600 s, its timeout' });
});
