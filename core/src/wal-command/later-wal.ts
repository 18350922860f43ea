/** Whether a missing segment is a hole, or the end of the WAL; whether a missing history hides a timeline. */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { CallOptions } from '../contracts/storage.ts';
import { parseHistory } from '../postgres/timeline.ts';
import { historyName, readSegmentHeader, segmentNumber, segmentNumberOf } from '../postgres/wal-file.ts';
import { isAbsentInSpool } from '../receive/spool-absence.ts';
import type { WalReader } from '../repository/wal.ts';
import { findControlFile } from './data-directory.ts';
import type { SegmentFile } from './segment-check.ts';

export interface LaterWalOptions extends CallOptions {
  /** The folder of the spool that holds the system's segments. */
  readonly spool: string | undefined;
  /** Folders that may be the data directory, for what its control file says. */
  readonly dataDirectories: readonly string[];
}

/**
 * Whether there is WAL behind a segment that nothing has: whole, partial or in slices on the same timeline, or on a timeline that
 * left this one only behind the segment. PostgreSQL must not take such a hole for the end of the archive.
 */
export async function hasLaterWal(archive: WalReader, file: SegmentFile, options: LaterWalOptions): Promise<boolean> {
  if ((await archive.behind(file.name, options)) !== undefined) return true;
  if (options.spool !== undefined && (await inSpool(options.spool, file))) return true;
  return forksLater(archive, file, options);
}

/**
 * The newest timeline that a recovery would overlook without the history of `timeline`, which no place has; undefined when there is none.
 *
 * PostgreSQL asks for one history after the other, and takes the first that is missing for a timeline that does not exist: it then opens the
 * cluster on the one before (source: `findNewestTimeLine`). It does without that of the timeline on which the cluster is, where an archive
 * may have been begun, and reads its own copy where the archive has none.
 */
export async function overlookedTimeline(
  archive: WalReader,
  timeline: number,
  options: LaterWalOptions,
): Promise<number | undefined> {
  const spooled = options.spool === undefined ? [] : await spooledSegments(options.spool);
  const known = [
    ...(await archive.timelines(options)),
    ...spooled.map((name) => Number.parseInt(name.slice(0, 8), 16)),
  ];
  const newest = Math.max(...known);
  if (newest < timeline) return undefined;
  const copies = options.dataDirectories.map((directory) => join(directory, 'pg_wal', historyName(timeline)));
  if (copies.some((path) => existsSync(path))) return undefined;
  const control = await findControlFile(options.dataDirectories);
  // Who asks from another host does not say where its cluster is: not before the oldest WAL of the archive.
  const own =
    control === undefined ? Math.min(...known) : Math.max(control.checkpoint.timeline, control.minRecoveryTimeline);
  return timeline <= own ? undefined : newest;
}

/** Names of one timeline sort by position. */
async function inSpool(folder: string, file: SegmentFile): Promise<boolean> {
  const own = file.name.slice(0, 24);
  const names = await spooledSegments(folder);
  return names.some((name) => name.slice(0, 8) === own.slice(0, 8) && name > own);
}

/** Names of the segments of which the spool has anything. */
async function spooledSegments(folder: string): Promise<readonly string[]> {
  try {
    return (await readdir(folder)).flatMap((name) => /^([0-9A-F]{24})(?:\.partial)?$/.exec(name)?.[1] ?? []);
  } catch (error) {
    if (isAbsentInSpool(error, folder)) return [];
    throw error;
  }
}

async function forksLater(archive: WalReader, file: SegmentFile, options: LaterWalOptions): Promise<boolean> {
  for (const timeline of await archive.timelines(options)) {
    if (timeline <= file.timeline) continue;
    const history = await archive.history(timeline, options);
    if (history === undefined) continue;
    const ancestors = parseHistory(history.content, historyName(timeline));
    const end = ancestors.find((ancestor) => ancestor.timeline === file.timeline)?.end;
    if (end === undefined) continue;
    const segmentSize = await segmentSizeOf(archive, timeline, options);
    if (segmentSize === undefined) continue;
    if (segmentNumber(end, segmentSize) > segmentNumberOf(file, segmentSize)) return true;
  }
  return false;
}

/** From the data directory, else from a segment of the timeline; undefined when there is neither, and so no WAL behind the fork. */
async function segmentSizeOf(
  archive: WalReader,
  timeline: number,
  options: LaterWalOptions,
): Promise<number | undefined> {
  const control = await findControlFile(options.dataDirectories);
  if (control !== undefined) return control.walSegmentSize;
  const object = await archive.last(timeline, options);
  if (object === undefined) return undefined;
  for await (const chunk of archive.read(object, options)) return readSegmentHeader(chunk, object.key).segmentSize;
  return undefined;
}
