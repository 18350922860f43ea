/** Plans carried out on a real back end, with everything that may come between. */
import { describe, expect, test } from 'vitest';
import { ArchiveError } from '../../src/contracts/errors.ts';
import type { Storage } from '../../src/contracts/storage.ts';
import { holdLease } from '../../src/repository/held-lease.ts';
import { leasesPrefix, newLeaseId, leaseKey } from '../../src/repository/layout.ts';
import { LEASE_MARGIN, LEASE_TIME } from '../../src/repository/lease.ts';
import { readSmall } from '../../src/repository/objects.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { planExpire, runExpire, type ExpireOptions, type ExpireResult } from '../../src/retention/expire.ts';
import { changePin } from '../../src/retention/pin.ts';
import type { RetentionPolicy } from '../../src/retention/policy.ts';
import { planRestore } from '../../src/restore/plan.ts';
import { Died, dyingStorage } from './dying-storage.ts';
import {
  body,
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

const POLICY: RetentionPolicy = { minimum: 1, proven: 1, wal: 'all', labels: [], keep: 2 };

/** Four backups, a day and `each` segments apart, and their WAL; ids oldest first. */
async function fourBackups(
  clock: Clock,
  each = 10,
): Promise<{ repository: Repository; storage: Storage; ids: readonly string[] }> {
  const { repository, storage } = await smallArchive(clock);
  const ids: string[] = [];
  for (const day of [1, 2, 3, 4]) {
    const first = (day - 1) * each + 1;
    await putWal(repository, 1, range(first, day * each));
    ids.push(await putBackup(repository, { time: clock.time, from: first, to: first + 1 }));
    clock.time += DAY;
  }
  return { repository, storage, ids };
}

function expire(repository: Repository, clock: Clock, more: Partial<ExpireOptions> = {}): Promise<ExpireResult> {
  return runExpire(repository, { policy: POLICY, now: clock.now, ...more });
}

const complete = async (repository: Repository, systemId = SYSTEM): Promise<readonly string[]> =>
  (await repository.backups(systemId).list()).flatMap(({ id, state }) => (state === 'complete' ? [id] : []));

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

describe('H-73', () => {
  const locked = (clock: Clock): Date => new Date(clock.time + 10 * DAY);

  test('locked objects are retained, not failures, and a later run removes them', async () => {
    const clock = new Clock();
    const { repository, storage } = await smallArchive(clock);
    await putWal(repository, 1, range(1, 9));
    const [first, second] = [
      await putBackup(repository, { time: clock.time, from: 1, to: 2, retainUntil: locked(clock) }),
      await putBackup(repository, { time: clock.time + 1000, from: 3 }),
    ];
    clock.time += DAY;
    const last = await putBackup(repository, { time: clock.time, from: 5 });
    const policy = { ...POLICY, keep: 1 };
    const result = await expire(repository, clock, { policy });
    expect(result).toMatchObject({ removed: [second], locked: [first] });
    expect(result.retained).toEqual([`main/${SYSTEM}/backups/${first}/backup.json`]);
    // Its record is there still, and so is all that the record promises.
    const parts = (await keysIn(storage)).filter((key) => key.includes(`/backups/${first}/`));
    expect(parts).toHaveLength(5);
    expect(await segmentsIn(repository)).toEqual(range(1, 9));
    expect((await repository.backups(SYSTEM).list()).find(({ id }) => id === first)?.state).toBe('expired');
    clock.time += 10 * DAY;
    expect(await expire(repository, clock, { policy })).toMatchObject({ removed: [first], locked: [], retained: [] });
    expect(await complete(repository)).toEqual([last]);
    expect(await segmentsIn(repository)).toEqual(range(5, 9));
  });

  test('parts under a lock hold up nothing else', async () => {
    const clock = new Clock();
    const { repository, storage, ids } = await fourBackups(clock);
    const key = `main/${SYSTEM}/backups/${ids[0]}/base/0000.tar`;
    await storage.remove([key]);
    await storage.put(key, body('part'), { ifAbsent: true, retainUntil: locked(clock) });
    const result = await expire(repository, clock);
    expect(result).toMatchObject({ removed: [ids[1]], locked: [ids[0]], retained: [key] });
    expect(await segmentsIn(repository)).toEqual(range(21, 40));
    clock.time += 10 * DAY;
    await expire(repository, clock);
    expect((await keysIn(storage)).filter((left) => left.includes(ids[0] ?? '-'))).toEqual([]);
  });

  test('a hook that refuses keeps everything', async () => {
    const clock = new Clock();
    const { repository, storage } = await fourBackups(clock);
    const before = await keysIn(storage);
    const onPlan = (): never => {
      throw new ArchiveError('HOOK_FAILED', 'not today');
    };
    await expect(runExpire(repository, { policy: POLICY, now: clock.now, onPlan })).rejects.toMatchObject({
      code: 'HOOK_FAILED',
    });
    expect(await keysIn(storage)).toEqual(before);
  });

  test('a clock of this host that is ahead makes nothing old', async () => {
    const clock = new Clock();
    const { repository, ids } = await fourBackups(clock);
    const policy = { minimum: 1, proven: 1, wal: 'all', labels: [], window: 30 * DAY } as const;
    const result = await runExpire(repository, { policy, now: () => clock.time + 1000 * DAY });
    expect(result.removed).toEqual([]);
    expect(await complete(repository)).toEqual(ids);
    // Without its own clock to tell, a plan can only say what it would be.
    clock.time += 1000 * DAY;
    expect((await expire(repository, clock, { policy })).removed).toEqual(ids.slice(0, 3));
  });
});

describe('H-74', () => {
  test(
    'a run that ends at any call is finished by the next, and nothing is half alive in between',
    { timeout: 120_000 },
    async () => {
      let calls = 0;
      let died = 0;
      for (let at = 1, last = false; !last; at++) {
        for (const when of ['before', 'after', { half: 1 }] as const) {
          const clock = new Clock();
          const { repository, storage, ids } = await fourBackups(clock, 2);
          const dying = dyingStorage(storage, at, when);
          await expire(repositoryOn(dying.storage), clock).catch((error: unknown) => {
            if (!(error instanceof Died)) throw error;
          });
          if (dying.hasDied()) died += 1;
          else last = true;
          calls = Math.max(calls, dying.calls());
          // Whatever a listing takes for a backup has all its objects and its WAL.
          for (const id of await complete(repository)) {
            expect((await keysIn(storage)).filter((key) => key.includes(`/backups/${id}/`))).toHaveLength(5);
            const first = ids.indexOf(id) * 2 + 1;
            expect(await segmentsIn(repository)).toEqual(expect.arrayContaining([...range(first, 8)]));
          }
          clock.time += LEASE_TIME + LEASE_MARGIN + 1;
          // Whatever the policy says by now: what was begun is finished, and the rest stays.
          const begun = (await repository.backups(SYSTEM).list()).flatMap(({ id, state }) =>
            state === 'expired' ? [id] : [],
          );
          await expire(repository, clock, { policy: { ...POLICY, keep: 10 } });
          expect((await keysIn(storage)).filter((key) => begun.some((id) => key.includes(id)))).toEqual([]);
          await expire(repository, clock);
          expect(await complete(repository)).toEqual(ids.slice(2));
          expect(await keysIn(storage)).toHaveLength(2 * 5 + 4);
        }
      }
      expect(calls).toBeGreaterThan(30);
      expect(died).toBeGreaterThan(2 * calls);
    },
  );

  test('a backup whose record cannot be read stays, with all WAL and what it may build on; the plan says so', async () => {
    const clock = new Clock();
    const { repository, storage, ids } = await fourBackups(clock);
    const key = `main/${SYSTEM}/backups/${ids[1]}/backup.json`;
    await storage.remove([key]);
    await putObject(storage, key, '{"format": 1, ');
    const result = await expire(repository, clock, { policy: { ...POLICY, keep: 1 } });
    expect(result.removed).toEqual([ids[2]]);
    expect(result.plan.backups.map(({ action }) => action)).toEqual(['keep', 'keep', 'remove', 'keep']);
    expect(await segmentsIn(repository)).toEqual(range(1, 40));
    expect(result.plan.wal).toMatchObject([
      { action: 'keep', reason: `backup ${ids[1]}, which cannot be read, may need it` },
    ]);
    // It goes when it is named.
    expect(
      (await expire(repository, clock, { policy: { ...POLICY, keep: 1 }, remove: ids.slice(1, 2) })).removed,
    ).toEqual(ids.slice(0, 2));
  });

  test('a storage that cannot be asked is no answer: nothing is removed', async () => {
    const clock = new Clock();
    const { storage, ids } = await fourBackups(clock);
    const before = await keysIn(storage);
    let denied = 0;
    const failing: Storage = {
      capabilities: storage.capabilities,
      put: (...call) => storage.put(...call),
      get: (key, options) => {
        if (!key.includes(`${ids[1]}/backup.json`)) return storage.get(key, options);
        denied += 1;
        throw new ArchiveError('STORAGE_DENIED', `reading ${key} is denied`);
      },
      stat: (...call) => storage.stat(...call),
      list: (...call) => storage.list(...call),
      remove: (...call) => storage.remove(...call),
      close: () => storage.close(),
    };
    await expect(expire(repositoryOn(failing), clock)).rejects.toMatchObject({ code: 'STORAGE_DENIED' });
    expect(denied).toBe(1);
    expect(await keysIn(storage)).toEqual(before);
  });
});

describe('pins', () => {
  test('a pin keeps a backup, also one that is set while a run is under way', async () => {
    const clock = new Clock();
    const { repository, ids } = await fourBackups(clock);
    const [first = '', second = ''] = ids;
    const until = clock.time + DAY;
    await changePin(
      repository,
      { systemId: SYSTEM, id: first },
      { kind: 'pin', reason: 'audit', until },
      { time: clock.time },
    );
    const result = await runExpire(repository, {
      policy: POLICY,
      now: clock.now,
      onPlan: () =>
        changePin(repository, { systemId: SYSTEM, id: second }, { kind: 'pin', reason: 'audit' }, { time: clock.time }),
    });
    expect(result.removed).toEqual([]);
    expect(await complete(repository)).toEqual(ids);
    clock.time += 2 * DAY;
    await changePin(repository, { systemId: SYSTEM, id: second }, { kind: 'unpin' }, { time: clock.time });
    expect((await expire(repository, clock)).removed).toEqual(ids.slice(0, 2));
  });

  test('what is being removed is not pinned, and not planned with', async () => {
    const clock = new Clock();
    const { repository, storage, ids } = await fourBackups(clock);
    const [first = ''] = ids;
    await repository.facts(SYSTEM).add(first, { kind: 'expired', time: clock.time, data: {} });
    await expect(
      changePin(repository, { systemId: SYSTEM, id: first }, { kind: 'pin', reason: 'audit' }),
    ).rejects.toMatchObject({ code: 'BACKUP_NOT_FOUND' });
    await expect(
      planRestore({ repositories: [repository], target: { kind: 'immediate' }, backup: first }),
    ).rejects.toMatchObject({ code: 'BACKUP_NOT_FOUND' });
    expect((await keysIn(storage)).filter((key) => key.includes('-pin.json'))).toEqual([]);
  });
});
