import { closeSync, fdatasyncSync, fsyncSync, fstatSync, openSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ArchiveError } from '../contracts/errors.ts';
import { formatLsn } from '../postgres/lsn.ts';
import { segmentName, segmentNumber } from '../postgres/wal-file.ts';
import { renameDurably, syncFolder, writeFully, ZEROES } from './durable-file.ts';
import { SpareSegment } from './spare-segment.ts';
import { guard } from './spool-error.ts';

export interface SegmentWriterOptions {
  /** The folder of the spool. */
  readonly folder: string;
  /** Bytes. */
  readonly segmentSize: number;
  /** A partial segment was opened, new or again. */
  readonly onOpened: (name: string) => void;
  /** A segment is whole, durable and under its final name. */
  readonly onFinished: (name: string) => void;
}

/**
 * Writes a stream of WAL into segment files, exactly as `pg_receivewal` lays them out: `<segment>.partial`, filled with
 * zeroes to its full size, renamed when it is whole.
 */
export class SegmentWriter {
  readonly #options: SegmentWriterOptions;
  readonly #spare: SpareSegment;
  #timeline = 0;
  #fd: number | undefined;
  #name = '';
  #offset = 0;
  #written = 0n;
  #durable = 0n;
  /** What made a sync fail in this stream. The next one may succeed without having written anything: the kernel forgets. */
  #failed: { readonly error: unknown } | undefined;

  constructor(options: SegmentWriterOptions) {
    this.#options = options;
    this.#spare = new SpareSegment(`${options.folder}.spare`, options.segmentSize);
  }

  /** The name of the open segment, without `.partial`; undefined when none is open. */
  get open(): string | undefined {
    return this.#fd === undefined ? undefined : this.#name;
  }

  /** LSN after the last byte written. */
  get written(): bigint {
    return this.#written;
  }

  /** LSN after the last byte that survives a crash of the machine. */
  get durable(): bigint {
    return this.#durable;
  }

  /** Bytes of the open segment that are durable. */
  get durableOffset(): number {
    return this.#offset - Number(this.#written - this.#durable);
  }

  /**
   * Begins a stream at the start of a segment. A partial segment there is written anew from its first byte on: the
   * bytes of a timeline at a position are always the same, so what was durable in it stays so. After a failed sync this, in
   * a file that is opened anew, is also what makes the bytes durable again.
   */
  begin(timeline: number, lsn: bigint): void {
    if (lsn % BigInt(this.#options.segmentSize) !== 0n) {
      throw new ArchiveError('INTERNAL', `a stream begins inside a segment, at ${formatLsn(lsn)}`);
    }
    this.release();
    this.#failed = undefined;
    this.#timeline = timeline;
    this.#written = lsn;
    this.#durable = lsn;
  }

  /** Writes WAL that begins at `start`. Throws `STREAM_PROTOCOL` when it does not follow what was written. */
  write(start: bigint, bytes: Uint8Array): void {
    if (start !== this.#written) {
      throw new ArchiveError(
        'STREAM_PROTOCOL',
        `the server sent WAL at ${formatLsn(start)}, expected ${formatLsn(this.#written)}`,
      );
    }
    if (this.#failed !== undefined) throw this.#failed.error;
    const { segmentSize } = this.#options;
    for (let done = 0; done < bytes.byteLength;) {
      const fd = this.#fd ?? this.#open();
      const length = Math.min(bytes.byteLength - done, segmentSize - this.#offset);
      guard(this.#name, () => {
        writeFully(fd, bytes.subarray(done, done + length), this.#offset);
      });
      done += length;
      this.#offset += length;
      this.#written += BigInt(length);
      if (this.#offset === segmentSize) this.#finish(fd);
    }
  }

  /** Makes durable what was written. Gives whether there was anything. After a failure it fails until {@link begin}. */
  sync(): boolean {
    if (this.#failed !== undefined) throw this.#failed.error;
    if (this.#durable === this.#written) return false;
    if (this.#fd !== undefined) this.#syncFile(this.#fd);
    this.#durable = this.#written;
    return true;
  }

  #syncFile(fd: number): void {
    try {
      guard(this.#name, () => {
        fdatasyncSync(fd);
      });
    } catch (error) {
      this.#failed = { error };
      throw error;
    }
  }

  /** Closes the open segment, which stays partial. What of it is durable is what {@link sync} made so. */
  release(): void {
    if (this.#fd === undefined) return;
    closeSync(this.#fd);
    this.#fd = undefined;
  }

  /** Closes the writer, and gives back all space but that of the WAL. It may be used again. */
  async close(): Promise<void> {
    this.release();
    await this.#spare.discard();
  }

  #open(): number {
    const { folder, segmentSize, onOpened } = this.#options;
    const name = segmentName(this.#timeline, segmentNumber(this.#written, segmentSize), segmentSize);
    const whole = join(folder, name);
    if (statSync(whole, { throwIfNoEntry: false }) !== undefined) {
      throw new ArchiveError('SPOOL_INVALID', `${whole} exists, and the stream begins before its end`);
    }
    const path = `${whole}.partial`;
    const fd = guard(path, () => {
      const present = statSync(path, { throwIfNoEntry: false }) !== undefined || this.#spare.take(path);
      return openSync(path, present ? 'r+' : 'wx+', 0o600);
    });
    try {
      guard(path, () => {
        const { size } = fstatSync(fd);
        if (size > segmentSize) {
          throw new ArchiveError('SPOOL_INVALID', `${path} has ${size} bytes, more than a segment of ${segmentSize}`);
        }
        for (let at = size; at < segmentSize; at += ZEROES.byteLength) {
          writeFully(fd, ZEROES.subarray(0, Math.min(ZEROES.byteLength, segmentSize - at)), at);
        }
        fsyncSync(fd);
        syncFolder(folder);
      });
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    this.#fd = fd;
    this.#name = name;
    this.#offset = 0;
    this.#spare.prepare();
    onOpened(name);
    return fd;
  }

  #finish(fd: number): void {
    const path = join(this.#options.folder, this.#name);
    this.#syncFile(fd);
    guard(path, () => {
      this.release();
      renameDurably(`${path}.partial`, path);
    });
    this.#durable = this.#written;
    this.#options.onFinished(this.#name);
  }
}
