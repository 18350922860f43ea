/** Plans carried out on a real back end, with everything that may come between. */
import { describe, expect, test } from 'vitest';
import type { Storage } from '../../src/contracts/storage.ts';
import { holdLease } from '../../src/repository/held-lease.ts';
import { leasesPrefix, newLeaseId, leaseKey } from '../../src/repository/layout.ts';
import { LEASE_MARGIN, LEASE_TIME } from '../../src/repository/lease.ts';
import { readSmall } from '../../src/repository/objects.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { planExpire, runExpire } from '../../src/retention/expire.ts';
import { Died, dyingStorage } from './dying-storage.ts';
import { complete, expire, fourBackups, POLICY } from './four-backups.ts';
import {
  Clock,
  DAY,
  keysIn,
  lsnIn,
  putBackup,
  putHistory,
  putObject,
  putWal,
  range,
  repositoryOn,
  segmentsIn,
  smallArchive,
  SYSTEM,
} from './small-archive.ts';

test('a plan changes nothing; carried out, it leaves just what it says', async () => {
  const clock = new Clock();
  const { repository, storage, ids } = await fourBackups(clock);
  const before = await keysIn(storage);
  const plan = await planExpire(repository, { policy: POLICY, now: clock.now });
  expect(await keysIn(storage)).toEqual(before);
  expect(plan.backups.map(({ action }) => action)).toEqual(['remove', 'remove', 'keep', 'keep']);
  expect(plan.wal).toMatchObject([
    { objects: 20, action: 'remove', reason: 'no backup that stays needs WAL before 000000010000000000000015' },
    { objects: 20, action: 'keep', reason: `it leads on from backup ${ids[2]}` },
  ]);
  const result = await expire(repository, clock);
  expect(result.plan.backups).toEqual(plan.backups);
  expect(result).toMatchObject({ removed: ids.slice(0, 2), locked: [], retained: [], objects: 2 * 5 + 20 + 2 });
  expect(await complete(repository)).toEqual(ids.slice(2));
  expect(await segmentsIn(repository)).toEqual(range(21, 40));
  const left = await keysIn(storage);
  expect(left.filter((key) => ids.slice(0, 2).some((id) => key.includes(id)))).toEqual([]);
  expect(left.every((key) => before.includes(key))).toBe(true);
  // Nothing is left to do.
  expect(await expire(repository, clock)).toMatchObject({ removed: [], objects: 0 });
});

test('H-57 only what is known to be its own is touched: not other clusters, not what another version wrote', async () => {
  const clock = new Clock();
  const { repository, storage, ids } = await fourBackups(clock);
  const others = [
    `main2/${SYSTEM}/backups/${ids[0]}/backup.json`,
    `main/${SYSTEM}0/wal/00000001/00000000/000000010000000000000001-${'0'.repeat(32)}`,
    `main/${SYSTEM}/backups/${ids[0]}0/backup.json`,
    `main/${SYSTEM}/backups/index.json`,
    `main/${SYSTEM}/wal/00000001/00000000/000000010000000000000001.new-${'0'.repeat(32)}`,
    `main/${SYSTEM}/wal/00000001/00000002/000000010000000000000001-${'0'.repeat(32)}`,
    `main/${SYSTEM}/future/${ids[0]}/x`,
    `main/${SYSTEM}/facts/${ids[0]}x/20261121T120000000Z-pin.json`,
    `${SYSTEM}/wal/x`,
  ];
  for (const key of others) await putObject(storage, key);
  const result = await expire(repository, clock);
  expect(result.removed).toEqual(ids.slice(0, 2));
  const left = new Set<string>();
  for await (const { key } of storage.list('')) left.add(key);
  expect(others.filter((key) => !left.has(key))).toEqual([]);
});

