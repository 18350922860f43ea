/** Where the WAL of a run really ends: the records at its end, read as the plan reads them. */
import { ArchiveError, isArchiveError, throwIfAborted, type ErrorCode } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { segmentName } from '../postgres/wal-file.ts';
import { bodyOf } from '../repository/objects.ts';
import type { WalReader } from '../repository/wal.ts';
import type { WalPiece } from '../restore/wal-pieces.ts';
import { findSoundFrontier } from '../restore/wal-scan.ts';
import { unfinishedSegment } from '../wal-command/unfinished-segment.ts';
import type { BackupRun, LinePlace, Stretch } from './runs.ts';

/** Why something was not read. */
export interface Unreadable {
  readonly state: 'unreadable';
  readonly segment: string;
  readonly code: ErrorCode;
  readonly message: string;
  /** The end of the last transaction before what is damaged, microseconds since 1970: a recovery to a moment before it succeeds. */
  readonly soundTime?: bigint | undefined;
  /** What the commit times beside the WAL say of the last transaction, microseconds since 1970; undefined when they do not. */
  readonly recordedTime?: bigint | undefined;
}

/** What commit times say of segments up to one: the latest, microseconds since 1970. */
export type RecordedTime = (last: LinePlace, segmentSize: number) => Promise<bigint | undefined>;

/** What the end of a run says. LSNs and microseconds since 1970. */
export type EndOfWal =
  | {
      readonly state: 'read';
      /** End of the last record. */
      readonly end: bigint;
      /** Start of the last record: the last LSN that can be a target. */
      readonly lastRecord: bigint;
      /** The end of the last transaction; undefined when there is none in the run. */
      readonly lastTransaction: bigint | undefined;
    }
  | Unreadable;

/** A run as far as it can be read, and its end. */
export interface ReadRun {
  readonly run: BackupRun;
  readonly end: EndOfWal;
  /** The unfinished segment behind the run, when it cannot be used. */
  readonly beyond: Unreadable | undefined;
}

type Known = Extract<EndOfWal, { readonly state: 'read' }> & { readonly segments: number; readonly length: number };

/** Reads ends of runs, each once however many backups lead there. */
export class EndReader {
  readonly #archive: WalReader;
  readonly #options: CallOptions & { readonly recordedTime?: RecordedTime };
  readonly #known = new Map<string, Known[]>();
  readonly #failed = new Map<string, Unreadable>();
  readonly #unfinished = new Map<string, Uint8Array | Unreadable | undefined>();

  constructor(archive: WalReader, options: CallOptions & { readonly recordedTime?: RecordedTime }) {
    this.#archive = archive;
    this.#options = options;
  }

