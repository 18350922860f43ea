/** Segments and histories of which two repositories hold different contents: two servers have archived under one name. */
import { isArchiveError, throwIfAborted } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { historyName, segmentName, segmentNumberOf } from '../postgres/wal-file.ts';
import { BLOCK, type SegmentBlock, type TimelineInventory, type WalInventory } from '../repository/inventory.ts';
import type { Repository } from '../repository/repository.ts';
import type { SystemState } from './repository-state.ts';

/** One name with different contents. */
export interface MapConflict {
  readonly name: string;
  readonly timeline: number;
  /** Of a segment. */
  readonly number: bigint | undefined;
  /** Names of two repositories that hold it. */
  readonly repositories: readonly [string, string];
}

export interface FoundConflicts {
  readonly conflicts: readonly MapConflict[];
  /** Segments, at most, of which it is not known whether two repositories hold the same. */
  readonly unknown: number;
}

/** What a repository holds of one system. */
export interface Holding {
  readonly repository: Repository;
  readonly system: SystemState;
}

/** Blocks of two repositories that are listed again because they differ, the newest ones: most often one of them lacks some. */
const MOST_LOOKED = 64;

/**
 * Compares the WAL of several repositories. Blocks of segments whose fingerprints are the same are the same; others are listed once more. Errors:
 * `ABORTED`; what cannot be listed is unknown.
 */
export async function findConflicts(held: readonly Holding[], call: CallOptions): Promise<FoundConflicts> {
  const conflicts: MapConflict[] = [];
  let unknown = 0;
  for (const [at, one] of held.entries()) {
    for (const other of held.slice(at + 1)) {
      const found = await compare(one, other, call);
      conflicts.push(...found.conflicts);
      unknown += found.unknown;
    }
  }
  return { conflicts, unknown };
}

async function compare(one: Holding, other: Holding, call: CallOptions): Promise<FoundConflicts> {
  const repositories = [one.repository.name, other.repository.name] as const;
  const conflicts: MapConflict[] = [];
  let unknown = 0;
  for (const own of one.system.wal.timelines) {
    const { timeline } = own;
    const theirs = other.system.wal.timelines.find((candidate) => candidate.timeline === timeline);
    if (theirs === undefined) continue;
    const [first] = own.histories;
    if (first !== undefined && theirs.histories.some((digest) => digest !== first))
      conflicts.push({ name: historyName(timeline), timeline, number: undefined, repositories });
    const differing = differingBlocks(own, theirs);
    for (const block of differing.slice(-MOST_LOOKED)) {
      const numbers = await conflictsIn(block, timeline, one, other, call);
      if (numbers === undefined) unknown += Number(BLOCK);
      for (const number of numbers ?? []) {
        const name = segmentName(timeline, number, one.system.wal.segmentSize);
        conflicts.push({ name, timeline, number, repositories });
      }
    }
    unknown += Math.max(0, differing.length - MOST_LOOKED) * Number(BLOCK);
  }
  return { conflicts, unknown };
}

/** Blocks of which both hold something, and not the same. */
function differingBlocks(own: TimelineInventory, theirs: TimelineInventory): readonly bigint[] {
  const known = new Map(theirs.blocks.map((block) => [block.block, block]));
  const isSame = (one: SegmentBlock, other: SegmentBlock): boolean =>
    one.count === other.count && one.print[0] === other.print[0] && one.print[1] === other.print[1];
  return own.blocks.flatMap((block) => {
    const other = known.get(block.block);
    return other === undefined || isSame(block, other) ? [] : [block.block];
  });
}

/** The segments of a block with different contents; undefined when that cannot be found out. */
async function conflictsIn(
  block: bigint,
  timeline: number,
  one: Holding,
  other: Holding,
  call: CallOptions,
): Promise<readonly bigint[] | undefined> {
  try {
    const [own, theirs] = await Promise.all([one, other].map((holding) => digestsIn(block, timeline, holding, call)));
    return [...(own ?? [])].flatMap(([number, digest]) => {
      const their = theirs?.get(number);
      return their === undefined || their === digest ? [] : [number];
    });
  } catch (error) {
    throwIfAborted(call.signal, 'drawing the map');
    if (!isArchiveError(error)) throw error;
    return undefined;
  }
}

async function digestsIn(
  block: bigint,
  timeline: number,
  { repository, system }: Holding,
  call: CallOptions,
): Promise<ReadonlyMap<bigint, string>> {
  const { segmentSize } = system.wal;
  const digests = new Map<bigint, string>();
  const from = block * BLOCK;
  for await (const { file, digest } of repository
    .wal(system.systemId)
    .segments(timeline, { ...call, from, segmentSize })) {
    if (file.kind !== 'segment') continue;
    const number = segmentNumberOf(file, segmentSize);
    if (number >= from + BLOCK) break;
    // Of two contents in one repository, which are a conflict by themselves, the first: as the inventory takes them.
    if (!digests.has(number)) digests.set(number, digest);
  }
  return digests;
}

/** The WAL of all with these conflicts in it. */
export function withConflicts(wal: WalInventory, found: readonly MapConflict[]): WalInventory {
  if (found.length === 0) return wal;
  const timelines = wal.timelines.map((one) => {
    const own = found.flatMap(({ timeline, number }) => (timeline === one.timeline ? (number ?? []) : []));
    const all = [...new Set([...one.conflicts, ...own])].sort((first, second) => (first < second ? -1 : 1));
    return { ...one, conflicts: all };
  });
  return { ...wal, timelines };
}
