/** What a listing says of all WAL of a system, as runs of segments: small however many there are. */
import type { CallOptions } from '../contracts/storage.ts';
import { segmentNumberOf } from '../postgres/wal-file.ts';
import type { WalArchive, WalObject, WalSlice } from './wal.ts';

/** Segments without a hole, by their numbers, both included. */
export interface SegmentRange {
  readonly first: bigint;
  readonly last: bigint;
}

/** What there is of a segment that is not there as a whole. */
export interface OpenSegment {
  readonly number: bigint;
  /** The stretches of the slices, in the order of their keys. */
  readonly slices: readonly { readonly from: number; readonly to: number }[];
  /** Whether there is a `.partial`, the end of a timeline as a promoted server had it. */
  readonly partial: boolean;
}

/** Segments whose contents are told from those of another repository at once. */
export const BLOCK = 256n;

/** What a block of {@link BLOCK} segments holds. */
export interface SegmentBlock {
  /** The number of its first segment, divided by the size of a block. */
  readonly block: bigint;
  /** How many of them there are. */
  readonly count: number;
  /** Two halves of 32 bits, in which the digests of all of them are joined: those of two blocks are the same when all contents are. */
  readonly print: readonly [number, number];
}

/** The segment with the highest number. */
export interface LastSegment {
  readonly name: string;
  /** When the storage took it, epoch milliseconds; for people. */
  readonly modified: number;
}

export interface TimelineInventory {
  readonly timeline: number;
  /** Digests of its history file: none, one, or several that contradict each other. */
  readonly histories: readonly string[];
  /** Whole segments, ascending, with a hole between one run and the next. */
  readonly runs: readonly SegmentRange[];
  /** Segments that are there with several contents, ascending; they stand in the runs too. */
  readonly conflicts: readonly bigint[];
  /** Ascending. */
  readonly open: readonly OpenSegment[];
  /** Ascending. Of one repository: those of several, put together, say nothing. */
  readonly blocks: readonly SegmentBlock[];
  readonly last: LastSegment | undefined;
}

export interface WalInventory {
  readonly segmentSize: number;
  /** Ascending. */
  readonly timelines: readonly TimelineInventory[];
  /** Whole segments. */
  readonly segments: number;
}

export interface ListWalOptions extends CallOptions {
  /** Bytes. */
  readonly segmentSize: number;
  /** Told from time to time how many objects were listed. */
  readonly onProgress?: (objects: number) => void;
}

/** Objects between two reports of progress. */
const REPORT = 10_000;

/** Lists all WAL of a system. Errors: those of the storage. */
export async function listWal(archive: WalArchive, options: ListWalOptions): Promise<WalInventory> {
  const collector = new WalCollector(options.segmentSize);
  let objects = 0;
  for await (const entry of archive.everything(options)) {
    collector.add(entry);
    objects += 1;
    if (objects % REPORT === 0) options.onProgress?.(objects);
  }
  return collector.inventory;
}

/** What a timeline is collected into. */
interface Collected {
  readonly timeline: number;
  readonly histories: Set<string>;
  readonly runs: { first: bigint; last: bigint }[];
  readonly conflicts: Set<bigint>;
  readonly open: Map<bigint, { readonly number: bigint; slices: OpenSegment['slices'][number][]; partial: boolean }>;
  readonly blocks: { block: bigint; count: number; print: [number, number] }[];
  last: LastSegment | undefined;
  /** Of the last segment. */
  digest: string | undefined;
}

/** Collects entries in the order of their keys. Memory: the runs, and what is open, never single segments. */
export class WalCollector {
  readonly #segmentSize: number;
  readonly #timelines = new Map<number, Collected>();

  constructor(segmentSize: number) {
    this.#segmentSize = segmentSize;
  }

