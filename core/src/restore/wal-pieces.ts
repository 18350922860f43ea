/** Which WAL there is from a backup on, segment by segment along a line of timelines. */
import { createReadStream, readdirSync, statSync } from 'node:fs';
import { ArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { parseWalFileName, segmentName, segmentNumber, segmentNumberOf } from '../postgres/wal-file.ts';
import { bodyOf } from '../repository/objects.ts';
import { isAbsentInSpool } from '../receive/spool-absence.ts';
import type { WalReader } from '../repository/wal.ts';
import { unfinishedSegment } from '../wal-command/unfinished-segment.ts';
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
  /** The hole with which it ends; undefined when it reaches the end of the archive. */
  readonly gap: WalGap | undefined;
}

export interface WalRunOptions extends CallOptions {
  /** The WAL begins with the segment that holds this LSN. */
  readonly start: bigint;
  /** Bytes. */
  readonly segmentSize: number;
  /** The folder of the spool that holds the system's segments. */
  readonly spool?: string;
}

/** How many names of missing segments are kept. */
const NAMED = 20;

/**
 * Follows the WAL from `start` along the line as far as it goes without a hole.
 *
 * A segment in which the timeline changes counts on the newer one, whose file holds the older one's beginning too.
 * Errors: `WAL_CONFLICT` for a segment with two contents, those of the storage.
 */
export async function walkWal(archive: WalReader, lineage: Lineage, options: WalRunOptions): Promise<WalRun> {
  const { start, segmentSize } = options;
  const pieces: WalPiece[] = [];
  for (const range of lineage.ranges) {
    if (range.end !== undefined && range.end <= start) continue;
    const from = segmentNumber(range.start > start ? range.start : start, segmentSize);
    const to = range.end === undefined ? undefined : segmentNumber(range.end, segmentSize);
    const whole = await wholeSegments(archive, range.timeline, from, options);
    const name = (number: bigint): string => segmentName(range.timeline, number, segmentSize);
    let next = from;
    for (; next !== to; next++) {
      const piece = whole.get(next);
      if (piece === undefined) break;
      pieces.push(piece);
    }
    if (next === to) continue;
    const behind = [...whole.values()].filter(({ number }) => number > next);
    const [first] = behind;
    const last = behind.at(-1);
    if (to === undefined && first === undefined) {
      const unfinished = await unfinishedPiece(archive, range.timeline, next, options);
      if (unfinished !== undefined) return { pieces: [...pieces, unfinished], gap: undefined };
      // Slices of a later segment are no end of the WAL either.
      const later = await archive.behind(name(next), options);
      if (later === undefined) return { pieces, gap: undefined };
      return { pieces, gap: holeBefore(later, next, pieces.at(-1)?.name, options) };
    }
    const end = first?.number ?? to ?? next;
    const limited = to !== undefined && to < end ? to : end;
    const count = Number(limited - next);
    const names = Array.from({ length: Math.min(count, NAMED) }, (_, at) => name(next + BigInt(at)));
    const after = segmentName(lineage.timeline, to ?? next, segmentSize);
    return {
      pieces,
      gap: {
        names,
        count,
        after: pieces.at(-1)?.name,
        behind: { from: first?.name ?? after, to: last?.name ?? after, count: behind.length },
      },
    };
  }
  return { pieces, gap: undefined };
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

/** The whole segments of a timeline from a number on, in the archive and in the spool. */
async function wholeSegments(
  archive: WalReader,
  timeline: number,
  from: bigint,
  options: WalRunOptions,
): Promise<ReadonlyMap<bigint, WalPiece>> {
  const { segmentSize, signal, spool } = options;
  const found = new Map<bigint, WalPiece & { readonly digest?: string }>();
  const cancel = signal === undefined ? {} : { signal };
  for await (const object of archive.segments(timeline, { from, segmentSize, ...cancel })) {
    if (object.file.kind !== 'segment') continue;
    const number = segmentNumberOf(object.file, segmentSize);
    const { digest, file, size } = object;
    const same = found.get(number);
    if (same?.digest !== undefined && same.digest !== digest)
      throw new ArchiveError(
        'WAL_CONFLICT',
        `the archive holds ${file.name} twice, with digests ${same.digest} and ${digest}`,
      );
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
    if (number < from || found.has(number) || statSync(path, { throwIfNoEntry: false })?.size !== segmentSize) continue;
    found.set(number, {
      name,
      timeline,
      number,
      source: 'spool',
      storedBytes: 0,
      read: () => createReadStream(path, { highWaterMark: 1024 * 1024 }),
    });
  }
  return new Map([...found].sort(([one], [other]) => (one < other ? -1 : 1)));
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
  const found = await unfinishedSegment(archive, name, options);
  if (found === undefined) return undefined;
  const { bytes, source } = found;
  return { name, timeline, number, source, storedBytes: 0, read: () => bodyOf(bytes) };
}
