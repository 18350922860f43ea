/** Which WAL there is from a backup on, segment by segment along a line of timelines. */
import { createReadStream, readdirSync, statSync } from 'node:fs';
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { parseWalFileName, segmentName, segmentNumberOf } from '../postgres/wal-file.ts';
import { joinRuns } from '../repository/inventory.ts';
import { bodyOf } from '../repository/objects.ts';
import { isAbsentInSpool } from '../receive/spool-absence.ts';
import { isObjectFault } from '../repository/repository-failure.ts';
import { walConflict, type WalReader } from '../repository/wal.ts';
import { unfinishedSegment } from '../wal-command/unfinished-segment.ts';
import { followSpan, spansOf, type Span } from './follow-runs.ts';
import type { Lineage } from './lineage.ts';

/** One segment of the line. */
export interface WalPiece {
  readonly name: string;
  readonly timeline: number;
  readonly number: bigint;
  readonly source: 'archive' | 'spool' | 'tail' | 'partial';
  /** Bytes in the storage; 0 for what is not there. */
  readonly storedBytes: number;
  /** Its plain bytes. */
  read(options?: CallOptions): AsyncIterable<Uint8Array>;
}

/** A hole in the WAL. */
export interface WalGap {
  /** Names of the first missing segments. */
  readonly names: readonly string[];
  /** How many are missing. */
  readonly count: number;
  /** The last segment before it. */
  readonly after: string | undefined;
  /** What there is behind the hole: its first and last segment. */
  readonly behind: { readonly from: string; readonly to: string; readonly count: number };
}

/** WAL without a hole. */
export interface WalRun {
  readonly pieces: readonly WalPiece[];
  /** The hole with which it ends; undefined when it reaches the end of the archive, or something that cannot be used. */
  readonly gap: WalGap | undefined;
  /** Why what follows cannot be used: a segment with two contents, a damaged end. The error of all that needs more than the pieces. */
  readonly fault?: ArchiveError;
}

export interface WalRunOptions extends CallOptions {
  /** The WAL begins with the segment that holds this LSN. */
  readonly start: bigint;
  /** Bytes. */
  readonly segmentSize: number;
  /** The folder of the spool that holds the system's segments. */
  readonly spool?: string;
  /** The recovery goes on along the newest timeline, and so to where that one has left the line. */
  readonly standby: boolean;
}

/** How many names of missing segments are kept. */
const NAMED = 20;

/**
 * Follows the WAL from `start` along the line as far as it goes without a hole.
 *
 * Errors: those of the storage.
 */
export async function walkWal(archive: WalReader, lineage: Lineage, options: WalRunOptions): Promise<WalRun> {
  const { start, segmentSize } = options;
  const pieces: WalPiece[] = [];
  for (const span of spansOf(lineage.ranges, start, segmentSize)) {
    const { found, conflicts } = await wholeSegments(archive, span, options);
    const numbers = [...found.keys()];
    const runs = joinRuns(numbers.map((number) => ({ first: number, last: number })));
    const end = followSpan(span, { runs, bad: [...conflicts.keys()].toSorted((one, other) => (one < other ? -1 : 1)) });
    const next = end.kind === 'complete' ? span.to : end.next;
    for (const [number, piece] of found) if (next === undefined || number < next) pieces.push(piece);
    if (end.kind === 'complete') continue;
    const { timeline, to } = span;
    const name = (number: bigint): string => segmentName(timeline, number, segmentSize);
    if (end.kind === 'bad') return endOfFault(pieces, conflicts.get(end.next));
    if (end.kind === 'open') {
      let unfinished: WalPiece | undefined;
      try {
        unfinished = await unfinishedPiece(archive, timeline, end.next, options);
      } catch (error) {
        if (!isArchiveError(error) || !isFaultOfWal(error)) throw error;
        return endOfFault(pieces, error);
      }
      if (unfinished !== undefined) return { pieces: [...pieces, unfinished], gap: undefined };
      // Slices of a later segment are no end of the WAL either.
      const later = await archive.behind(name(end.next), options);
      if (later === undefined) return { pieces, gap: undefined };
      return { pieces, gap: holeBefore(later, end.next, pieces.at(-1)?.name, options) };
    }
    const behind = numbers.filter((number) => number > end.next);
    const count = Number(end.until - end.next);
    const names = Array.from({ length: Math.min(count, NAMED) }, (_, at) => name(end.next + BigInt(at)));
    const after = segmentName(lineage.timeline, to ?? end.next, segmentSize);
    const [first, last] = [behind[0], behind.at(-1)].map((number) => (number === undefined ? after : name(number)));
    return {
      pieces,
      gap: {
        names,
        count,
        after: pieces.at(-1)?.name,
        behind: { from: first ?? after, to: last ?? after, count: behind.length },
      },
    };
  }
  return { pieces, gap: undefined };
}

