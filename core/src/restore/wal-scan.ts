/** What the records of a stretch of WAL say: where it ends, when its transactions ended, where a target is. */
import { ArchiveError, isArchiveError, throwIfAborted } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import type { WalRecord } from '../postgres/wal-record-data.ts';
import { WalRecordReader } from '../postgres/wal-records.ts';
import { isObjectFault } from '../repository/repository-failure.ts';
import type { WalPiece } from './wal-pieces.ts';

export interface WalScanOptions extends CallOptions {
  /** Bytes. */
  readonly segmentSize: number;
  readonly systemId: string;
  /** Compares checksums of records, at half the speed; default false. */
  readonly checkCrc?: boolean;
  /** Told of each segment that was read. */
  readonly onSegment?: (name: string) => void;
}

/** The end of WAL. */
export interface WalFrontier {
  /** End of the last valid record. */
  readonly end: bigint;
  /** Start of the last valid record: a recovery to an LSN needs a record at or after it. */
  readonly lastRecord: bigint;
  /** The latest time of the end of a transaction, microseconds since 1970; undefined when there was none. */
  readonly lastTransaction: bigint | undefined;
  /** How many of the last segments had to be read for it. */
  readonly segments: number;
}

/**
 * Finds the end of valid WAL and the last transaction before it. Reads as little as will do: the last segment, then twice as
 * many, until a transaction is found. Errors: `WAL_INVALID` when the WAL ends before its last segment, those of the storage.
 */
export async function findFrontier(
  pieces: Pick<readonly WalPiece[], 'length' | 'slice'>,
  options: WalScanOptions,
): Promise<WalFrontier | undefined> {
  for (let length = 1; ; length *= 2) {
    const window = pieces.slice(-length);
    let lastTransaction: bigint | undefined;
    const reader = await scan(window, { ...options, checkCrc: true }, (record) => {
      if (record.kind !== 'commit' && record.kind !== 'abort') return;
      if (lastTransaction === undefined || record.micros > lastTransaction) lastTransaction = record.micros;
    });
    if (reader === undefined) return undefined;
    const { lastRecord, finish } = reader;
    const found = lastTransaction !== undefined && lastRecord !== undefined;
    if (!found && window.length < pieces.length) continue;
    return { end: finish.lsn, lastRecord: lastRecord ?? finish.lsn, lastTransaction, segments: window.length };
  }
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
  const { segmentSize, systemId, signal } = options;
  let enough = false;
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
      if (enough || reader.end !== undefined) break;
    }
    options.onSegment?.(piece.name);
    const { end } = reader;
    if (end !== undefined && !enough && piece !== last)
      throw new ArchiveError('WAL_INVALID', `the WAL in ${piece.name} ends before its time: ${end.detail}`, {
        hint: 'The segment is damaged in the archive or was already when it was archived: recovery would end in it.',
      });
    if (enough || end !== undefined) break;
  }
  return { lastRecord: reader.lastRecord, finish: reader.finish() };
}
