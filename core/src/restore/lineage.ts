/** Along which timelines a recovery runs. */
import { ArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { ancestry, parseHistory, type TimelineRange } from '../postgres/timeline.ts';
import { historyName } from '../postgres/wal-file.ts';
import type { WalReader } from '../repository/wal.ts';

/** The line of descent of a timeline, oldest ancestor first. */
export interface Lineage {
  readonly timeline: number;
  readonly ranges: readonly TimelineRange[];
  /** The archive has no history file of the timeline, so nothing is known of its ancestors. */
  readonly historyMissing: boolean;
}

/** Reads the line of descent of a timeline. Without its history file it stands alone, as for PostgreSQL. Errors: `WAL_INVALID`, those of the storage. */
export async function readLineage(archive: WalReader, timeline: number, options: CallOptions = {}): Promise<Lineage> {
  if (timeline === 1) return { timeline, ranges: ancestry(1, []), historyMissing: false };
  const history = await archive.history(timeline, options);
  if (history === undefined) return { timeline, ranges: ancestry(timeline, []), historyMissing: true };
  const switches = parseHistory(history.content, historyName(timeline));
  if ((switches.at(-1)?.timeline ?? 0) >= timeline)
    throw new ArchiveError('WAL_INVALID', `${historyName(timeline)} does not lead to timeline ${timeline}`);
  return { timeline, ranges: ancestry(timeline, switches), historyMissing: false };
}

/** The stretch of the line on which a timeline's WAL up to `lsn` lies, or undefined when it does not belong to the line. */
export function rangeOf(lineage: Lineage, timeline: number, lsn: bigint): TimelineRange | undefined {
  const range = lineage.ranges.find((candidate) => candidate.timeline === timeline);
  if (range === undefined || lsn < range.start) return undefined;
  return range.end === undefined || lsn <= range.end ? range : undefined;
}
