/** What one repository holds, by its listings: all of it, or what is new since it was listed last. */
import { isArchiveError, type ErrorCode } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import {
  historyName,
  MIN_SEGMENT_SIZE,
  readSegmentHeader,
  segmentNumberOf,
  type WalFile,
} from '../postgres/wal-file.ts';
import { EXPIRED, type FactName, type KeyedFact } from '../repository/facts.ts';
import {
  BLOCK,
  holesOf,
  listWal,
  mergeInventories,
  WalCollector,
  type TimelineInventory,
  type WalInventory,
} from '../repository/inventory.ts';
import type { Repository } from '../repository/repository.ts';
import type { WalArchive, WalObject, WalSlice } from '../repository/wal.ts';
import { listMapBackups, lookAtMapBackup, segmentSizeOf, type MapBackup, type MapBackupEntry } from './map-backups.ts';

/** One system identifier in a repository. */
export interface SystemState {
  readonly systemId: string;
  readonly backups: readonly MapBackupEntry[];
  readonly facts: readonly KeyedFact[];
  /** Facts that are not as they were written: what they say is unknown. */
  readonly unread: readonly Pick<FactName, 'key' | 'subject' | 'kind'>[];
  readonly wal: WalInventory;
}

export interface RepositoryState {
  /** From its marker. */
  readonly id: string;
  /** When what is newest was listed, epoch milliseconds. */
  readonly listed: number;
  /** When all of it was listed: what is older may have gone since. */
  readonly since: number;
  readonly systems: readonly SystemState[];
}

export interface ListOptions extends CallOptions {
  /** Epoch milliseconds. */
  readonly now: number;
  readonly onProgress?: (objects: number) => void;
}

/** Lists everything. Errors: those of the storage, `REPOSITORY_NOT_FOUND`, `REPOSITORY_FORMAT`. */
export async function listRepository(repository: Repository, options: ListOptions): Promise<RepositoryState> {
  const { id } = await repository.open(options);
  const systems: SystemState[] = [];
  for (const systemId of await repository.systemIds(options))
    systems.push(await listSystem(repository, systemId, options));
  return { id, listed: options.now, since: options.now, systems };
}

async function listSystem(repository: Repository, systemId: string, options: ListOptions): Promise<SystemState> {
  const archive = repository.wal(systemId);
  const backups = await listMapBackups(repository.backups(systemId), options);
  const found = await readFacts(repository, systemId, [], options);
  const segmentSize = await sizeOfSegments(backups, archive, options);
  return {
    systemId,
    backups: withoutExpired(backups, found),
    ...found,
    wal: await listWal(archive, { ...options, segmentSize }),
  };
}

type FoundFacts = Pick<SystemState, 'facts' | 'unread'>;

/** What is on record beside what is known. */
async function readFacts(
  repository: Repository,
  systemId: string,
  known: readonly KeyedFact[],
  options: CallOptions,
): Promise<FoundFacts> {
  const facts = [...known];
  const unread: SystemState['unread'][number][] = [];
  const keys = new Set(facts.map(({ key }) => key));
  const store = repository.facts(systemId);
  for await (const { key, subject, kind } of store.names(options)) {
    if (keys.has(key)) continue;
    try {
      facts.push({ key, subject, fact: await store.read({ key }, options) });
    } catch (error) {
      if (isArchiveError(error, 'STORAGE_NOT_FOUND')) continue; // removed since the listing
      if (!isArchiveError(error, 'REPOSITORY_FORMAT')) throw error;
      unread.push({ key, subject, kind });
    }
  }
  return { facts, unread };
}

/** Segments before the end of a timeline that are listed again: shipping puts some at once, and holes may close there. */
const AGAIN = BLOCK;
/** Holes of a timeline that are looked at again, the last ones. */
const MOST_HOLES = 100;

/**
 * Lists what is new since `known`: backups, facts, the end of each timeline, and what may have come into its holes. What was deleted since, and
 * what has come elsewhere, only a whole listing shows. Errors: as for {@link listRepository}.
 */
export async function refreshRepository(
  repository: Repository,
  known: RepositoryState,
  options: ListOptions,
): Promise<RepositoryState> {
  const systems: SystemState[] = [];
  for (const systemId of await repository.systemIds(options)) {
    const before = known.systems.find((system) => system.systemId === systemId);
    const now = before === undefined ? listSystem(repository, systemId, options) : refresh(repository, before, options);
    systems.push(await now);
  }
  return { id: known.id, listed: options.now, since: known.since, systems };
}

async function refresh(repository: Repository, before: SystemState, options: ListOptions): Promise<SystemState> {
  const { systemId, wal } = before;
  const found = await readFacts(repository, systemId, before.facts, options);
  const backups = await refreshBackups(repository, before, options);
  const archive = repository.wal(systemId);
  const segmentSize = segmentSizeOf(completeOf(backups)) ?? wal.segmentSize;
  if (segmentSize !== wal.segmentSize)
    return {
      systemId,
      backups: withoutExpired(backups, found),
      ...found,
      wal: await listWal(archive, { ...options, segmentSize }),
    };
  const parts: WalInventory[] = [];
  for (const timeline of await archive.timelines(options)) {
    const held = wal.timelines.find((one) => one.timeline === timeline);
    parts.push(...(await refreshTimeline(archive, timeline, held, { ...options, segmentSize })));
  }
  const [first, ...more] = parts;
  const empty = { segmentSize, timelines: [], segments: 0 };
  return {
    systemId,
    backups: withoutExpired(backups, found),
    ...found,
    wal: first === undefined ? empty : mergeInventories([first, ...more]),
  };
}

