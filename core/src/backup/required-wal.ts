import { ArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import type { ManifestWalRange } from '../postgres/manifest.ts';
import { ancestry, parseHistory } from '../postgres/timeline.ts';
import { lastSegmentNumber, segmentNumber, segmentNumberOf } from '../postgres/wal-file.ts';
import { backupRange, type BackupRecord } from '../repository/backup-record.ts';
import type { WalObject, WalReader } from '../repository/wal.ts';

/** Segments of one timeline, both ends included. */
export interface SegmentRun {
  readonly timeline: number;
  readonly first: bigint;
  readonly last: bigint;
}

/** The WAL files without which a backup cannot be restored. */
export interface RequiredWal {
  /** Timelines that begin while the backup runs: their history files. */
  readonly histories: readonly number[];
  /** Ascending, without overlap. */
  readonly runs: readonly SegmentRun[];
}

/**
 * What a backup over these ranges needs; ranges as in the manifest, newest timeline first.
 *
 * A segment in which the timeline changes is needed from the newer one: it holds the older one's beginning too, and the older
 * one's is never completed. A stop on a segment border needs the segment before it, not the one after.
 */
export function requiredWal(ranges: readonly ManifestWalRange[], segmentSize: number): RequiredWal {
  const runs: SegmentRun[] = [];
  for (const { timeline, start, end } of ranges) {
    if (end <= start) continue;
    const first = segmentNumber(start, segmentSize);
    const newer = runs[0];
    const whole = lastSegmentNumber(end, segmentSize);
    const last = newer !== undefined && newer.first <= whole ? newer.first - 1n : whole;
    if (first <= last) runs.unshift({ timeline, first, last });
  }
  return { histories: ranges.slice(0, -1).map(({ timeline }) => timeline), runs };
}

/** Number of segments in some runs. */
export function countSegments(runs: readonly SegmentRun[]): number {
  return Number(runs.reduce((sum, { first, last }) => sum + last - first + 1n, 0n));
}

/**
 * What a committed backup needs, from its record; for one that saw its server's timeline change, from the history file too. Errors:
 * `WAL_NOT_FOUND` without that file, those of the storage.
 */
export async function requiredWalOf(
  backup: BackupRecord,
  archive: WalReader,
  options: CallOptions = {},
): Promise<RequiredWal> {
  const { start, stop } = backupRange(backup);
  const whole = { timeline: backup.timeline, start, end: stop };
  if (backup.timeline === backup.stopTimeline) return requiredWal([whole], backup.segmentSize);
  const history = await archive.history(backup.stopTimeline, options);
  if (history === undefined)
    throw new ArchiveError('WAL_NOT_FOUND', `the history file of timeline ${backup.stopTimeline} is not archived`);
  const line = ancestry(backup.stopTimeline, parseHistory(history.content, history.object.file.name));
  const ranges = line
    .map(({ timeline, start: begin, end }) => ({
      timeline,
      start: begin > start ? begin : start,
      end: end === undefined || end > stop ? stop : end,
    }))
    .filter(({ timeline, start: begin, end }) => timeline >= backup.timeline && begin < end);
  return requiredWal(ranges.toReversed(), backup.segmentSize);
}

/**
 * The stretches of a run that the archive does not hold, ascending; one listing for all of it. Errors: `WAL_CONFLICT`, those of
 * the storage.
 */
export async function missingSegments(
  archive: WalReader,
  run: SegmentRun,
  segmentSize: number,
  options: CallOptions = {},
): Promise<readonly SegmentRun[]> {
  const { timeline, first, last } = run;
  const missing: SegmentRun[] = [];
  let next = first;
  let previous: WalObject | undefined;
  for await (const object of archive.segments(timeline, { ...options, from: first, segmentSize })) {
    if (object.file.kind !== 'segment') continue;
    const number = segmentNumberOf(object.file, segmentSize);
    if (number > last) break;
    if (object.conflict !== undefined) throw object.conflict;
    // Two objects of one name: either copies of one content, or two servers' WAL, which `find` refuses.
    if (object.file.name === previous?.file.name && object.digest !== previous.digest)
      await archive.find(object.file.name, options);
    previous = object;
    if (number > next) missing.push({ timeline, first: next, last: number - 1n });
    next = number + 1n;
  }
  if (next <= last) missing.push({ timeline, first: next, last });
  return missing;
}
