/** Runs of a former system in several repositories, which do not all hold the same. */
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
  let isWaiting = false;
  const clock: ScheduleClock = {
    now: time.now,
    elapsed: time.elapsed,
    sleep: time.sleep,
    sleepUntil: (moment, signal) => {
      isWaiting = true;
      return time.sleepUntil(moment, signal);
    },
  };
  const { signal } = new AbortController();
  const ended = endFormerRuns({ records: [records], running: new Set(), clock, logger, signal });
  await until('it waits for the day to pass', () => isWaiting);
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
