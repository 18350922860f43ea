/** What the facts of a backup mean for its keeping. */
import type { Fact } from '../repository/facts.ts';

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

/** When a drill or a verification last found the backup good, epoch milliseconds; undefined when none did, or the newest found it bad. */
export function provenAt(facts: readonly Fact[]): number | undefined {
  const last = facts
    .filter(({ kind }) => kind === 'drill' || kind === 'verify')
    .toSorted(byTime)
    .at(-1);
  return last !== undefined && last.data['ok'] === true ? last.time : undefined;
}

function byTime(one: Fact, other: Fact): number {
  return one.time - other.time;
}
