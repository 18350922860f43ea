/** Says what a figure shows, and when it shows nothing. Pure functions. */
import { median, pairedRatios, type Figure } from './measure.ts';

/** Fewer runs than this can look alike by accident: nothing is claimed of them. */
const LEAST_ROUNDS = 5;
/** With less certainty that the interval holds the median, it is made wider. */
const COVERAGE = 0.9;
/** An interval whose ends are further apart than this factor says that something else ran on the machine. */
const WIDEST = 1.5;
/** Share of the machine's CPUs that others may use before a measurement begins. */
export const BUSY = 0.1;

export interface Interval {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

export type Outcome = 'met' | 'missed' | 'not decided' | 'no target';

export interface Verdict {
  readonly outcome: Outcome;
  /** Why nothing is claimed. */
  readonly reason?: string;
  readonly value: Interval;
  /** Ours to the peer's; absent without a peer. */
  readonly ratio?: Interval;
}

/**
 * The median, and an interval that holds the true one with at least 90 % probability whatever the distribution: between the k-th
 * smallest and the k-th largest value, by the binomial distribution of how many values lie below the median. For 5 to 7 values that
 * is the smallest and the largest, for 8 to 10 the second ones.
 */
export function interval(values: readonly number[]): Interval {
  const sorted = values.toSorted((a, b) => a - b);
  let rank = 0;
  while (rank + 1 < sorted.length / 2 && coverage(sorted.length, rank + 1) >= COVERAGE) rank++;
  return {
    median: median(sorted),
    low: sorted[rank] ?? Number.NaN,
    high: sorted[sorted.length - 1 - rank] ?? Number.NaN,
  };
}

/** The probability that the median lies between the values of this rank, from 0, counted from both ends. */
function coverage(count: number, rank: number): number {
  let outside = 0;
  let ways = 1; // count over below
  for (let below = 0; below <= rank; below++) {
    outside += ways;
    ways = (ways * (count - below)) / (below + 1);
  }
  return 1 - (2 * outside) / 2 ** count;
}

/** `busy` is the share of the machine that others used before the measurement. */
export function judge(figure: Figure, busy: number): Verdict {
  const value = interval(figure.ours);
  const ratios = pairedRatios(figure);
  const ratio = ratios.length === 0 ? undefined : interval(ratios);
  const found = { value, ...(ratio === undefined ? {} : { ratio }) };
  if (figure.target === undefined) return { ...found, outcome: 'no target' };
  if (figure.ours.length < LEAST_ROUNDS)
    return { ...found, outcome: 'not decided', reason: `fewer than ${LEAST_ROUNDS} rounds` };
  if (busy > BUSY)
    return { ...found, outcome: 'not decided', reason: `others used ${(busy * 100).toFixed(0)} % of the machine` };
  const claims: Claim[] = [];
  if (figure.target.ratio !== undefined)
    claims.push(claim(ratio ?? { median: NaN, low: NaN, high: NaN }, figure.target.ratio, figure.better));
  if (figure.target.value !== undefined) claims.push(claim(value, figure.target.value, figure.better));
  const undecided = claims.find(({ outcome }) => outcome === 'not decided');
  if (claims.some(({ outcome }) => outcome === 'missed')) return { ...found, outcome: 'missed' };
  return { ...found, ...(undecided ?? { outcome: 'met' }) };
}

interface Claim {
  readonly outcome: 'met' | 'missed' | 'not decided';
  readonly reason?: string;
}

function claim({ low, high }: Interval, target: number, better: 'more' | 'less'): Claim {
  if (!(high / low <= WIDEST)) return { outcome: 'not decided', reason: 'too noisy: the runs are too far apart' };
  const [worst, best] = better === 'more' ? [low, high] : [-high, -low];
  const wanted = better === 'more' ? target : -target;
  if (worst >= wanted) return { outcome: 'met' };
  if (best < wanted) return { outcome: 'missed' };
  return { outcome: 'not decided', reason: 'the target lies within the spread of the runs' };
}
