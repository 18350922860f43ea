/** What a listing shows of the WAL of one timeline: how far it goes, and what is missing in it. Nothing is read. */
import { createHash } from 'node:crypto';
import type { SegmentRun } from '../backup/required-wal.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { segmentNumberOf } from '../postgres/wal-file.ts';
import type { WalArchive, WalObject, WalSlice } from '../repository/wal.ts';
import { joinSlices } from '../repository/tail.ts';
import type { WalMark } from './journal.ts';

/** Which WAL is meant: segments of a timeline from `first` up to `last`, with what belongs to them; without `last` to its end. */
export interface WalStretch {
  readonly timeline: number;
  readonly first: bigint;
  readonly last?: bigint;
  /** Bytes. */
  readonly segmentSize: number;
}

/** The slices of the segment with which a timeline ends. */
export interface WalTail {
  readonly number: bigint;
  /** Of the folder of the slices. */
  readonly folder: string;
  /** Up to where they touch, from the first byte of the segment, and how far the last one goes. */
  readonly reach: number;
  readonly furthest: number;
}

export interface WalListing {
  /** Objects, and their bytes as stored. */
  readonly objects: number;
  readonly bytes: number;
  /** Bytes when unpacked; what is no segment and no slice counts as stored. */
  readonly plainBytes: number;
  /** Whole segments, the first and the last of them. */
  readonly segments: number;
  readonly first: bigint | undefined;
  readonly last: bigint | undefined;
  /** Between the first and the last; the first of them. */
  readonly holes: readonly SegmentRun[];
  /** Names of which there are several contents. */
  readonly conflicts: readonly { readonly key: string; readonly message: string; readonly number: bigint }[];
  readonly tail: WalTail | undefined;
  /** Whether everything up to the mark is as it was. */
  readonly isMarked: boolean;
}

/** Holes and conflicts that are kept. */
const KEPT = 1000;

/** All that a stretch has, in the order of the keys. */
export async function* entriesOf(
  wal: WalArchive,
  { timeline, first, last, segmentSize }: WalStretch,
  call: CallOptions,
): AsyncGenerator<WalObject | WalSlice> {
  for await (const entry of wal.contents(timeline, { ...call, from: first, segmentSize })) {
    if (last !== undefined && numberOf(entry, segmentSize) > last) return;
    yield entry;
  }
}

/** The number of the segment to which something belongs. */
export function numberOf(entry: WalObject | WalSlice, segmentSize: number): bigint {
  const file = 'segment' in entry ? entry.segment : entry.file;
  return file.kind === 'history' ? -1n : segmentNumberOf(file, segmentSize);
}

/** Tells one listing from another. */
export class ListingDigest {
  readonly #hash = createHash('sha256');

  add({ key, size }: Pick<WalObject, 'key' | 'size'>): void {
    this.#hash.update(`${key} ${size}\n`);
  }

  /** Of what was added so far. */
  get value(): string {
    return this.#hash.copy().digest('hex');
  }
}

/** Walks a stretch once. Errors: those of the storage. */
export async function listWal(
  wal: WalArchive,
  stretch: WalStretch,
  mark: WalMark | undefined,
  call: CallOptions,
): Promise<WalListing> {
  const { timeline, segmentSize } = stretch;
  const holes: SegmentRun[] = [];
  const conflicts: { key: string; message: string; number: bigint }[] = [];
  const digest = new ListingDigest();
  let [objects, bytes, plainBytes, segments] = [0, 0, 0, 0];
  let first: bigint | undefined;
  let last: bigint | undefined;
  let isMarked = false;
  let before: WalObject | undefined;
  let slices: { readonly number: bigint; readonly all: WalSlice[] } | undefined;
  for await (const entry of entriesOf(wal, stretch, call)) {
    objects++;
    bytes += entry.size;
    plainBytes += plainSizeOf(entry, segmentSize);
    digest.add(entry);
    if (entry.key === mark?.through) isMarked = digest.value === mark.listing;
    const number = numberOf(entry, segmentSize);
    if ('segment' in entry) {
      if (slices?.number !== number) slices = { number, all: [] };
      slices.all.push(entry);
      continue;
    }
    if (before?.file.name === entry.file.name && before.digest !== entry.digest && conflicts.length < KEPT)
      conflicts.push({
        key: entry.key,
        message: `the archive holds ${entry.file.name} with digests ${before.digest} and ${entry.digest}`,
        number,
      });
    before = entry;
    if (entry.file.kind !== 'segment' || number === last) continue;
    segments++;
    first ??= number;
    if (last !== undefined && number > last + 1n && holes.length < KEPT)
      holes.push({ timeline, first: last + 1n, last: number - 1n });
    last = number;
  }
  const open = slices !== undefined && (last === undefined || slices.number > last) ? slices : undefined;
  const tail = open && (await tailOf(open.number, open.all));
  return { objects, bytes, plainBytes, segments, first, last, holes, conflicts, tail, isMarked };
}

/** Plain bytes of WAL as far as a listing tells them. */
export function plainSizeOf(entry: WalObject | WalSlice, segmentSize: number): number {
  if ('segment' in entry) return entry.to - entry.from;
  return entry.file.kind === 'segment' || entry.file.kind === 'partial' ? segmentSize : entry.size;
}

async function tailOf(number: bigint, slices: readonly WalSlice[]): Promise<WalTail> {
  const { key } = slices[0] as WalSlice;
  const furthest = Math.max(...slices.map(({ to }) => to));
  // Only lengths are joined: as many zeroes as a slice has bytes would be no less true.
  let reach = 0;
  await joinSlices(slices, async ({ to }) => {
    reach = to;
    return new Uint8Array(0);
  });
  return { number, folder: key.slice(0, key.lastIndexOf('/') + 1), reach, furthest };
}
