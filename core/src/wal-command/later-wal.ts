/** Whether a missing segment is a hole, or the end of the WAL. */
import { readdir } from 'node:fs/promises';
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
  /** Folders that may be the data directory, for the size of a segment. */
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

/** Names of one timeline sort by position. */
async function inSpool(folder: string, file: SegmentFile): Promise<boolean> {
  let names: readonly string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    if (isAbsentInSpool(error, folder)) return false;
    throw error;
  }
  const own = file.name.slice(0, 24);
  return names.some(
    (name) =>
      /^[0-9A-F]{24}(?:\.partial)?$/.test(name) && name.slice(0, 8) === own.slice(0, 8) && name.slice(0, 24) > own,
  );
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
