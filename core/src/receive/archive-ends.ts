import { isArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { parseHistory, type TimelineRange } from '../postgres/timeline.ts';
import { historyName, segmentNumberOf } from '../postgres/wal-file.ts';
import type { Fact } from '../repository/facts.ts';
import type { Repository } from '../repository/repository.ts';
import type { WalArchive } from '../repository/wal.ts';
import { gapsAmong, type RecordedGap } from '../repository/wal-gaps.ts';
import { AHEAD } from './shipping-lane.ts';

/** Segments before the last one among which a hole is looked for: shipping is never further ahead of one. */
const WINDOW = 2n * AHEAD;

export interface ArchiveEndsOptions extends CallOptions {
  readonly segmentSize: number;
  /** The line of descent of the server's timeline, oldest first. */
  readonly lineage: readonly TimelineRange[];
  /** Gaps that are about to be recorded in the repository, as facts. */
  readonly owed?: readonly Fact[];
  /** Segments, by timeline and number, that are on their way into the repository: they count as there. */
  readonly coming?: (timeline: number, number: bigint) => boolean;
}

/**
 * How far a repository holds the WAL of each timeline without a hole, as the start of the segment that comes next.
 * Holes that are recorded gaps count as closed. Of timelines that the server does not descend from, only the end is told, and nothing
 * of one of the same number that another server was promoted to: its WAL is not the server's.
 */
export async function archiveEnds(
  repository: Repository,
  systemId: string,
  options: ArchiveEndsOptions,
): Promise<ReadonlyMap<number, bigint>> {
  const { segmentSize, lineage } = options;
  const call = options.signal === undefined ? {} : { signal: options.signal };
  const archive = repository.wal(systemId);
  const size = BigInt(segmentSize);
  const ends = new Map<number, bigint>();
  for (const timeline of await archive.timelines(call)) {
    const last = await archive.last(timeline, call);
    if (last === undefined || last.file.kind !== 'segment') continue;
    const end = segmentNumberOf(last.file, segmentSize) + 1n;
    ends.set(timeline, end * size);
    const newest = lineage.findLast((range) => range.timeline === timeline);
    if (newest === undefined) continue;
    if (!(await isSameTimeline(archive, timeline, lineage, call))) {
      ends.delete(timeline);
      continue;
    }
    const from = end > WINDOW ? end - WINDOW : 0n;
    const gaps = await recordedGaps(repository, systemId, options);
    const comes = (number: bigint): boolean => options.coming?.(timeline, number) ?? false;
    let expected: bigint | undefined;
    for await (const object of archive.segments(timeline, { ...call, from, segmentSize })) {
      if (object.file.kind !== 'segment') continue;
      const number = segmentNumberOf(object.file, segmentSize);
      while (expected !== undefined && expected < number && comes(expected)) expected += 1n;
      if (expected !== undefined && number > expected && !covered(gaps, timeline, expected * size, number * size))
        break;
      expected = number + 1n;
    }
    if (expected !== undefined) ends.set(timeline, expected * size);
  }
  return ends;
}

/** Whether the archived history of a timeline is that of the line, as far as both tell. */
async function isSameTimeline(
  archive: WalArchive,
  timeline: number,
  lineage: readonly TimelineRange[],
  call: CallOptions,
): Promise<boolean> {
  const at = lineage.findIndex((range) => range.timeline === timeline);
  // Of timeline 1, and of one whose ancestors nobody knows here, there is nothing to compare.
  if (at < 1) return true;
  try {
    const history = await archive.history(timeline, call);
    if (history === undefined) return true;
    const switches = parseHistory(history.content, historyName(timeline));
    const ancestors = lineage.slice(0, at);
    const fits = (range: TimelineRange, of: number): boolean =>
      switches[of]?.timeline === range.timeline && switches[of].end === range.end;
    return switches.length === ancestors.length && ancestors.every(fits);
  } catch (error) {
    // Two contents, or no history at all: shipping the server's own one will say so.
    if (isArchiveError(error, 'WAL_CONFLICT') || isArchiveError(error, 'WAL_INVALID')) return false;
    throw error;
  }
}

/** A gap that leads to another timeline leaves no hole between two segments of one. */
function covered(gaps: readonly RecordedGap[], timeline: number, from: bigint, to: bigint): boolean {
  return gaps.some(
    (gap) => gap.timeline === timeline && gap.toTimeline === timeline && gap.from <= from && gap.to >= to,
  );
}

/** The gaps that a repository has on record, or is about to. */
export async function recordedGaps(
  repository: Repository,
  systemId: string,
  { signal, owed = [] }: Pick<ArchiveEndsOptions, 'signal' | 'owed'>,
): Promise<readonly RecordedGap[]> {
  const facts = await repository.facts(systemId).list('wal', signal === undefined ? {} : { signal });
  return gapsAmong([...facts, ...owed]);
}