  /** Reads the end of a run that has any WAL. Errors: `ABORTED`; all others are part of the answer. */
  async read(run: BackupRun): Promise<ReadRun | undefined> {
    const { last, unfinished } = run;
    if (last === undefined) return undefined;
    if (!unfinished) return { run, end: await this.#endOf(run, last), beyond: undefined };
    const open = await this.#open(segmentName(last.timeline, last.number, run.backup.segmentSize));
    if (open !== undefined && !('state' in open)) return { run, end: await this.#endOf(run, last), beyond: undefined };
    // What was written into it is not enough to be WAL, or cannot be used: the run ends before it.
    const whole = run.stretches.at(-1);
    if (whole === undefined) return undefined;
    const place = { timeline: whole.timeline, number: whole.last };
    const shorter = { ...run, last: place, unfinished: false };
    return { run: shorter, end: await this.#endOf(shorter, place), beyond: open };
  }

  async #endOf(run: BackupRun, last: LinePlace): Promise<EndOfWal> {
    const { segmentSize } = run.backup;
    const key = `${run.line} ${last.timeline} ${last.number}`;
    const pieces = this.#pieces(run);
    const { length } = pieces;
    const failed = this.#failed.get(key);
    if (failed !== undefined) return failed;
    const known = this.#known.get(key) ?? [];
    // Reading goes backwards until it finds a transaction: a run that reaches back as far gives the same.
    const same = known.find(
      (one) => one.length === length || (one.segments <= length && one.lastTransaction !== undefined),
    );
    if (same !== undefined) return same;
    try {
      const options = { ...this.#options, segmentSize, systemId: this.#archive.systemId };
      const { frontier, fault } = await findSoundFrontier(pieces, options);
      if (frontier === undefined) throw new ArchiveError('INTERNAL', 'a run of WAL without a segment was read');
      if (fault !== undefined) return await this.#unreadable(key, last, segmentSize, fault, frontier.lastTransaction);
      const end: Known = { state: 'read', ...frontier, length };
      this.#known.set(key, [...known, end]);
      return end;
    } catch (error) {
      throwIfAborted(this.#options.signal, 'reading the end of the WAL');
      return this.#unreadable(key, last, segmentSize, error);
    }
  }

  async #unreadable(
    key: string,
    last: LinePlace,
    segmentSize: number,
    error: unknown,
    soundTime?: bigint,
  ): Promise<Unreadable> {
    const recordedTime = await this.#options.recordedTime?.(last, segmentSize);
    const unreadable = {
      ...unreadableBy(error, segmentName(last.timeline, last.number, segmentSize)),
      ...(soundTime !== undefined && { soundTime }),
      ...(recordedTime !== undefined && { recordedTime }),
    };
    this.#failed.set(key, unreadable);
    return unreadable;
  }

  async #open(name: string): Promise<Uint8Array | Unreadable | undefined> {
    if (!this.#unfinished.has(name)) {
      let found: Uint8Array | Unreadable | undefined;
      try {
        found = (await unfinishedSegment(this.#archive, name, this.#options))?.bytes;
      } catch (error) {
        throwIfAborted(this.#options.signal, 'reading the end of the WAL');
        found = unreadableBy(error, name);
      }
      this.#unfinished.set(name, found);
    }
    return this.#unfinished.get(name);
  }

  /** The segments of a run as they are asked for from its end: there may be a million. */
  #pieces(run: BackupRun): Pick<readonly WalPiece[], 'length' | 'slice'> {
    const { stretches, unfinished, last } = run;
    const whole = stretches.reduce((sum, stretch) => sum + sizeOf(stretch), 0);
    return {
      length: whole + (unfinished ? 1 : 0),
      slice: (from = 0) => {
        const pieces = unfinished && last !== undefined ? [this.#piece(run, last, true)] : [];
        for (const { timeline, first, last: end } of stretches.toReversed()) {
          for (let number = end; number >= first && pieces.length < -from; number--)
            pieces.push(this.#piece(run, { timeline, number }, false));
        }
        return pieces.toReversed();
      },
    };
  }

  #piece(run: BackupRun, { timeline, number }: LinePlace, unfinished: boolean): WalPiece {
    const name = segmentName(timeline, number, run.backup.segmentSize);
    const archive = this.#archive;
    const open = this.#unfinished.get(name);
    async function* read(options: CallOptions = {}): AsyncGenerator<Uint8Array> {
      if (unfinished) {
        if (open instanceof Uint8Array) yield* bodyOf(open);
        return;
      }
      const object = await archive.find(name, options);
      if (object === undefined) throw new ArchiveError('STORAGE_NOT_FOUND', `${name} is not archived any more`);
      yield* archive.read(object, options);
    }
    return { name, timeline, number, source: unfinished ? 'tail' : 'archive', storedBytes: 0, read };
  }
}

function sizeOf({ first, last }: Stretch): number {
  return Number(last - first) + 1;
}

function unreadableBy(error: unknown, segment: string): Unreadable {
  if (!isArchiveError(error)) throw error;
  return { state: 'unreadable', segment, code: error.code, message: error.message };
}
