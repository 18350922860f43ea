/** Runs of a former system in several repositories, which do not all hold the same. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { until } from '../../../test/support/until.ts';
import type { ScheduleClock } from '../../src/schedule/clock.ts';
import { endFormerRuns } from '../../src/schedule/former-runs.ts';
import { readHistory } from '../../src/schedule/history.ts';
import { jobSubject } from '../../src/repository/layout.ts';
import { factOf, runId } from '../../src/schedule/run-facts.ts';
import { RunRecords } from '../../src/schedule/run-records.ts';
import type { Run } from '../../src/schedule/run.ts';
import { recordingLogger } from '../plugins/support.ts';
import { SYSTEM } from '../retention/small-archive.ts';
import { AwayStorage, granted, job, leads, Scene } from './scheduling.ts';

const PLANNED = Date.parse('2026-05-01T01:00:00Z');
const OTHER = '7300000000000000002';

const runOf = (kind: 'backup' | 'drill'): Run => ({
  id: runId(kind, PLANNED),
  job: kind,
  kind,
  trigger: 'schedule',
  planned: PLANNED,
  started: PLANNED,
  state: 'running',
  host: 'backup1',
});

/** Tells when somebody waits for the clock. */
function watch(clock: ScheduleClock): { readonly clock: ScheduleClock; readonly isWaiting: () => boolean } {
  let waits = 0;
  const watched: ScheduleClock = {
    now: () => clock.now(),
    elapsed: () => clock.elapsed(),
    sleep: (...call) => (waits++, clock.sleep(...call)),
    sleepUntil: (...call) => (waits++, clock.sleepUntil(...call)),
  };
  return { clock: watched, isWaiting: () => waits > 0 };
}

test('what one repository says of the end of a run is not gainsaid in another one, and none gets a run that it did not hold', async () => {
  const scene = await Scene.set({ storages: [new AwayStorage(), new AwayStorage()] });
  const [near, far] = scene.storages as [AwayStorage, AwayStorage];
  const [drill, backup] = [runOf('drill'), runOf('backup')];
  const [first, second] = scene.repositories;
  if (first === undefined || second === undefined) throw new Error('there are no repositories');
  const done: Run = { ...drill, state: 'succeeded', ended: PLANNED + 1000, summary: 'done' };
  for (const repository of [first, second])
    await repository.facts(SYSTEM).add(jobSubject('drill'), factOf('begun', drill, 'former'));
  await second.facts(SYSTEM).add(jobSubject('backup'), factOf('begun', backup, 'former'));
  await first.facts(SYSTEM).add(jobSubject('drill'), factOf('ended', done, 'former'));
  near.isAway = true;

  const { repositories, clock: time } = scene;
  const logger = recordingLogger();
  const records = new RunRecords({ systemId: SYSTEM, repositories, writable: repositories, claim: 'new', logger });
  const { clock, isWaiting } = watch(time);
  const { signal } = new AbortController();
  const ended = endFormerRuns({ records: [records], running: new Set(), clock, logger, signal });
  await until('it waits for the day to pass', isWaiting);
  // It could not see how the drill has ended.
  expect(near.refused).toBeGreaterThan(0);
  near.isAway = false;
  scene.clock.to('2026-05-02T01:00:00Z');
  await ended;

  const statesIn = async (repository: typeof first): Promise<readonly string[]> =>
    (await readHistory([repository], { limit: 10 })).runs.map(({ id, state }) => `${id} ${state}`);
  expect(await statesIn(first)).toEqual([`${drill.id} succeeded`]);
  expect(await statesIn(second)).toEqual([`${backup.id} interrupted`, `${drill.id} running`]);
  const keys: string[] = [];
  for await (const { key } of near.list('')) keys.push(key);
  expect(keys.join('\n')).not.toContain('/job-backup/');
  expect(far.refused).toBe(0);
});

test('a repository that is away when the day has passed puts it off, and no longer', async () => {
  const scene = await Scene.set();
  const former = scene.scheduler([job({ do: 'backup', at: '0 1 * * *' })]);
  await leads(former);
  scene.clock.to('2026-05-01T01:00:00Z');
  const { id } = (await scene.begins(runId('backup', PLANNED))).context.run;
  // That daemon is gone without a word; the next one has another system.
  const lock = granted();
  lock.become(OTHER);
  await leads(scene.scheduler([], { takeLead: lock.takeLead, host: 'backup2' }));
  scene.clock.to('2026-05-01T23:00:00Z');
  const [storage] = scene.storages as [AwayStorage];
  storage.isAway = true;
  scene.clock.to('2026-05-02T00:59:00Z');
  scene.clock.to('2026-05-02T01:00:00Z');
  await until('it is asked in vain', () => storage.refused > 0);
  storage.isAway = false;
  scene.clock.to('2026-05-02T02:00:01Z');
  await scene.recorded(id, 'interrupted');
});

test('a clock that is put forward judges none, and one that was ahead when a run began keeps it from no end', async () => {
  const scene = await Scene.set({ now: '2026-05-01T01:30:00Z' });
  const [repository] = scene.repositories;
  if (repository === undefined) throw new Error('there is no repository');
  const backup = runOf('backup');
  const drill = { ...runOf('drill'), started: Date.parse('2036-05-01T01:00:00Z') };
  for (const run of [backup, drill])
    await repository.facts(SYSTEM).add(jobSubject(run.job), factOf('begun', run, 'former'));
  const { repositories, clock } = scene;
  const logger = recordingLogger();
  const records = new RunRecords({ systemId: SYSTEM, repositories, writable: repositories, claim: 'new', logger });
  const { clock: watched, isWaiting } = watch(clock);
  const { signal } = new AbortController();
  const ended = endFormerRuns({ records: [records], running: new Set(), clock: watched, logger, signal });
  await until('it waits', isWaiting);
  clock.put('2026-06-01T01:30:00Z');
  await sleep(50);
  expect((await scene.history()).map(({ state }) => state)).toEqual(['running', 'running']);
  clock.to('2026-06-02T01:00:00Z');
  await scene.recorded(backup.id, 'interrupted');
  clock.to('2026-06-02T01:30:00Z');
  await ended;
  expect((await scene.history()).map(({ state }) => state)).toEqual(['interrupted', 'interrupted']);
});
