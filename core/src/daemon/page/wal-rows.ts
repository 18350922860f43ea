/** The WAL of a system as rows, the newest first: pure, and as long as there are runs of segments, not segments. */
import type { SystemMap } from '../../map/recovery-map.ts';
import { formatBytes } from '../../documents/format.ts';
import { parseLsn } from '../../postgres/lsn.ts';
import { segmentName } from '../../postgres/wal-file.ts';
import type { KeyedFact } from '../../repository/facts.ts';
import type { SegmentRange, TimelineInventory } from '../../repository/inventory.ts';

export interface WalRow {
  readonly timeline: number;
  /** `open`: what there is of a segment that is not there as a whole. */
  readonly kind: 'run' | 'hole' | 'open' | 'conflict';
  /** Names of segments. */
  readonly from: string;
  readonly to: string;
  readonly segments: bigint;
  readonly bytes: number | undefined;
  readonly text: string | undefined;
}

/** `recorded`: the facts of the system, which may say why WAL is missing. */
export function walRows({ wal, segmentSize }: SystemMap, recorded: readonly KeyedFact[]): readonly WalRow[] {
  const gaps = recorded.filter(({ fact }) => fact.kind === 'gap');
  return wal.timelines.toReversed().flatMap((inventory) => rowsOf(inventory, segmentSize, gaps));
}

function rowsOf(inventory: TimelineInventory, segmentSize: number, gaps: readonly KeyedFact[]): readonly WalRow[] {
  const { timeline, runs, open, conflicts } = inventory;
  const row = (
    kind: WalRow['kind'],
    { first, last }: SegmentRange,
    bytes: number | undefined,
    text?: string,
  ): WalRow => ({
    timeline,
    kind,
    from: segmentName(timeline, first, segmentSize),
    to: segmentName(timeline, last, segmentSize),
    segments: last - first + 1n,
    bytes,
    text,
  });
  const rows: { readonly at: bigint; readonly row: WalRow }[] = [];
  for (const [at, run] of runs.entries()) {
    const size = Number(run.last - run.first + 1n) * segmentSize;
    rows.push({ at: run.first, row: row('run', run, size) });
    const next = runs[at + 1];
    if (next === undefined) continue;
    const hole = { first: run.last + 1n, last: next.first - 1n };
    rows.push({ at: hole.first, row: row('hole', hole, undefined, whyOf(hole, timeline, segmentSize, gaps)) });
  }
  for (const { number, slices, partial } of open) {
    const reached = slices.reduce((most, { to }) => Math.max(most, to), 0);
    const text = partial ? 'as a promoted server left it' : `its first ${formatBytes(reached)}`;
    rows.push({ at: number, row: row('open', { first: number, last: number }, partial ? undefined : reached, text) });
  }
  for (const number of conflicts) {
    const text = 'is there with several contents';
    rows.push({ at: number, row: row('conflict', { first: number, last: number }, undefined, text) });
  }
  return rows.sort((one, other) => (one.at < other.at ? 1 : one.at > other.at ? -1 : 0)).map((one) => one.row);
}

function whyOf(hole: SegmentRange, timeline: number, segmentSize: number, gaps: readonly KeyedFact[]): string {
  const from = hole.first * BigInt(segmentSize);
  const to = (hole.last + 1n) * BigInt(segmentSize);
  for (const { fact } of gaps) {
    const { timeline: on, from: begin, to: end, reason } = fact.data;
    if (on !== timeline || typeof begin !== 'string' || typeof end !== 'string') continue;
    if (parseLsn(begin) < to && parseLsn(end) > from)
      return `lost: ${typeof reason === 'string' ? reason : 'no reason is on record'}`;
  }
  return 'no record says why: it was never archived, or removed';
}
