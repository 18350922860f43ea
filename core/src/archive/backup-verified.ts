/** When backups were last verified, and with which result, for the operations that show them. */
import { isArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { atOnce } from '../copy/at-once.ts';
import { parseVerifyFact, VERIFY, verdictOf, type Verdict } from '../verify/fact.ts';
import type { VerifyLevel } from '../verify/finding.ts';
import type { FoundBackup } from './backups.ts';

/** The last verification of a backup; `never` without one, `unknown` when it could not be found out. */
export type Verified =
  { readonly level: VerifyLevel; readonly finished: string; readonly verdict: Verdict } | 'never' | 'unknown';

/** Facts that are read at once. */
const AT_ONCE = 8;

/** What is on record of each, in its own repository. Errors: `ABORTED`. */
export async function findVerified(
  backups: readonly FoundBackup[],
  options: CallOptions,
): Promise<ReadonlyMap<FoundBackup, Verified>> {
  const found = new Map<FoundBackup, Verified>();
  await atOnce(backups, { concurrency: AT_ONCE, ...options }, async (backup, signal) => {
    found.set(backup, await lastOf(backup, { signal }));
  });
  return found;
}

async function lastOf({ id, systemId, repository }: FoundBackup, call: CallOptions): Promise<Verified> {
  try {
    const fact = await repository.facts(systemId).newest(id, VERIFY, call);
    if (fact === undefined) return 'never';
    const verified = parseVerifyFact(fact);
    if (verified === undefined) return 'unknown';
    return { level: verified.level, finished: verified.finished, verdict: verdictOf(verified) };
  } catch (error) {
    if (!isArchiveError(error) || error.code === 'ABORTED') throw error;
    return 'unknown';
  }
}
