/** The WAL of a system for programs. */
import type { SystemMap } from '../map/recovery-map.ts';
import { formatLsn } from '../postgres/lsn.ts';
import { segmentName } from '../postgres/wal-file.ts';
import type { SegmentRange, TimelineInventory } from '../repository/inventory.ts';
import { gapDocument } from './gap-document.ts';

export function walDocument(system: SystemMap): Readonly<Record<string, unknown>> {
  const { systemId, segmentSize, segments, wal, gaps } = system;
  return {
    systemId,
    segmentSize,
    segments,
    timelines: wal.timelines.map((one) => timelineDocument(one, segmentSize)),
    gaps: gaps.map((gap) => gapDocument({ ...gap, systemId })),
  };
}

function timelineDocument(
  { timeline, histories, runs, conflicts, open, last }: TimelineInventory,
  segmentSize: number,
): Readonly<Record<string, unknown>> {
  const size = BigInt(segmentSize);
  const rangeDocument = ({ first, last: end }: SegmentRange): Readonly<Record<string, unknown>> => ({
    from: segmentName(timeline, first, segmentSize),
    to: segmentName(timeline, end, segmentSize),
    count: Number(end - first) + 1,
    fromLsn: formatLsn(first * size),
    toLsn: formatLsn((end + 1n) * size),
  });
  const holes = runs.slice(1).map(({ first }, at) => ({ first: (runs[at]?.last ?? 0n) + 1n, last: first - 1n }));
  return {
    timeline,
    history: histories.length === 0 ? 'none' : histories.length === 1 ? 'archived' : 'conflict',
    runs: runs.map(rangeDocument),
    holes: holes.map(rangeDocument),
    conflicts: conflicts.map((number) => segmentName(timeline, number, segmentSize)),
    open: open.map(({ number, slices, partial }) => ({
      segment: segmentName(timeline, number, segmentSize),
      partial,
      slices,
    })),
    ...(last !== undefined && { last: { name: last.name, modified: new Date(last.modified).toISOString() } }),
  };
}
