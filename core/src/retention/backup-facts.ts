/** What the facts of a backup mean for its keeping. */
import type { Fact } from '../repository/facts.ts';
import { parseVerifyFact, verdictOf } from '../verify/fact.ts';

export interface Pin {
  readonly reason: string;
  /** Epoch milliseconds; undefined for one that does not end. */
  readonly until: number | undefined;
}

/** The pin that holds at `now`: the newest word counts. */
export function pinOf(facts: readonly Fact[], now: number): Pin | undefined {
  const last = facts
    .filter(({ kind }) => kind === 'pin' || kind === 'unpin')
    .toSorted(byTime)
    .at(-1);
  if (last?.kind !== 'pin') return undefined;
  const { reason, until } = last.data;
  const end = typeof until === 'string' ? Date.parse(until) : undefined;
  if (end !== undefined && end <= now) return undefined;
  return { reason: typeof reason === 'string' ? reason : '', until: end };
}

/**
 * When the backup was last found good as a whole, by a drill or by a verification that read all of it, epoch milliseconds; undefined when none
 * did, or what was found since says otherwise.
 */
export function provenAt(facts: readonly Fact[]): number | undefined {
  let proven: number | undefined;
  for (const fact of facts.toSorted(byTime)) {
    const word = wordOf(fact);
    if (word !== undefined) proven = word === 'good' ? fact.time : undefined;
  }
  return proven;
}

/** What one fact says of the whole backup; undefined when it says nothing of all of it. */
function wordOf(fact: Fact): 'good' | 'bad' | undefined {
  if (fact.kind === 'drill') {
    const { outcome } = fact.data;
    return outcome === 'proven' ? 'good' : outcome === 'failed' ? 'bad' : undefined;
  }
  const verified = parseVerifyFact(fact);
  if (verified === undefined) return undefined;
  const verdict = verdictOf(verified);
  if (verdict === 'damaged') return 'bad';
  return verdict === 'good' && verified.level === 'full' ? 'good' : undefined;
}

function byTime(one: Fact, other: Fact): number {
  return one.time - other.time;
}
