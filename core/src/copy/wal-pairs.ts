/** The WAL of two repositories side by side, from their listings alone. */
import { ArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { segmentNumberOf } from '../postgres/wal-file.ts';
import type { Repository } from '../repository/repository.ts';
import type { WalObject, WalSlice } from '../repository/wal.ts';
import { itemsWithin } from './failures.ts';

/** What is copied of the WAL: a file or a slice. */
export type WalEntry = WalObject | WalSlice;

/** From where on, and up to where, WAL of a timeline is meant. */
export interface WalStretch {
  readonly timeline: number;
  /** Numbers of segments. With `last` the whole segments up to it are meant; without it, everything to the end of the timeline. */
  readonly first: bigint;
  readonly last?: bigint;
  /** Bytes. */
  readonly segmentSize: number;
}

/** One name of WAL in two repositories. At least one of them has it. */
export interface WalPair {
  /** `0000000100000000000000FE`, or `0000000100000000000000FE bytes 0 to 8192` for a slice. */
  readonly name: string;
  /** Number of the segment that it belongs to. */
  readonly number: bigint;
  /** Whether it is a whole segment. */
  readonly whole: boolean;
  readonly source: WalEntry | undefined;
  readonly target: WalEntry | undefined;
  /** Set when the repositories hold several contents under the name. */
  readonly conflict: ArchiveError | undefined;
}

/** The two repositories and the cluster whose WAL is compared. */
export interface WalSides extends CallOptions {
  readonly source: Repository;
  readonly target: Repository;
  readonly systemId: string;
}

/**
 * Compares the WAL of a stretch, name by name in their order, with one listing of each repository and no more memory than a page of each. Slices of
 * a segment are left out when either side has it whole.
 */
export async function* walPairs(sides: WalSides, stretch: WalStretch): AsyncGenerator<WalPair> {
  const groups = {
    source: groupsOf(sides, sides.source, stretch),
    target: groupsOf(sides, sides.target, stretch),
  };
  try {
    let [source, target] = [await groups.source.next(), await groups.target.next()];
    let whole: string | undefined;
    while (source.done !== true || target.done !== true) {
      const place = first(source.value?.place, target.value?.place);
      const pair = pairOf(
        source.value?.place === place ? source.value : undefined,
        target.value?.place === place ? target.value : undefined,
        sides,
        stretch,
      );
      if (source.value?.place === place) source = await groups.source.next();
      if (target.value?.place === place) target = await groups.target.next();
      if (stretch.last !== undefined && pair.number > stretch.last) return;
      if (pair.whole) whole = pair.name;
      else if (stretch.last !== undefined) continue;
      // The name of the segment is the beginning of the slice's, and comes before it.
      if (whole !== undefined && pair.name.startsWith(`${whole} `)) continue;
      yield pair;
    }
  } finally {
    await groups.source.return(undefined);
    await groups.target.return(undefined);
  }
}

/** The objects of one name. */
interface Group {
  /** The key up to the digest, without what all have in common: sorts as the keys do. */
  readonly place: string;
  readonly entries: readonly [WalEntry, ...WalEntry[]];
}

async function* groupsOf(
  { systemId, signal }: WalSides,
  repository: Repository,
  { timeline, first: from, segmentSize }: WalStretch,
): AsyncGenerator<Group, undefined, undefined> {
  const cancel = signal === undefined ? {} : { signal };
  const listing = repository.wal(systemId).contents(timeline, { ...cancel, from, segmentSize });
  let group: { readonly place: string; readonly entries: [WalEntry, ...WalEntry[]] } | undefined;
  for await (const entry of itemsWithin(repository, listing)) {
    const place = placeOf(entry);
    if (group?.place === place) {
      group.entries.push(entry);
      continue;
    }
    if (group !== undefined) yield group;
    group = { place, entries: [entry] };
  }
  if (group !== undefined) yield group;
  return undefined;
}

/** Ends with a dash, as in the key, so that no place is the beginning of another and they sort as the keys do. */
function placeOf(entry: WalEntry): string {
  if ('file' in entry) return `${entry.file.name}-`;
  const hex = (offset: number): string => offset.toString(16).toUpperCase().padStart(8, '0');
  return `${entry.segment.name}.tail/${hex(entry.from)}-${hex(entry.to)}-`;
}

function first(one: string | undefined, other: string | undefined): string | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return one < other ? one : other;
}

function pairOf(
  source: Group | undefined,
  target: Group | undefined,
  sides: WalSides,
  { segmentSize }: WalStretch,
): WalPair {
  const [entry] = source?.entries ?? target?.entries ?? [];
  const file = entry === undefined || 'file' in entry ? entry?.file : entry.segment;
  if (entry === undefined || file === undefined || file.kind === 'history')
    throw new ArchiveError('INTERNAL', 'a listing of WAL has a group without objects');
  const name = 'file' in entry ? file.name : `${file.name} bytes ${entry.from} to ${entry.to}`;
  return {
    name,
    number: segmentNumberOf(file, segmentSize),
    whole: 'file' in entry && file.kind === 'segment',
    source: source?.entries[0],
    target: target?.entries[0],
    conflict: conflictOf(name, source, target, sides),
  };
}

function conflictOf(
  name: string,
  source: Group | undefined,
  target: Group | undefined,
  sides: WalSides,
): ArchiveError | undefined {
  const held = [
    ...(source?.entries ?? []).map(({ digest }) => ({ repository: sides.source.name, digest })),
    ...(target?.entries ?? []).map(({ digest }) => ({ repository: sides.target.name, digest })),
  ];
  return digestConflict(name, held);
}

/** The error for several contents of one name, if there are any. */
export function digestConflict(
  name: string,
  held: readonly { readonly repository: string; readonly digest: string }[],
): ArchiveError | undefined {
  const [one] = held;
  const other = held.find(({ digest }) => digest !== one?.digest);
  if (one === undefined || other === undefined) return undefined;
  return new ArchiveError(
    'WAL_CONFLICT',
    `${name} has digest ${one.digest} in repository ${one.repository} and ${other.digest} in repository ${other.repository}`,
    {
      hint: 'Two servers wrote into one archive, or one object is damaged: find out which is right. Nothing was changed.',
      details: { file: name, held },
    },
  );
}
