/** Reads when transactions ended out of segments that lie in files, in the order in which they were written. */
import { open, type FileHandle } from 'node:fs/promises';
import { parseWalFileName, segmentName, segmentNumber, segmentNumberOf } from '../postgres/wal-file.ts';
import { WalRecordReader } from '../postgres/wal-records.ts';
import { mergeTimes, type SegmentTimes } from '../repository/commit-times.ts';

/** Bytes that are read, and scanned without a pause, at once. */
const BLOCK = 1024 * 1024;

/** Bytes of a segment in a file. */
export interface ScanPart {
  /** Name of the segment. */
  readonly name: string;
  /** Bytes of a segment. */
  readonly segmentSize: number;
  /** How many bytes of it are WAL. */
  readonly to: number;
}

/**
 * One stream of WAL that is read as it comes. A part that follows on what was read goes on there, so that a record across two segments is seen, and
 * nothing is read twice; any other one begins anew.
 */
export class SegmentScan {
  readonly #systemId: string;
  #reader: WalRecordReader | undefined;
  #timeline = 0;
  /** The byte that the reader wants next. */
  #position = 0n;
  #segmentSize = 0;
  /** What was read last: one file is read at a time. */
  #block: Uint8Array | undefined;
  readonly #times = new Map<string, SegmentTimes>();
  /** What was said of the last segments: more may be found in them. */
  #said: readonly SegmentTimes[] = [];

  constructor(systemId: string) {
    this.#systemId = systemId;
  }

  /** Reads a part. The file is closed here. Errors: those of the file system. */
  async read(file: FileHandle, { name, segmentSize, to }: ScanPart): Promise<void> {
    try {
      const parsed = parseWalFileName(name);
      if (parsed?.kind !== 'segment') return;
      const { timeline } = parsed;
      const start = segmentNumberOf(parsed, segmentSize) * BigInt(segmentSize);
      const follows =
        this.#timeline === timeline && this.#position >= start && this.#position <= start + BigInt(segmentSize);
      if (!follows || this.#reader === undefined || this.#reader.end !== undefined)
        this.#begin(timeline, start, segmentSize);
      this.#mention(name);
      const block = (this.#block ??= Buffer.allocUnsafeSlow(BLOCK));
      for (let at = Number(this.#position - start); at < to && this.#reader?.end === undefined;) {
        const { bytesRead } = await file.read(block, 0, Math.min(BLOCK, to - at), at);
        if (bytesRead === 0) return;
        this.#reader?.push(block.subarray(0, bytesRead));
        at += bytesRead;
        this.#position = start + BigInt(at);
      }
    } finally {
      await file.close();
    }
  }

  /** What was found since the last call, ascending. */
  take(): readonly SegmentTimes[] {
    const found = [...this.#times.values()].sort((one, other) => (one.segment < other.segment ? -1 : 1));
    this.#times.clear();
    if (found.length > 0) this.#said = found.slice(-2);
    return found;
  }

  /** Segments of which something is to be taken. */
  get size(): number {
    return this.#times.size;
  }

  #begin(timeline: number, start: bigint, segmentSize: number): void {
    this.#timeline = timeline;
    this.#position = start;
    this.#segmentSize = segmentSize;
    const anew = segmentName(timeline, segmentNumber(start, segmentSize), segmentSize);
    this.#times.delete(anew);
    this.#said = this.#said.filter(({ segment }) => segment !== anew);
    this.#reader = new WalRecordReader(
      (record) => {
        if (record.kind !== 'commit' && record.kind !== 'abort') return;
        const name = segmentName(timeline, segmentNumber(record.lsn, this.#segmentSize), this.#segmentSize);
        const time = Number(record.micros);
        const known = this.#mention(name);
        const merged = mergeTimes(known, { segment: name, transactions: 0, first: time, last: time });
        this.#times.set(name, { ...merged, transactions: known.transactions + 1 });
      },
      { start, segmentSize, timeline, systemId: this.#systemId, checkCrc: false },
    );
  }

  /** One without transactions is told too: there were none, which is another answer than not knowing. */
  #mention(name: string): SegmentTimes {
    const said = this.#said.find(({ segment }) => segment === name);
    const known = this.#times.get(name) ?? said ?? { segment: name, transactions: 0 };
    this.#times.set(name, known);
    return known;
  }
}

/** Opens a file for {@link SegmentScan.read}; undefined when it is not there any more. */
export async function openForScan(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path);
  } catch {
    return undefined; // shipped and removed, or unreadable: then its times are not known, and nothing else depends on them
  }
}
