/** What an object makes unrestorable when it is lost. */
import { requiredWalOf, type RequiredWal, type SegmentRun } from '../backup/required-wal.ts';
import { isArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { formatLsn, parseLsn } from '../postgres/lsn.ts';
import type { TimelineRange } from '../postgres/timeline.ts';
import { segmentNumber } from '../postgres/wal-file.ts';
import type { BackupRecord } from '../repository/backup-record.ts';
import { isObjectFault } from '../repository/repository-failure.ts';
import type { WalArchive } from '../repository/wal.ts';
import { rangeOf, readLineage, type Lineage } from '../restore/lineage.ts';
import { NOTHING, type Unrestorable } from './finding.ts';

/** What one backup needs of the WAL, if that can be told. */
interface Need {
  readonly record: BackupRecord;
  /** Undefined for one that saw its timeline change, without the history that says where. */
  readonly wal: RequiredWal | undefined;
}

/** The backups of one system, and the lines on which they lie. */
export class Impact {
  readonly #needs: readonly Need[];
  readonly #lines: ReadonlyMap<number, Lineage>;

  private constructor(needs: readonly Need[], lines: ReadonlyMap<number, Lineage>) {
    this.#needs = needs;
    this.#lines = lines;
  }

  /** Reads the histories. One that cannot be read leads nowhere. Errors: those of the storage. */
  static async read(
    wal: WalArchive,
    records: readonly BackupRecord[],
    timelines: readonly number[],
    options: CallOptions = {},
  ): Promise<Impact> {
    const lines = new Map<number, Lineage>();
    for (const timeline of timelines) {
      const line = await unlessOfOne(() => readLineage(wal, timeline, options));
      if (line !== undefined) lines.set(timeline, line);
    }
    const needs: Need[] = [];
    for (const record of records)
      needs.push({ record, wal: await unlessOfOne(() => requiredWalOf(record, wal, options)) });
    return new Impact(needs, lines);
  }

  /** Timelines of which the backups need something. */
  get timelines(): ReadonlySet<number> {
    return new Set(this.#needs.flatMap(({ wal }) => (wal?.runs ?? []).map(({ timeline }) => timeline)));
  }

  /** What the backups of these ids need; those of which it cannot be told are left out. */
  needsOf(ids: ReadonlySet<string>): readonly { readonly record: BackupRecord; readonly wal: RequiredWal }[] {
    return this.#needs.flatMap(({ record, wal }) => (wal !== undefined && ids.has(record.id) ? [{ record, wal }] : []));
  }

  /** Whether a sample always reads this segment: a backup needs it first or last. */
  isEdge(timeline: number, number: bigint): boolean {
    return this.#needs.some(({ wal }) =>
      wal?.runs.some((run) => run.timeline === timeline && (run.first === number || run.last === number)),
    );
  }

  /** Whether these segments are just what lies between the WAL of two backups: so it is where a backup is kept with its own WAL only. */
  isBetweenBackups({ timeline, first, last }: SegmentRun): boolean {
    const runs = this.#needs.flatMap(({ wal }) => wal?.runs ?? []).filter((run) => run.timeline === timeline);
    return runs.some((run) => run.last === first - 1n) && runs.some((run) => run.first === last + 1n);
  }

  /** The first and the last segment that there has to be of a timeline, as far as backups, and timelines that branch off it, tell. */
  expected(timeline: number, segmentSize: number): { readonly first?: bigint; readonly last?: bigint } {
    const runs = this.#needs.flatMap(({ wal }) => wal?.runs ?? []).filter((run) => run.timeline === timeline);
    const begins = runs.map(({ first }) => first);
    const ends = runs.map(({ last }) => last);
    for (const line of this.#lines.values()) {
      const at = line.ranges.findIndex((range) => range.timeline === timeline);
      const range = line.ranges[at];
      if (range === undefined || !this.#leadsInto(line, range)) continue;
      if (this.#needs.some(({ record }) => record.timeline < timeline) && timeline === line.timeline && at > 0)
        begins.push(segmentNumber(range.start, segmentSize));
      // The segment of the fork counts on the newer timeline.
      if (range.end !== undefined && range.end > range.start) ends.push(segmentNumber(range.end, segmentSize) - 1n);
    }
    const first = least(begins);
    const last = least(ends.map((end) => -end));
    return { ...(first === undefined ? {} : { first }), ...(last === undefined ? {} : { last: -last }) };
  }

  /** Whether a backup can be rolled forward into this stretch of a line. */
  #leadsInto(line: Lineage, range: TimelineRange): boolean {
    return this.#needs.some(({ record }) => {
      const start = parseLsn(record.startLsn);
      return rangeOf(line, record.timeline, start) !== undefined && (range.end === undefined || start < range.end);
    });
  }

  /** Whole segments of a timeline. */
  ofRun({ timeline, first, last }: SegmentRun, segmentSize: number): Unrestorable {
    const start = first * BigInt(segmentSize);
    const end = (last + 1n) * BigInt(segmentSize);
    const line = this.#lines.get(timeline);
    const leads = this.#needs.some(({ record }) => {
      const begin = parseLsn(record.startLsn);
      if (begin >= end) return false;
      return line === undefined ? record.timeline === timeline : rangeOf(line, record.timeline, begin) !== undefined;
    });
    if (!leads) return NOTHING;
    const backups = this.#needs.flatMap(({ record, wal }) => {
      const needed = wal?.runs.some((run) => run.timeline === timeline && run.first <= last && first <= run.last);
      return needed === true ? [record.id] : [];
    });
    return { backups, wal: { timeline, from: formatLsn(start) } };
  }

  ofSegment(timeline: number, number: bigint, segmentSize: number): Unrestorable {
    return this.ofRun({ timeline, first: number, last: number }, segmentSize);
  }

  /** The end of a timeline that never became a whole segment, from this position on. */
  ofTail(timeline: number, number: bigint, segmentSize: number, offset: number): Unrestorable {
    const { wal } = this.ofSegment(timeline, number, segmentSize);
    if (wal === undefined) return NOTHING;
    return { backups: [], wal: { timeline, from: formatLsn(number * BigInt(segmentSize) + BigInt(offset)) } };
  }

  ofHistory(timeline: number): Unrestorable {
    const earlier = this.#needs.some(({ record }) => record.timeline < timeline);
    const backups = this.#needs
      .filter(({ record, wal }) =>
        wal === undefined ? record.stopTimeline === timeline : wal.histories.includes(timeline),
      )
      .map(({ record }) => record.id);
    return earlier || backups.length > 0 ? { backups, timelines: [timeline] } : NOTHING;
  }
}

function least(numbers: readonly bigint[]): bigint | undefined {
  return numbers.reduce<bigint | undefined>(
    (best, number) => (best === undefined || number < best ? number : best),
    undefined,
  );
}

/** Undefined where an object is damaged or missing: that is told where it is looked at. */
async function unlessOfOne<Value>(read: () => Promise<Value>): Promise<Value | undefined> {
  try {
    return await read();
  } catch (error) {
    if (isArchiveError(error) && (isObjectFault(error) || IN_WAL.has(error.code))) return undefined;
    throw error;
  }
}

const IN_WAL: ReadonlySet<string> = new Set(['WAL_NOT_FOUND', 'WAL_CONFLICT', 'STORAGE_DENIED']);
