/** What is on record of runs beside everything else that lives in a repository. */
import { describe, expect, test } from 'vitest';
import { jobSubject } from '../../src/repository/layout.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { runExpire } from '../../src/retention/expire.ts';
import { planGarbage, runGarbage } from '../../src/retention/gc.ts';
import { neededRanges } from '../../src/retention/needed-ranges.ts';
import { oldRuns } from '../../src/retention/old-runs.ts';
import { survey } from '../../src/retention/survey.ts';
import { listRepository } from '../../src/map/repository-state.ts';
import { Clock, DAY, HOUR, keysIn, putBackup, putWal, smallArchive, SYSTEM } from './small-archive.ts';

async function putRuns(repository: Repository, job: string, times: readonly number[]): Promise<void> {
  const facts = repository.facts(SYSTEM);
  for (const time of times)
    for (const kind of ['begun', 'ended']) await facts.add(jobSubject(job), { kind, time, data: {} });
}

const runKeys = async (repository: Repository): Promise<readonly string[]> =>
  (await keysIn(repository.storage)).filter((key) => key.includes('/facts/job-'));

describe('records of runs', () => {
  test('are not among the facts of backups and WAL, which are listed past them', async () => {
    const { repository } = await smallArchive(new Clock());
    const facts = repository.facts(SYSTEM);
    const id = '20261101T000000Z-0000';
    await facts.add(id, { kind: 'pin', time: 1, data: {} });
    await putRuns(repository, 'backup', [1000, 2000]);
    await putRuns(repository, 'z', [3000]);
    await facts.add('locks', { kind: 'extended', time: 2, data: {} });
    await facts.add('wal', { kind: 'gap', time: 3, data: { timeline: 1, from: '0/1000000', to: '0/2000000' } });
    const subjects: string[] = [];
    for await (const { subject } of facts.names()) subjects.push(subject);
    expect(subjects).toEqual([id, 'locks', 'wal']);
    expect(await facts.jobs()).toEqual(['backup', 'z']);
    const times: number[] = [];
    for await (const { time } of facts.names({ subject: jobSubject('backup'), since: 1500 })) times.push(time);
    expect(times).toEqual([2000, 2000]);
    const [system] = (await listRepository(repository, { now: 5000 })).systems;
    expect(system?.facts.map(({ subject }) => subject)).toEqual([id, 'locks', 'wal']);
  });

  test('gc takes none of them for garbage, however old they are', async () => {
    const clock = new Clock();
    const { repository } = await smallArchive(clock);
    await putRuns(repository, 'backup', [clock.time - 900 * DAY, clock.time]);
    clock.time += 900 * DAY;
    expect(await planGarbage(repository, { now: clock.now })).toEqual([]);
    await runGarbage(repository, { now: clock.now });
    expect(await runKeys(repository)).toHaveLength(4);
  });

  test('need no lock, while what the backups need does', async () => {
    const clock = new Clock();
    const { repository } = await smallArchive(clock);
    await putWal(repository, 1, [1, 2]);
    await putBackup(repository, { time: clock.time, from: 1 });
    await putRuns(repository, 'backup', [clock.time]);
    await repository.facts(SYSTEM).add('wal', { kind: 'verify', time: clock.time, data: {} });
    const ranges = await neededRanges({ repository, systemId: SYSTEM });
    const isIn = (key: string): boolean =>
      ranges.some(
        ({ prefix, startAfter = '', before = '\u{10ffff}' }) =>
          key.startsWith(prefix) && key > startAfter && key < before,
      );
    const keys = await keysIn(repository.storage);
    expect(keys.filter((key) => !isIn(key))).toEqual(await runKeys(repository));
    expect(keys.filter((key) => key.includes('/facts/wal/')).every(isIn)).toBe(true);
  });

  test('expire removes those that are old, beyond the last hundred of each job, and nothing else', async () => {
    const clock = new Clock();
    const { repository } = await smallArchive(clock);
    const begin = clock.time;
    // Written as they happen: the storage says of each when it was.
    const hourly = Array.from({ length: 130 }, (_, hour) => begin + hour * HOUR);
    await putRuns(repository, 'hourly', hourly);
    await putRuns(repository, 'rare', [begin]);
    await putWal(repository, 1, [1]);
    await putBackup(repository, { time: clock.time, from: 1 });
    clock.time = begin + 300 * DAY;
    const policy = { window: 9999 * DAY, minimum: 1, proven: 0, wal: 'all', labels: [] } as const;
    await runExpire(repository, { policy, now: clock.now });
    expect(await runKeys(repository)).toHaveLength(262);
    clock.time = begin + 500 * DAY;
    const before = (await keysIn(repository.storage)).filter((key) => !key.includes('/facts/job-hourly'));
    const { objects } = await runExpire(repository, { policy, now: clock.now });
    expect(objects).toBe(60);
    const left = await runKeys(repository);
    expect(left).toHaveLength(202);
    expect((await keysIn(repository.storage)).filter((key) => !key.includes('/facts/job-hourly'))).toEqual(before);
    const kept: number[] = [];
    for await (const { time } of repository.facts(SYSTEM).names({ subject: jobSubject('hourly') })) kept.push(time);
    expect(Math.min(...kept)).toBe(hourly[30]);
    // No survey reads them.
    expect((await survey(repository, SYSTEM, { now: clock.time })).backups.flatMap(({ facts }) => facts)).toEqual([]);
  });

  test('of a job that is due every minute those beyond 5000 are old however young, and the newest plan stays', () => {
    const now = 1000 * DAY;
    const names = Array.from({ length: 5010 }, (_, minute) => {
      const time = now - minute * 60_000;
      return [
        { kind: 'begun', time, modified: time },
        { kind: 'ended', time, modified: time },
      ];
    }).flat();
    const plans = [1, 2].map((day) => ({ kind: 'planned', time: day * DAY, modified: day * DAY }));
    const old = oldRuns([...names, ...plans], now);
    expect(old.filter(({ kind }) => kind !== 'planned')).toHaveLength(20);
    expect(Math.max(...old.map(({ time }) => time))).toBe(now - 5000 * 60_000);
    expect(old.filter(({ kind }) => kind === 'planned')).toEqual([plans[0]]);
  });
});
