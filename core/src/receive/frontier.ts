/** What the ends of several archives mean together. Pure, but for the look into one archive. */
import type { TimelineRange } from '../postgres/timeline.ts';
import { segmentStart } from '../postgres/wal-file.ts';
import type { Repository } from '../repository/repository.ts';
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

/**
 * Looks whether an archive that holds WAL of a history lacks some of it before the start of a segment. To be asked before the segment is
 * archived: later the hole may lie too far back to be seen.
 */
export async function holeBefore(
  repository: Repository,
  systemId: string,
  to: WalPosition,
  options: ArchiveEndsOptions,
): Promise<Hole | undefined> {
  const end = nextPosition(await archiveEnds(repository, systemId, options), options);
  if (end === undefined || !precedes(end, to, options.lineage)) return undefined;
  // What is lost for all is not behind in this one.
  let from = end;
  for (const gap of await recordedGaps(repository, systemId, options)) {
    const leads = gap.timeline === from.timeline && gap.from <= from.lsn;
    const past = { timeline: gap.toTimeline, lsn: gap.to };
    if (leads && precedes(from, past, options.lineage)) from = past;
  }
  return precedes(from, to, options.lineage) ? { from, to } : undefined;
}