describe('H-70', () => {
  const OTHER = '1';

  test('after initdb under the same name nothing of the living cluster is removed', async () => {
    const clock = new Clock();
    const { repository, storage, ids } = await fourBackups(clock);
    clock.time += 30 * DAY;
    // A smaller number, lower positions, and few backups.
    await putWal(repository, 1, [1, 2, 3], OTHER);
    const young = [await putBackup(repository, { systemId: OTHER, time: clock.time, from: 1, to: 2 })];
    clock.time += DAY;
    const living = (await keysIn(storage)).filter((key) => key.startsWith(`main/${OTHER}/`));
    const policy = { ...POLICY, window: 7 * DAY };
    await expire(repository, clock, { policy });
    expect((await keysIn(storage)).filter((key) => key.startsWith(`main/${OTHER}/`))).toEqual(living);
    // The old one is judged for itself, as the new one has not enough yet.
    expect(await complete(repository)).toEqual(ids.slice(2));
    for (const segment of [10, 20]) {
      await putWal(repository, 1, [segment, segment + 1], OTHER);
      young.push(await putBackup(repository, { systemId: OTHER, time: clock.time, from: segment, to: segment + 1 }));
      clock.time += DAY;
    }
    await expire(repository, clock, { policy });
    expect(await complete(repository, OTHER)).toEqual(young);
    expect(await complete(repository)).toEqual(ids.slice(3));
    // The last one goes when it is named, and with it all of its system.
    await expire(repository, clock, { policy, remove: [SYSTEM] });
    expect((await keysIn(storage)).filter((key) => key.includes(SYSTEM))).toEqual([]);
    expect(await complete(repository, OTHER)).toEqual(young);
    await expect(expire(repository, clock, { policy, remove: [OTHER] })).rejects.toMatchObject({ code: 'USAGE' });
  });

  test('a timeline that lost goes when nothing leads to it, history last', async () => {
    const clock = new Clock();
    const { repository } = await smallArchive(clock);
    await putWal(repository, 1, range(1, 30));
    await putBackup(repository, { time: clock.time, from: 1 });
    await putHistory(repository, 2, [[1, 5]]);
    await putWal(repository, 2, range(5, 8));
    clock.time += DAY;
    await putBackup(repository, { time: clock.time, from: 20 });
    clock.time += DAY;
    await putWal(repository, 1, [31]);
    // It may still be the one that lives.
    await expire(repository, clock, { policy: { ...POLICY, keep: 1 } });
    expect(await repository.wal(SYSTEM).timelines()).toEqual([1, 2]);
    clock.time += 6 * DAY;
    await expire(repository, clock, { policy: { ...POLICY, keep: 1 } });
    expect(await segmentsIn(repository)).toEqual(range(20, 31));
    expect(await repository.wal(SYSTEM).timelines()).toEqual([1]);
  });

  test('the history of a promotion that has no WAL yet stays', async () => {
    const clock = new Clock();
    const { repository } = await fourBackups(clock);
    await putHistory(repository, 2, [[1, 40]]);
    await expire(repository, clock);
    expect(await repository.wal(SYSTEM).timelines()).toEqual([1, 2]);
  });
});

