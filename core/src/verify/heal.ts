/** Puts good copies of other repositories in the place of what is missing or damaged. */
import { isArchiveError, throwIfAborted } from '../contracts/errors.ts';
import type { Finding } from './finding.ts';
import { healBackup } from './heal-backup.ts';
import { healWal } from './heal-wal.ts';
import type { HealOptions, HealOutcome } from './replace.ts';
import type { VerifyResult } from './result.ts';

/**
 * Heals what it can of a result, in which healed findings are marked then. A good copy is read to its end and verified before anything is
 * changed; something damaged is read once more, and removed only when it is damaged still; what was put is read back.
 *
 * What was archived as it is, what no key opens and what has several contents is left alone: there is nothing to tell which copy is right.
 * Errors: `ABORTED`. All others are the reasons of outcomes.
 */
export async function heal(result: VerifyResult, options: HealOptions): Promise<readonly HealOutcome[]> {
  const outcomes = new Map<string, HealOutcome>();
  for (const { systemId, subject, report } of result.subjects) {
    if (systemId === undefined) continue;
    const open = report.findings.filter(({ healedFrom }) => healedFrom === undefined);
    const own = open.filter(({ key }) => isOfBackup(key, subject));
    if (own.length > 0)
      for (const outcome of await attempt(own, options, () =>
        healBackup({ systemId, id: subject, findings: own }, options),
      ))
        outcomes.set(outcome.key, outcome);
    for (const finding of open.filter((one) => !own.includes(one))) {
      if (outcomes.has(finding.key)) continue;
      const [outcome] = await attempt([finding], options, async () => [await healWal(systemId, finding, options)]);
      if (outcome !== undefined) outcomes.set(outcome.key, outcome);
    }
  }
  for (const { key, from } of outcomes.values())
    if (from !== undefined) for (const { report } of result.subjects) report.healed(key, from);
  return [...outcomes.values()];
}

/** Whether an object lies in the folder of this backup. */
function isOfBackup(key: string, id: string): boolean {
  return key.includes(`/backups/${id}/`);
}

async function attempt(
  findings: readonly Finding[],
  { signal }: HealOptions,
  work: () => Promise<readonly HealOutcome[]>,
): Promise<readonly HealOutcome[]> {
  try {
    return await work();
  } catch (error) {
    throwIfAborted(signal, 'healing');
    if (!isArchiveError(error)) throw error;
    return findings.map(({ key }) => ({ key, from: undefined, reason: error.message }));
  }
}