/** Backups after the newest known one, and those that were not complete. */
async function refreshBackups(
  repository: Repository,
  { systemId, backups }: SystemState,
  options: ListOptions,
): Promise<readonly MapBackupEntry[]> {
  const catalog = repository.backups(systemId);
  const looked = backups.map(async (entry) =>
    entry.state === 'incomplete' ? lookAtMapBackup(catalog, entry.id, options) : entry,
  );
  const after = backups.at(-1)?.id;
  return [...(await Promise.all(looked)), ...(await listMapBackups(catalog, { ...options, after }))];
}

type TimelineOptions = ListOptions & { readonly segmentSize: number };

async function refreshTimeline(
  archive: WalArchive,
  timeline: number,
  held: TimelineInventory | undefined,
  options: TimelineOptions,
): Promise<readonly WalInventory[]> {
  const { segmentSize } = options;
  const end = held?.runs.at(-1)?.last ?? -1n;
  // Whole blocks, of which nothing is known of single segments.
  const cut = end >= AGAIN ? ((end - AGAIN) / BLOCK) * BLOCK : 0n;
  const parts: WalInventory[] = [];
  if (held !== undefined) parts.push({ segmentSize, timelines: [upTo(held, cut)], segments: 0 });
  const collect = async (from: bigint, to: bigint | undefined): Promise<void> => {
    const collector = new WalCollector(segmentSize);
    for await (const entry of archive.contents(timeline, { ...options, from })) {
      if (to !== undefined && numberOf(entry, segmentSize) > to) break;
      collector.add(entry);
    }
    parts.push(collector.inventory);
  };
  await collect(cut, undefined);
  const holes = holesOf(held?.runs ?? []).filter(({ first }) => first < cut);
  for (const { first, last } of holes.slice(-MOST_HOLES)) await collect(first, last);
  if ((held?.histories.length ?? 0) === 0 && timeline > 1) {
    const collector = new WalCollector(segmentSize);
    const found = await archive.find(historyName(timeline), options);
    if (found !== undefined) collector.add(found);
    parts.push(collector.inventory);
  }
  return parts;
}

/** What is known of a timeline before a segment. */
function upTo(held: TimelineInventory, cut: bigint): TimelineInventory {
  return {
    ...held,
    runs: held.runs
      .filter(({ first }) => first < cut)
      .map(({ first, last }) => ({ first, last: last < cut ? last : cut - 1n })),
    conflicts: held.conflicts.filter((number) => number < cut),
    open: held.open.filter(({ number }) => number < cut),
    blocks: held.blocks.filter(({ block }) => block * BLOCK < cut),
  };
}

function numberOf(entry: WalObject | WalSlice, segmentSize: number): bigint {
  const file: WalFile = 'segment' in entry ? entry.segment : entry.file;
  return file.kind === 'history' ? -1n : segmentNumberOf(file, segmentSize);
}

/** Without those whose removal has begun: they are no backups any more. */
function withoutExpired(backups: readonly MapBackupEntry[], { facts, unread }: FoundFacts): readonly MapBackupEntry[] {
  // It says what it says by being there.
  const named = [...facts.map(({ subject, fact: { kind } }) => ({ subject, kind })), ...unread];
  const expired = new Set(named.filter(({ kind }) => kind === EXPIRED).map(({ subject }) => subject));
  return backups.filter(({ id }) => !expired.has(id));
}

/** The complete ones among some backups. */
export function completeOf(backups: readonly MapBackupEntry[]): readonly MapBackup[] {
  return backups.flatMap((entry) => (entry.state === 'complete' ? [entry.backup] : []));
}

/** PostgreSQL's default. */
const USUAL_SIZE = 16 * MIN_SEGMENT_SIZE;

/** What says of an object that it cannot be read here, and nothing of the storage. */
const UNREADABLE: ReadonlySet<ErrorCode> = new Set([
  'CODEC_KEY',
  'CODEC_UNKNOWN',
  'CODEC_CORRUPT',
  'STORAGE_CORRUPT',
  'STORAGE_NOT_FOUND',
  'WAL_INVALID',
]);

/** The size of segments: as the backups say, else as the first segment does that can be read. */
async function sizeOfSegments(
  backups: readonly MapBackupEntry[],
  archive: WalArchive,
  options: CallOptions,
): Promise<number> {
  const known = segmentSizeOf(completeOf(backups));
  if (known !== undefined) return known;
  for await (const entry of archive.everything(options)) {
    if ('segment' in entry || entry.file.kind !== 'segment') continue;
    try {
      for await (const chunk of archive.read(entry, options))
        return readSegmentHeader(chunk, entry.file.name).segmentSize;
    } catch (error) {
      // Without a key there is no better answer, and without a backup nothing depends on it. A storage that fails gives none at all.
      if (!isArchiveError(error) || !UNREADABLE.has(error.code)) throw error;
      break;
    }
  }
  return USUAL_SIZE;
}
