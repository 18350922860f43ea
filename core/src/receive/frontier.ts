/** What the ends of several archives mean together. Pure, but for the look into one archive. */
import type { TimelineRange } from '../postgres/timeline.ts';
import { segmentStart } from '../postgres/wal-file.ts';
import type { Repository } from '../repository/repository.ts';
import type { RecordedGap } from '../repository/wal-gaps.ts';
import { archiveEnds, recordedGaps, type ArchiveEndsOptions } from './archive-ends.ts';
import type { ArchiveEnds } from './messages.ts';
import type { WalPosition } from './spool.ts';
import { holdings, precedes } from './start-position.ts';

interface History {
  readonly segmentSize: number;
  /** The line of descent of the server's timeline, oldest first. */
  readonly lineage: readonly TimelineRange[];
}

/**
 * The ends to begin at so that each archive gets what it lacks: of each timeline the least, and none of a timeline that follows
 * the one on which the archive that is furthest behind ends. An archive that holds nothing of the server's history does not count.
 */
export function leastEnds(all: readonly ArchiveEnds[], history: History): ArchiveEnds {
  const ends = new Map<number, bigint>();
  for (const one of all) {
    for (const [timeline, lsn] of one) if (lsn < (ends.get(timeline) ?? lsn + 1n)) ends.set(timeline, lsn);
  }
  const { lineage } = history;
  const least = all
    .map((one) => nextPosition(one, history))
    .filter((position) => position !== undefined)
    .reduce<WalPosition | undefined>(
      (first, next) => (first === undefined || precedes(next, first, lineage) ? next : first),
      undefined,
    );
  const held = ends.get(least?.timeline ?? 0);
  // Nobody holds the timeline that would come next: the last one that is held tells where to go on.
  if (least === undefined || held === undefined) return ends;
  if (least.lsn < held) ends.set(least.timeline, least.lsn);
  const at = lineage.findIndex(({ timeline }) => timeline === least.timeline);
  for (const { timeline } of lineage.slice(at + 1)) ends.delete(timeline);
  return ends;
}

/** The ends of all archives together: of each timeline the furthest. */
export function furthestEnds(all: readonly ArchiveEnds[]): ArchiveEnds {
  const ends = new Map<number, bigint>();
  for (const one of all) {
    for (const [timeline, lsn] of one) if (lsn > (ends.get(timeline) ?? -1n)) ends.set(timeline, lsn);
  }
  return ends;
}

/** The segment that an archive needs next: behind the end of a timeline that is the first one of the timeline that follows. */
function nextPosition(ends: ArchiveEnds, { lineage, segmentSize }: History): WalPosition | undefined {
  let { position } = holdings(ends, lineage);
  for (const { timeline, end } of lineage) {
    if (timeline !== position?.timeline || end === undefined) continue;
    const fork = segmentStart(end, segmentSize);
    const next = lineage[lineage.findIndex((range) => range.timeline === timeline) + 1];
    if (position.lsn >= fork && next !== undefined) position = { timeline: next.timeline, lsn: fork };
  }
  return position;
}

/** WAL that an archive lacks before a segment that is about to be shipped into it. */
export interface Hole {
  readonly from: WalPosition;
  readonly to: WalPosition;
}

/** What was found before a position. */
export interface Look {
  /** The archive holds nothing of the history. */
  readonly empty: boolean;
  readonly hole: Hole | undefined;
}

/**
 * Looks whether an archive that holds WAL of a history lacks some of it before the start of a segment. To be asked before the segment is
 * archived: later the hole may lie too far back to be seen.
 */
export async function holeBefore(
  repository: Repository,
  systemId: string,
  to: WalPosition,
  options: ArchiveEndsOptions,
): Promise<Look> {
  const { lineage } = options;
  const end = nextPosition(await archiveEnds(repository, systemId, options), options);
  if (end === undefined) return { empty: true, hole: undefined };
  if (!precedes(end, to, lineage)) return { empty: false, hole: undefined };
  const gaps = await recordedGaps(repository, systemId, options);
  let from: WalPosition = end;
  for (let next: WalPosition | undefined = end; next !== undefined; next = stepFrom(from, gaps, options)) from = next;
  return { empty: false, hole: precedes(from, to, lineage) ? { from, to } : undefined };
}

/** Where an archive goes on without lacking anything: behind a segment that is on its way, a gap, or the end of a timeline. */
function stepFrom(
  from: WalPosition,
  gaps: readonly RecordedGap[],
  { lineage, segmentSize, coming }: ArchiveEndsOptions,
): WalPosition | undefined {
  const { timeline, lsn } = from;
  const size = BigInt(segmentSize);
  if (coming?.(timeline, lsn / size)) return { timeline, lsn: lsn + size };
  // What is lost for all is not behind in this one.
  for (const gap of gaps) {
    const past = { timeline: gap.toTimeline, lsn: gap.to };
    if (gap.timeline === timeline && gap.from <= lsn && precedes(from, past, lineage)) return past;
  }
  const next = nextPosition(new Map([[timeline, lsn]]), { lineage, segmentSize });
  return next !== undefined && precedes(from, next, lineage) ? next : undefined;
}
