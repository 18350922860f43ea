import type { SegmentRange } from '../../repository/inventory.ts';

/** Parts of the whole, 0 to 1. */
export interface DrawnHole {
  readonly from: number;
  readonly to: number;
}

/** The least width of a hole: one that is there is seen. */
const LEAST = 0.004;

/** The holes between runs, those that would lie over each other as one: a drawing is not longer for thousands of them. */
export function holesIn(runs: readonly SegmentRange[], part: (number: bigint) => number): readonly DrawnHole[] {
  const holes: DrawnHole[] = [];
  for (const [at, run] of runs.slice(0, -1).entries()) {
    const next = runs[at + 1];
    if (next === undefined) continue;
    const from = part(run.last + 1n);
    const to = Math.max(part(next.first), from + LEAST);
    const before = holes.at(-1);
    if (before !== undefined && from <= before.to)
      holes[holes.length - 1] = { from: before.from, to: Math.max(to, before.to) };
    else holes.push({ from, to });
  }
  return holes;
}
