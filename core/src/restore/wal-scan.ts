/** What the records of a stretch of WAL say: where it ends, when its transactions ended, where a target is. */
import { ArchiveError, isArchiveError, throwIfAborted } from '../contracts/errors.ts';
import { releaseChunk } from '../contracts/lease.ts';
import type { CallOptions } from '../contracts/storage.ts';
import type { WalRecord, WalTablespace } from '../postgres/wal-record-data.ts';
import { WalRecordReader } from '../postgres/wal-records.ts';
import { isObjectFault } from '../repository/repository-failure.ts';
import type { WalPiece } from './wal-pieces.ts';

export interface WalScanOptions extends CallOptions {
  /** Bytes. */
  readonly segmentSize: number;
  readonly systemId: string;
  /** Compares checksums of records, at half the speed; default false. */
  readonly checkCrc?: boolean;
  /** Reads no further than the first record that begins here or later. Default: to the end. */
  readonly until?: bigint;
  /** Told of each segment that was read. */
  readonly onSegment?: (name: string) => void;
}

/** The end of WAL. */
export interface WalFrontier {
  /** End of the last valid record. */
  readonly end: bigint;
  /** Start of the last valid record: a recovery to an LSN needs a record at or after it. */
  readonly lastRecord: bigint;
  /** Whether there is a valid record at all; without one `lastRecord` is the end. */
  readonly hasRecord: boolean;
  /** The latest time of the end of a transaction, microseconds since 1970; undefined when there was none. */
  readonly lastTransaction: bigint | undefined;
  /** How many of the last segments had to be read for it. */
  readonly segments: number;
  /** The tablespaces that are created in those segments. */
  readonly tablespaces: readonly WalTablespace[];
}

/**
 * Finds the end of valid WAL and the last transaction before it. Reads as little as will do: the last segment, then twice as
 * many, until a transaction is found. Errors: `WAL_INVALID` when the WAL ends before its last segment, those of the storage.
 */
export async function findFrontier(
  pieces: Pick<readonly WalPiece[], 'length' | 'slice'>,
  options: WalScanOptions,
): Promise<WalFrontier | undefined> {
  let known: WalFrontier | undefined;
  for (let length = 1; ; length *= 2) {
    known = await frontierOf(pieces.slice(-length), options, known);
    if (known === undefined) return undefined;
    const found = known.lastTransaction !== undefined && known.hasRecord;
    if (found || known.segments >= pieces.length) return known;
  }
}

/** The same for pieces of which the last ones are known: the others are read up to the first record of those, which joins them. */
async function frontierOf(
  pieces: readonly WalPiece[],
  options: WalScanOptions,
  known: WalFrontier | undefined,
): Promise<WalFrontier | undefined> {
  const join = known?.hasRecord === true ? pieces.at(-known.segments) : undefined;
  const until = join === undefined ? {} : { until: join.number * BigInt(options.segmentSize) };
  let lastTransaction: bigint | undefined;
  const created: WalTablespace[] = [];
  const scanned = await scan(pieces, { ...options, ...until, checkCrc: true }, (record) => {
    if (record.kind === 'tablespace') created.push(record);
    if (record.kind !== 'commit' && record.kind !== 'abort') return;
    if (lastTransaction === undefined || record.micros > lastTransaction) lastTransaction = record.micros;
  });
  if (scanned === undefined) return undefined;
  const { lastRecord, finish, isJoined } = scanned;
  const segments = pieces.length;
  if (isJoined && known !== undefined) {
    const [first] = known.tablespaces;
    const before = created.filter(({ lsn }) => first === undefined || lsn < first.lsn);
    return { ...known, lastTransaction, segments, tablespaces: [...before, ...known.tablespaces] };
  }
  return {
    end: finish.lsn,
    lastRecord: lastRecord ?? finish.lsn,
    hasRecord: lastRecord !== undefined,
    lastTransaction,
    segments,
    tablespaces: created,
  };
}

/** Segments at the end that may be damaged one after the other before the search for sound ones is given up. */
const MOST_CUT = 16;