describe('H-72', () => {
  test('what a restore has chosen stays until it has ended, although the plan was made before', async () => {
    const clock = new Clock();
    const { repository, ids } = await fourBackups(clock);
    const [oldest = ''] = ids;
    let lease: Awaited<ReturnType<typeof holdLease>> | undefined;
    const result = await runExpire(repository, {
      policy: POLICY,
      now: clock.now,
      onPlan: async ({ backups }) => {
        expect(backups.find(({ id }) => id === oldest)?.action).toBe('remove');
        // Between the plan and the removal.
        const scope = { backups: [oldest], wal: [{ timeline: 1, from: lsnIn(1) }] };
        lease = await holdLease(repository, SYSTEM, { command: 'restore', scope, now: clock.now });
      },
    });
    expect(result.removed).toEqual([ids[1]]);
    expect(await complete(repository)).toEqual([oldest, ...ids.slice(2)]);
    expect(await segmentsIn(repository)).toEqual(range(1, 40));
    await lease?.release();
    expect((await expire(repository, clock)).removed).toEqual([oldest]);
  });

  test('a restore does not choose what is marked, whenever it looks', async () => {
    const clock = new Clock();
    const { repository, storage, ids } = await fourBackups(clock);
    const looks: (readonly string[])[] = [];
    const watched: Storage = {
      capabilities: storage.capabilities,
      put: (...call) => storage.put(...call),
      get: (...call) => storage.get(...call),
      stat: (...call) => storage.stat(...call),
      list: (...call) => storage.list(...call),
      remove: async (keys, options) => {
        if (keys.some((key) => key.includes('/backups/') || key.includes('/wal/')))
          looks.push(await complete(repository));
        return storage.remove(keys, options);
      },
      close: () => storage.close(),
    };
    await expire(repositoryOn(watched), clock);
    expect(looks.length).toBeGreaterThan(2);
    expect(new Set(looks.flat())).toEqual(new Set(ids.slice(2)));
  });

  test('a lease that nobody renews holds for minutes, by the slower of the clocks', async () => {
    const clock = new Clock();
    const { repository, ids } = await fourBackups(clock);
    const scope = { backups: 'all', wal: 'all' } as const;
    // Its host is an hour behind: by its own words it has ended when it is written.
    await holdLease(repository, SYSTEM, { command: 'restore', scope, now: () => clock.time - 3_600_000 });
    expect((await expire(repository, clock)).removed).toEqual([]);
    clock.time += LEASE_TIME + LEASE_MARGIN - 1;
    expect((await expire(repository, clock)).removed).toEqual([]);
    clock.time += 2;
    expect((await expire(repository, clock)).removed).toEqual(ids.slice(0, 2));
  });

  test('a lease that cannot be read holds everything', async () => {
    const clock = new Clock();
    const { repository, storage } = await fourBackups(clock);
    const key = leaseKey(newLeaseId(new Date(clock.time)), clock.time + 1000);
    await putObject(storage, `${leasesPrefix('main', SYSTEM)}${key}`, '{');
    expect(await expire(repository, clock)).toMatchObject({ removed: [], objects: 0 });
  });

  test('of two runs at once at most one goes on', async () => {
    const clock = new Clock();
    const { repository, ids } = await fourBackups(clock);
    const runs = await Promise.allSettled([expire(repository, clock), expire(repository, clock)]);
    const refused = runs.filter(({ status }) => status === 'rejected');
    expect(refused.length).toBeGreaterThanOrEqual(1);
    for (const run of refused) expect((run as PromiseRejectedResult).reason).toMatchObject({ code: 'RETENTION_BUSY' });
    // Both have given their leases back.
    await expire(repository, clock);
    expect(await complete(repository)).toEqual(ids.slice(2));
  });

  test('an incremental backup goes before what it builds on, at whatever call the run ends', async () => {
    const make = async (clock: Clock): Promise<{ repository: Repository; storage: Storage }> => {
      const { repository, storage } = await smallArchive(clock);
      await putWal(repository, 1, range(1, 9));
      let parent: string | undefined;
      for (const from of [1, 2, 3]) {
        parent = await putBackup(repository, { time: clock.time, from, parent });
        clock.time += DAY;
      }
      await putBackup(repository, { time: clock.time, from: 8 });
      clock.time += DAY;
      return { repository, storage };
    };
    let calls = 0;
    for (let at = 1, last = false; !last; at++) {
      const clock = new Clock();
      const { repository, storage } = await make(clock);
      const dying = dyingStorage(storage, at, 'after');
      const policy = { ...POLICY, keep: 1 };
      await expire(repositoryOn(dying.storage), clock, { policy }).catch((error: unknown) => {
        if (!(error instanceof Died)) throw error;
      });
      last = !dying.hasDied();
      calls = dying.calls();
      const there = await complete(repository);
      const marked: string[] = [];
      for (const id of there) {
        const { parent } = JSON.parse(
          Buffer.from(await readSmall(storage, `main/${SYSTEM}/backups/${id}/backup.json`)).toString(),
        ) as { parent?: string };
        if (parent === undefined) continue;
        await storage.stat(`main/${SYSTEM}/backups/${parent}/backup.json`); // throws when it is gone
        marked.push(id);
      }
    }
    expect(calls).toBeGreaterThan(30);
  });
});
