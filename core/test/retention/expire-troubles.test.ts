/** Runs that meet locks, refusals, interruptions, damage and pins. */
import { describe, expect, test } from 'vitest';
import { ArchiveError } from '../../src/contracts/errors.ts';
import type { Storage } from '../../src/contracts/storage.ts';
import { LEASE_MARGIN, LEASE_TIME } from '../../src/repository/lease.ts';
import { runExpire } from '../../src/retention/expire.ts';
import { changePin } from '../../src/retention/pin.ts';
import { planRestore } from '../../src/restore/plan.ts';
import { Died, dyingStorage } from './dying-storage.ts';
import { complete, expire, fourBackups, POLICY } from './four-backups.ts';
import {
  body,
  Clock,
  DAY,
  keysIn,
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

test('H-72 WAL that comes while WAL is removed stays: a backup may have begun meanwhile that needs it', async () => {
  const clock = new Clock();
  const { storage } = await fourBackups(clock);
  let isThere = false;
  const arriving: Storage = {
    capabilities: storage.capabilities,
    put: (...call) => storage.put(...call),
    get: (...call) => storage.get(...call),
    stat: (...call) => storage.stat(...call),
    list: (...call) => storage.list(...call),
    close: () => storage.close(),
    remove: async (keys, ...call) => {
      if (!isThere && keys.some((key) => key.includes('/wal/'))) {
        isThere = true;
        clock.time += 1000;
        // Restored from long ago, to a timeline to which no backup leads that stays, and on which one has just begun.
        await putWal(repositoryOn(storage), 3, [5, 6]);
      }
      return storage.remove(keys, ...call);
    },
  };
  const repository = repositoryOn(arriving);
  await putHistory(repository, 3, [[1, 2]]);
  await putWal(repository, 3, [2, 3]);
  clock.time += 1000;
  await expire(repository, clock);
  expect(isThere).toBe(true);
  expect(await segmentsIn(repository, 3)).toEqual([5, 6]);
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