function endOfFault(pieces: readonly WalPiece[], fault: ArchiveError | undefined): WalRun {
  return { pieces, gap: undefined, ...(fault !== undefined && { fault }) };
}

/** Whether an error is about what the WAL holds, so that the WAL before it is as good as ever. */
export function isFaultOfWal(error: ArchiveError): boolean {
  return isObjectFault(error) || error.code === 'WAL_CONFLICT';
}

/** The hole before a segment of which there are only slices. */
function holeBefore(later: string, next: bigint, after: string | undefined, { segmentSize }: WalRunOptions): WalGap {
  const file = parseWalFileName(later);
  if (file?.kind !== 'segment') throw new ArchiveError('INTERNAL', `not the name of a segment: ${later}`);
  const count = Number(segmentNumberOf(file, segmentSize) - next);
  const names = Array.from({ length: Math.min(count, NAMED) }, (_, at) =>
    segmentName(file.timeline, next + BigInt(at), segmentSize),
  );
  return { names, count, after, behind: { from: later, to: later, count: 1 } };
}

interface WholeSegments {
  /** Ascending. */
  readonly found: ReadonlyMap<bigint, WalPiece>;
  /** Those with two contents. */
  readonly conflicts: ReadonlyMap<bigint, ArchiveError>;
}

/** The whole segments of a span, in the archive and in the spool. */
async function wholeSegments(
  archive: WalReader,
  { timeline, from, to }: Span,
  options: WalRunOptions,
): Promise<WholeSegments> {
  const { segmentSize, signal, spool } = options;
  const found = new Map<bigint, WalPiece & { readonly digest?: string }>();
  const conflicts = new Map<bigint, ArchiveError>();
  const cancel = signal === undefined ? {} : { signal };
  for await (const object of archive.segments(timeline, { from, segmentSize, ...cancel })) {
    if (object.file.kind !== 'segment') continue;
    const number = segmentNumberOf(object.file, segmentSize);
    if (to !== undefined && number >= to) break;
    const { digest, file, size, conflict } = object;
    if (conflict !== undefined) conflicts.set(number, conflict);
    const same = found.get(number);
    if (same?.digest !== undefined && same.digest !== digest)
      conflicts.set(number, walConflict(file, same.digest, digest));
    found.set(number, {
      name: file.name,
      timeline,
      number,
      source: 'archive',
      storedBytes: size,
      digest,
      read: (call) => archive.read(object, call),
    });
  }
  for (const name of spool === undefined ? [] : spooled(spool)) {
    const file = parseWalFileName(name);
    if (file?.kind !== 'segment' || file.timeline !== timeline) continue;
    const number = segmentNumberOf(file, segmentSize);
    const path = `${spool}/${name}`;
    if (
      number < from ||
      (to !== undefined && number >= to) ||
      found.has(number) ||
      statSync(path, { throwIfNoEntry: false })?.size !== segmentSize
    )
      continue;
    found.set(number, {
      name,
      timeline,
      number,
      source: 'spool',
      storedBytes: 0,
      read: () => createReadStream(path, { highWaterMark: 1024 * 1024 }),
    });
  }
  return { found: new Map([...found].sort(([one], [other]) => (one < other ? -1 : 1))), conflicts };
}

function spooled(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (isAbsentInSpool(error, folder)) return [];
    throw error;
  }
}

async function unfinishedPiece(
  archive: WalReader,
  timeline: number,
  number: bigint,
  options: WalRunOptions,
): Promise<WalPiece | undefined> {
  const name = segmentName(timeline, number, options.segmentSize);
  const followed = options.standby ? {} : { follow: timeline };
  const found = await unfinishedSegment(archive, name, { ...options, ...followed });
  if (found === undefined) return undefined;
  const { bytes, source } = found;
  return { name, timeline, number, source, storedBytes: 0, read: () => bodyOf(bytes) };
}
