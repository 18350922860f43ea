/**
 * The last segment of a timeline, which never became whole: what is known of it lies in up to three places.
 */
import { open, type FileHandle } from 'node:fs/promises';
import { ArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { parseWalFileName, readSegmentHeader, SEGMENT_HEADER_BYTES, segmentNumberOf } from '../postgres/wal-file.ts';
import { isAbsentInSpool } from '../receive/spool-absence.ts';
import { collect } from '../repository/objects.ts';
import type { WalReader } from '../repository/wal.ts';
import { forkOf, type Fork } from './fork.ts';
import { checkSegment } from './segment-check.ts';

export interface UnfinishedSegment {
  /** As long as a segment, filled up with zeroes. */
  readonly bytes: Uint8Array;
  /** Slices in the archive, the `.partial` of the spool, or the `.partial` that a server archived when it was promoted. */
  readonly source: 'tail' | 'spool' | 'partial';
}

export interface UnfinishedOptions extends CallOptions {
  /** The folder of the spool that holds the system's segments. */
  readonly spool?: string;
  /** The timeline that the recovery follows to its end. Default: the newest one that descends from that of the segment. */
  readonly follow?: number;
  /** Told when WAL is left out, because it lies behind this fork. */
  readonly onFork?: (fork: Fork) => void;
}

/** The largest segment that PostgreSQL knows. */
const LIMIT = 1024 * 1024 * 1024;

/**
 * What is known of the segment `name`, or undefined when nothing is.
 *
 * Archive slices and spool both come from the receiver: the longer one counts, and they have to agree as far as both go.
 * The `.partial` that PostgreSQL archives at a promotion counts only where it continues them, or alone: after the fork the former
 * primary may have written, and had acknowledged, what the promoted server never got.
 *
 * What lies behind the fork of the timeline that is followed is left out: it was never part of that one's history, and a server that
 * has replayed it cannot go on there. PostgreSQL keeps it from a recovery by the name `.partial`. Nothing is left of a segment behind the fork.
 *
 * It must be asked for only when no later segment of the timeline exists. Errors: `WAL_CONFLICT`, `WAL_INVALID`, those of the storage.
 */
export async function unfinishedSegment(
  archive: WalReader,
  name: string,
  options: UnfinishedOptions = {},
): Promise<UnfinishedSegment | undefined> {
  const [tail, spooled, partial] = await Promise.all([
    archive.tail(name, options),
    options.spool === undefined ? undefined : readSpool(options.spool, name),
    readPartial(archive, name, options),
  ]);
  const received = longer(name, written(tail), written(spooled));
  const found =
    received === undefined || (partial !== undefined && startsWith(partial, received.bytes))
      ? segment(name, partial, 'partial')
      : segment(name, received.bytes, received.source);
  return found && upToFork(archive, name, found, options);
}

/** Leaves out what lies behind the fork, if there is one. */
async function upToFork(
  archive: WalReader,
  name: string,
  found: UnfinishedSegment,
  options: UnfinishedOptions,
): Promise<UnfinishedSegment | undefined> {
  const file = parseWalFileName(name);
  if (file?.kind !== 'segment') return undefined;
  const fork = await forkOf(archive, file.timeline, options);
  if (fork === undefined) return found;
  const size = found.bytes.byteLength;
  const length = fork.end - segmentNumberOf(file, size) * BigInt(size);
  if (length >= size) return found;
  if (length <= 0) {
    options.onFork?.(fork);
    return undefined;
  }
  const bytes = new Uint8Array(size);
  bytes.set(found.bytes.subarray(0, Number(length)));
  if (!found.bytes.subarray(Number(length)).every((byte) => byte === 0)) options.onFork?.(fork);
  return { ...found, bytes };
}

function longer(
  name: string,
  tail: Uint8Array | undefined,
  spooled: Uint8Array | undefined,
): { readonly bytes: Uint8Array; readonly source: 'tail' | 'spool' } | undefined {
  if (spooled === undefined) return tail && { bytes: tail, source: 'tail' };
  if (tail === undefined) return { bytes: spooled, source: 'spool' };
  const [short, long] = tail.byteLength > spooled.byteLength ? [spooled, tail] : [tail, spooled];
  if (!startsWith(long, short))
    throw new ArchiveError('WAL_CONFLICT', `the spool holds other WAL of ${name} than the archive`, {
      hint: 'Two servers share one archive, or the spool is of another time: keep both and find out which one is right.',
    });
  return { bytes: long, source: long === tail ? 'tail' : 'spool' };
}

function segment(
  name: string,
  bytes: Uint8Array | undefined,
  source: UnfinishedSegment['source'],
): UnfinishedSegment | undefined {
  const file = parseWalFileName(name);
  if (bytes === undefined || file?.kind !== 'segment') return undefined;
  const { segmentSize } = readSegmentHeader(bytes, name);
  if (bytes.byteLength > segmentSize) throw new ArchiveError('WAL_INVALID', `${name} is longer than a segment`);
  let full = bytes;
  if (bytes.byteLength < segmentSize) {
    full = new Uint8Array(segmentSize);
    full.set(bytes);
  }
  checkSegment(full, full.byteLength, file);
  return { bytes: full, source };
}

/** The bytes up to the last one that is not zero; undefined when not even a page header was written. */
function written(bytes: Uint8Array | undefined): Uint8Array | undefined {
  if (bytes === undefined) return undefined;
  let end = bytes.byteLength;
  // Most of a segment may be empty: byte by byte it would take longer than to read it.
  while (end >= ZEROES.byteLength && ZEROES.equals(bytes.subarray(end - ZEROES.byteLength, end)))
    end -= ZEROES.byteLength;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return end < SEGMENT_HEADER_BYTES ? undefined : bytes.subarray(0, end);
}

const ZEROES = Buffer.alloc(64 * 1024);

function startsWith(long: Uint8Array, short: Uint8Array): boolean {
  return Buffer.compare(long.subarray(0, short.byteLength), short) === 0;
}

/**
 * What the receiver had written at some moment: it goes on while the file is read, from the front to the back, so that one reading may find
 * what came later and not what came before it. That is there at a second reading, and where the two differ the first one ends. A spool
 * that is not there holds nothing.
 */
async function readSpool(folder: string, name: string): Promise<Uint8Array | undefined> {
  const path = `${folder}/${name}.partial`;
  try {
    const handle = await open(path);
    try {
      const first = await handle.readFile();
      return first.subarray(0, await agreement(first, handle));
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (isAbsentInSpool(error, path)) return undefined;
    throw error;
  }
}

const READ_SIZE = 1024 * 1024;

/** How many bytes from the first one on are the same when the file is read again. */
async function agreement(first: Buffer, handle: FileHandle): Promise<number> {
  const again = Buffer.alloc(READ_SIZE);
  for (let at = 0; at < first.byteLength;) {
    const { bytesRead } = await handle.read(again, 0, Math.min(READ_SIZE, first.byteLength - at), at);
    if (bytesRead === 0) return at;
    const found = again.subarray(0, bytesRead);
    if (!found.equals(first.subarray(at, at + bytesRead)))
      return at + found.findIndex((byte, index) => byte !== first[at + index]);
    at += bytesRead;
  }
  return first.byteLength;
}

async function readPartial(archive: WalReader, name: string, options: CallOptions): Promise<Uint8Array | undefined> {
  const object = await archive.find(`${name}.partial`, options);
  return object === undefined ? undefined : collect(archive.read(object, options), object.key, LIMIT);
}
