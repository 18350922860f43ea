/** Leases of commands: taken before anything is chosen, a warning where they cannot be written. */
import { expect, test } from 'vitest';
import type { Storage } from '../../src/contracts/storage.ts';
import { holdLease } from '../../src/repository/held-lease.ts';
import { LEASE_MARGIN, LEASE_TIME } from '../../src/repository/lease.ts';
import { SharedLease } from '../../src/repository/shared-lease.ts';
import { planRestore } from '../../src/restore/plan.ts';
import { readOnly } from '../../src/storage/read-only.ts';
import { Clock, lsnIn, putBackup, putWal, repositoryOn, smallArchive, SYSTEM } from './small-archive.ts';

test('a lease is renewed by another object, of which the last counts', async () => {
  const clock = new Clock();
  const { repository, storage } = await smallArchive(clock);
  const all = { backups: 'all', wal: 'all' } as const;
  const lease = await holdLease(repository, SYSTEM, { command: 'restore', scope: all, now: clock.now });
  const scope = { backups: ['x'], wal: [{ timeline: 1, from: lsnIn(4) }] };
  await lease.change(scope);
  const leases = repository.leases(SYSTEM);
  expect(await leases.list()).toHaveLength(2);
  expect(await leases.active(clock.time)).toMatchObject([{ id: lease.id, content: { command: 'restore', ...scope } }]);
  expect(await leases.active(clock.time + LEASE_TIME + LEASE_MARGIN - 1)).toHaveLength(1);
  expect(await leases.active(clock.time + LEASE_TIME + LEASE_MARGIN + 2)).toHaveLength(0);
  await lease.release();
  expect(await leases.list()).toHaveLength(0);
  for await (const { key } of storage.list('main/')) expect(key).toBe('main/pgark.json');
});

test('H-72 a restore holds everything before it looks for a backup, then what it has chosen', async () => {
  const clock = new Clock();
  const { storage, repository: made } = await smallArchive(clock);
  await putWal(made, 1, [1, 2]);
  const id = await putBackup(made, { time: clock.time, from: 1 });
  const calls: string[] = [];
  const watched: Storage = {
    capabilities: storage.capabilities,
    put: async (key, ...call) => {
      calls.push(`put ${key}`);
      await storage.put(key, ...call);
    },
    get: (key, ...call) => {
      calls.push(`get ${key}`);
      return storage.get(key, ...call);
    },
    stat: (...call) => storage.stat(...call),
    list: (...call) => storage.list(...call),
    remove: (...call) => storage.remove(...call),
    close: () => storage.close(),
  };
  const repository = repositoryOn(watched);
  const lease = new SharedLease({ command: 'restore', onWarning: (warning) => calls.push(warning) });
  const plan = await planRestore({
    repositories: [repository],
    target: { kind: 'immediate' },
    onSources: (sources) => lease.take(sources, { backups: 'all', wal: 'all' }),
  });
  expect(plan.backup.id).toBe(id);
  const first = calls.findIndex((call) => call.includes('/leases/'));
  expect(first).toBeGreaterThanOrEqual(0);
  expect(calls.findIndex((call) => call.includes('backup.json'))).toBeGreaterThan(first);
  const scope = { backups: [id], wal: [{ timeline: 1, from: plan.backup.startLsn }] };
  await lease.narrow(SYSTEM, scope);
  expect(await repository.leases(SYSTEM).active(clock.time)).toMatchObject([{ content: scope }]);
  await lease.release();
  expect(await repository.leases(SYSTEM).list()).toHaveLength(0);
});

test('credentials that may only read are a warning, and the work goes on', async () => {
  const clock = new Clock();
  const { storage, repository } = await smallArchive(clock);
  await putBackup(repository, { time: clock.time, from: 1 });
  const warnings: string[] = [];
  const lease = new SharedLease({ command: 'restore', onWarning: (warning) => warnings.push(warning) });
  await lease.take([repositoryOn(readOnly(storage), 'far'), repository], { backups: 'all', wal: 'all' });
  expect(warnings).toEqual([expect.stringMatching(/^repository far could not be told that this restore uses it/)]);
  expect(await repository.leases(SYSTEM).list()).toHaveLength(1);
  await lease.release();
});
