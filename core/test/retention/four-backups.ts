/** Four backups and a policy that keeps two of them, for the tests of expire. */
import type { Storage } from '../../src/contracts/storage.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { runExpire, type ExpireOptions, type ExpireResult } from '../../src/retention/expire.ts';
import type { RetentionPolicy } from '../../src/retention/policy.ts';
import { DAY, putBackup, putWal, range, smallArchive, SYSTEM, type Clock } from './small-archive.ts';

export const POLICY: RetentionPolicy = { minimum: 1, proven: 1, wal: 'all', labels: [], keep: 2 };

/** Four backups, a day and `each` segments apart, and their WAL; ids oldest first. */
export async function fourBackups(
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

export function expire(repository: Repository, clock: Clock, more: Partial<ExpireOptions> = {}): Promise<ExpireResult> {
  return runExpire(repository, { policy: POLICY, now: clock.now, ...more });
}

export const complete = async (repository: Repository, systemId = SYSTEM): Promise<readonly string[]> =>
  (await repository.backups(systemId).list()).flatMap(({ id, state }) => (state === 'complete' ? [id] : []));
