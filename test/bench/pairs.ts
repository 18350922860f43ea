/** Runs of ours and of the peer in turn. */
import { median, type Cost, type Run } from './measure.ts';

export interface Pairs {
  readonly rounds: number;
  readonly ours: () => Promise<Run>;
  readonly peer?: () => Promise<Run>;
}

export interface PairedRuns {
  readonly ours: readonly Run[];
  readonly peer: readonly Run[];
}

/**
 * One pair that does not count, which fills the caches, then as many as there are rounds. Who goes first changes from round to round: what
 * one leaves behind (dirty pages, a warm cache) is not always in the way of the same one.
 */
export async function runPairs({ rounds, ours, peer }: Pairs): Promise<PairedRuns> {
  const runs = { ours: [] as Run[], peer: [] as Run[] };
  const both = [
    async () => runs.ours.push(await ours()),
    async () => peer !== undefined && runs.peer.push(await peer()),
  ];
  for (let round = 0; round <= rounds; round++)
    for (const run of round % 2 === 0 ? both : both.toReversed()) await run();
  return { ours: runs.ours.slice(1), peer: runs.peer.slice(1) };
}

/** What the runs cost; undefined when there are none. */
export function costOf(runs: readonly Run[]): Cost | undefined {
  if (runs.length === 0) return undefined;
  return {
    peakBytes: Math.max(...runs.map(({ peakBytes }) => peakBytes)),
    cpuSeconds: median(runs.map(({ cpuSeconds }) => cpuSeconds)),
  };
}

/** The costs of both, as a figure has them. */
export function costsOf(runs: PairedRuns): { cost?: { ours: Cost; peer?: Cost } } {
  const ours = costOf(runs.ours);
  const peer = costOf(runs.peer);
  return ours === undefined ? {} : { cost: { ours, ...(peer === undefined ? {} : { peer }) } };
}