  add(entry: WalObject | WalSlice): void {
    if ('segment' in entry) {
      if (entry.segment.kind === 'history') return;
      const into = this.#of(entry.segment.timeline);
      const number = segmentNumberOf(entry.segment, this.#segmentSize);
      // Keys of a whole segment come before those of its slices: what became whole is not kept.
      if (into.runs.at(-1)?.last !== number) opened(into, number).slices.push({ from: entry.from, to: entry.to });
      return;
    }
    const { file, digest, modified } = entry;
    if (file.kind === 'backup') return;
    const into = this.#of(file.timeline);
    if (file.kind === 'history') {
      into.histories.add(digest);
      return;
    }
    const number = segmentNumberOf(file, this.#segmentSize);
    const run = into.runs.at(-1);
    if (file.kind === 'partial') {
      if (run?.last !== number) opened(into, number).partial = true;
    } else if (run?.last === number) {
      if (into.digest !== digest) into.conflicts.add(number);
    } else {
      if (run !== undefined && number === run.last + 1n) run.last = number;
      else into.runs.push({ first: number, last: number });
      into.last = { name: file.name, modified };
      into.digest = digest;
      addPrint(into.blocks, number, digest);
    }
  }

  get inventory(): WalInventory {
    const timelines = [...this.#timelines.values()]
      .sort((one, other) => one.timeline - other.timeline)
      .map(({ timeline, histories, runs, conflicts, open, blocks, last }) => ({
        timeline,
        histories: [...histories],
        runs,
        conflicts: [...conflicts],
        open: [...open.values()].sort((one, other) => (one.number < other.number ? -1 : 1)),
        blocks,
        last,
      }));
    return { segmentSize: this.#segmentSize, timelines, segments: countOf(timelines) };
  }

  #of(timeline: number): Collected {
    const known = this.#timelines.get(timeline);
    if (known !== undefined) return known;
    const made: Collected = {
      timeline,
      histories: new Set(),
      runs: [],
      conflicts: new Set(),
      open: new Map(),
      blocks: [],
      last: undefined,
      digest: undefined,
    };
    this.#timelines.set(timeline, made);
    return made;
  }
}

/** Segments come in ascending order. */
function addPrint(blocks: Collected['blocks'], number: bigint, digest: string): void {
  const block = number / BLOCK;
  let last = blocks.at(-1);
  if (last?.block !== block) blocks.push((last = { block, count: 0, print: [0, 0] }));
  last.count += 1;
  // The number too, so that contents that have changed places are not the same.
  const place = Number(number % BLOCK);
  const half = (at: number): number => Math.imul(Number.parseInt(digest.slice(at, at + 8), 16) ^ place, 0x9e3779b1);
  last.print[0] ^= half(0);
  last.print[1] ^= half(8);
}

function opened(
  { open }: Collected,
  number: bigint,
): { slices: OpenSegment['slices'][number][]; partial: boolean; readonly number: bigint } {
  const known = open.get(number);
  if (known !== undefined) return known;
  const made = { number, slices: [], partial: false };
  open.set(number, made);
  return made;
}

function countOf(timelines: readonly TimelineInventory[]): number {
  return timelines.reduce(
    (sum, { runs }) => sum + runs.reduce((own, { first, last }) => own + Number(last - first) + 1, 0),
    0,
  );
}

/** Parts of an inventory, or several repositories as if they were one. Whether two hold different contents of one name `map/conflicts.ts` finds. */
export function mergeInventories([first, ...more]: readonly [WalInventory, ...WalInventory[]]): WalInventory {
  if (more.length === 0) return first;
  const all = [first, ...more].flatMap(({ timelines }) => timelines);
  const timelines = [...new Set(all.map(({ timeline }) => timeline))]
    .sort((one, other) => one - other)
    .map((timeline) => mergeTimeline(all.filter((one) => one.timeline === timeline)));
  return { segmentSize: first.segmentSize, timelines, segments: countOf(timelines) };
}

function mergeTimeline(parts: readonly TimelineInventory[]): TimelineInventory {
  const runs = joinRuns(parts.flatMap((part) => part.runs));
  const open = new Map<bigint, OpenSegment>();
  for (const one of parts.flatMap((part) => part.open)) {
    if (holdsNumber(runs, one.number)) continue;
    const known = open.get(one.number);
    const merged = {
      slices: [...(known?.slices ?? []), ...one.slices],
      partial: known?.partial === true || one.partial,
    };
    open.set(one.number, { number: one.number, ...merged });
  }
  const last = parts
    .flatMap((part) => part.last ?? [])
    .reduce<LastSegment | undefined>(
      (best, one) => (best === undefined || one.name > best.name ? one : best),
      undefined,
    );
  return {
    timeline: parts[0]?.timeline ?? 0,
    histories: [...new Set(parts.flatMap((part) => part.histories))],
    runs,
    conflicts: [...new Set(parts.flatMap((part) => part.conflicts))].sort((one, other) => (one < other ? -1 : 1)),
    open: [...open.values()].sort((one, other) => (one.number < other.number ? -1 : 1)),
    blocks: joinBlocks(parts.flatMap((part) => part.blocks)),
    last,
  };
}

function joinBlocks(parts: readonly SegmentBlock[]): readonly SegmentBlock[] {
  const joined = new Map<bigint, SegmentBlock>();
  for (const { block, count, print } of parts) {
    const known = joined.get(block) ?? { count: 0, print: [0, 0] };
    const [first, second] = [known.print[0] ^ print[0], known.print[1] ^ print[1]];
    joined.set(block, { block, count: known.count + count, print: [first, second] });
  }
  return [...joined.values()].sort((one, other) => (one.block < other.block ? -1 : 1));
}

/** Runs in any order, which may overlap, as runs that do not. */
export function joinRuns(runs: readonly SegmentRange[]): readonly SegmentRange[] {
  const joined: { first: bigint; last: bigint }[] = [];
  for (const run of runs.toSorted((one, other) => (one.first < other.first ? -1 : 1))) {
    const before = joined.at(-1);
    if (before === undefined || run.first > before.last + 1n) joined.push({ ...run });
    else if (run.last > before.last) before.last = run.last;
  }
  return joined;
}

/** Whether a number lies in one of the runs, which are ascending. */
export function holdsNumber(runs: readonly SegmentRange[], number: bigint): boolean {
  return runAt(runs, number) !== undefined;
}

/** The run that a number lies in. */
export function runAt(runs: readonly SegmentRange[], number: bigint): SegmentRange | undefined {
  let [low, high] = [0, runs.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((runs[middle] as SegmentRange).last < number) low = middle + 1;
    else high = middle;
  }
  const run = runs[low];
  return run !== undefined && run.first <= number ? run : undefined;
}

/** The first run that begins behind a number. */
export function runBehind(runs: readonly SegmentRange[], number: bigint): SegmentRange | undefined {
  let [low, high] = [0, runs.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((runs[middle] as SegmentRange).first <= number) low = middle + 1;
    else high = middle;
  }
  return runs[low];
}

/** The segments that lie between the runs of a timeline. */
export function holesOf(runs: readonly SegmentRange[]): readonly SegmentRange[] {
  return runs.slice(1).map(({ first }, at) => ({ first: (runs[at] as SegmentRange).last + 1n, last: first - 1n }));
}