/**
 * The same for WAL whose end is damaged: where the sound WAL before the damage ends, and what is wrong behind it. A recovery ends there, and one
 * to a moment before never notices. Errors: as for {@link findFrontier} when nothing before it is sound either, and those that say nothing of
 * what is stored.
 */
export async function findSoundFrontier(
  pieces: Pick<readonly WalPiece[], 'length' | 'slice'>,
  options: WalScanOptions,
): Promise<{ readonly frontier: WalFrontier | undefined; readonly fault: ArchiveError | undefined }> {
  let fault: ArchiveError | undefined;
  for (let cut = 0; cut === 0 || cut < Math.min(pieces.length, MOST_CUT); cut++) {
    try {
      return { frontier: await findFrontier(cut === 0 ? pieces : without(pieces, cut), options), fault };
    } catch (error) {
      if (!isArchiveError(error) || !isDamage(error)) throw error;
      fault ??= error;
    }
  }
  throw fault ?? new ArchiveError('INTERNAL', 'WAL without a segment was read');
}

/** Pieces but for the last ones. */
function without(
  pieces: Pick<readonly WalPiece[], 'length' | 'slice'>,
  cut: number,
): Pick<readonly WalPiece[], 'length' | 'slice'> {
  const length = pieces.length - cut;
  return { length, slice: (from = -length) => pieces.slice(from - cut).slice(0, -cut) };
}

/** Whether an error says that what is stored is not sound, and not only that it cannot be opened here. */
function isDamage(error: ArchiveError): boolean {
  return isObjectFault(error) && error.code !== 'CODEC_KEY' && error.code !== 'CODEC_UNKNOWN';
}

/** Gives the first record that `wanted` accepts, or undefined. */
export async function findRecord(
  pieces: readonly WalPiece[],
  options: WalScanOptions & { readonly from: bigint },
  wanted: (record: WalRecord) => boolean,
): Promise<WalRecord | undefined> {
  let found: WalRecord | undefined;
  await scan(pieces, options, (record) => {
    if (found === undefined && record.lsn >= options.from && wanted(record)) found = record;
    return found !== undefined;
  });
  return found;
}

interface Scanned {
  readonly lastRecord: bigint | undefined;
  readonly finish: ReturnType<WalRecordReader['finish']>;
  /** Whether there was a record at or after `until`, and so a sound chain of records up to it. */
  readonly isJoined: boolean;
}

/** Reads pieces as one stretch of WAL; `take` ends the reading by giving true. */
async function scan(
  pieces: readonly WalPiece[],
  options: WalScanOptions,
  take: (record: WalRecord) => boolean | void,
): Promise<Scanned | undefined> {
  const [first] = pieces;
  const last = pieces.at(-1);
  if (first === undefined || last === undefined) return undefined;
  const { segmentSize, systemId, signal, until } = options;
  let enough = false;
  let isJoined = false;
  const reader = new WalRecordReader((record) => (enough ||= take(record) === true), {
    start: first.number * BigInt(segmentSize),
    segmentSize,
    timeline: last.timeline,
    systemId,
    checkCrc: options.checkCrc ?? false,
  });
  for (const piece of pieces) {
    for await (const chunk of piece.read(options)) {
      throwIfAborted(signal, 'reading WAL');
      reader.push(chunk);
      releaseChunk(chunk);
      isJoined = until !== undefined && (reader.lastRecord ?? -1n) >= until;
      if (enough || isJoined || reader.end !== undefined) break;
    }
    options.onSegment?.(piece.name);
    const { end } = reader;
    if (end !== undefined && !enough && !isJoined && piece !== last)
      throw new ArchiveError('WAL_INVALID', `the WAL in ${piece.name} ends before its time: ${end.detail}`, {
        hint: 'The segment is damaged in the archive or was already when it was archived: recovery would end in it.',
      });
    if (enough || isJoined || end !== undefined) break;
  }
  return { lastRecord: reader.lastRecord, finish: reader.finish(), isJoined };
}
