import { ArchiveError } from '../contracts/errors.ts';
import type { RestorePlan } from '../restore/plan-types.ts';
import type { RecoveryTarget } from '../restore/target.ts';

/** A seed for {@link randomTarget}. */
export function newSeed(): number {
  return Math.floor(Math.random() * 2 ** 32);
}

/**
 * Draws a moment between the end of the backup and the last transaction that follows it. The same plan and seed give the same moment.
 * `plan` is one to the end of the archive. Errors: `RESTORE_UNREACHABLE` when no transaction follows the backup.
 */
export function randomTarget({ backup, wal }: RestorePlan, seed: number): RecoveryTarget {
  const from = BigInt(Date.parse(backup.stopTime)) * 1000n;
  const to = wal.lastTransaction;
  if (to === undefined || to <= from)
    throw new ArchiveError(
      'RESTORE_UNREACHABLE',
      `no transaction follows backup ${backup.id}: there is no moment to draw`,
      {
        hint: 'Drill up to "--target latest" instead.',
      },
    );
  // A recovery to a time needs a transaction after it.
  const share = BigInt(Math.floor(fraction(seed) * 2 ** 32));
  return { kind: 'time', micros: from + (((to - from) * share) >> 32n), exclusive: false };
}

/** From 0 up to, not including, 1 (mulberry32, one step). */
function fraction(seed: number): number {
  let state = (seed + 0x6d2b79f5) | 0;
  state = Math.imul(state ^ (state >>> 15), state | 1);
  state ^= state + Math.imul(state ^ (state >>> 7), state | 61);
  return ((state ^ (state >>> 14)) >>> 0) / 2 ** 32;
}
