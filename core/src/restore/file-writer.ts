import type { FileHandle } from 'node:fs/promises';

/** Bytes that are gathered while others are written. */
const BATCH = 4 * 1024 * 1024;
/**
 * Bytes of one call. Linux takes the pages of a file in folios as large as the write. Beyond this such memory is often not at hand, where the
 * machine is a guest, and is made while it waits: writes of 1 to 4 MiB took up to five times the CPU.
 */
const AT_ONCE = 512 * 1024;
/** System calls take at most 1024 pieces (IOV_MAX). */
const MOST_PIECES = 1000;

export interface FileWriterOptions {
  /** Told of bytes when they are written, with the position behind them. */
  readonly onBytes: (count: number, position: number) => void;
  /** What could not be written. Called once. */
  readonly onFailure: (error: unknown) => void;
}

interface Batch {
  readonly pieces: Uint8Array[];
  readonly position: number;
  bytes: number;
  readonly done: (() => void)[];
}

/** Writes one file from its beginning, in batches, one of which is under way while the next one is gathered. Nothing is copied. */
export class FileWriter {
  readonly #handle: FileHandle;
  readonly #options: FileWriterOptions;
  #batch: Batch | undefined;
  #position = 0;
  #writing: Promise<void> = Promise.resolve();

  constructor(handle: FileHandle, options: FileWriterOptions) {
    this.#handle = handle;
    this.#options = options;
  }

  /** Bytes that were given so far. */
  get size(): number {
    return this.#position;
  }

  /** Takes bytes, which must not change until they are written. Waits while a batch is full and another one under way. */
  async write(bytes: Uint8Array): Promise<void> {
    this.#batch ??= { pieces: [], position: this.#position, bytes: 0, done: [] };
    this.#batch.pieces.push(bytes);
    this.#batch.bytes += bytes.byteLength;
    this.#position += bytes.byteLength;
    if (this.#batch.bytes >= BATCH || this.#batch.pieces.length >= MOST_PIECES) await this.#begin();
  }

  /** Calls `then` when all that was given so far is written, or cannot be. */
  afterWrites(then: () => void): void {
    if (this.#batch === undefined) void this.#writing.then(then);
    else this.#batch.done.push(then);
  }

  /** Waits until all is written, or cannot be. */
  async finish(): Promise<void> {
    await this.#begin();
    await this.#writing;
  }

  async #begin(): Promise<void> {
    const batch = this.#batch;
    if (batch === undefined) return;
    this.#batch = undefined;
    await this.#writing;
    this.#writing = this.#write(batch);
  }

  async #write({ pieces, position, bytes, done }: Batch): Promise<void> {
    try {
      await writeAt(this.#handle, pieces, position);
      this.#options.onBytes(bytes, position + bytes);
    } catch (error) {
      this.#options.onFailure(error);
    }
    for (const then of done) then();
  }
}

/** The system may write less than it was given, for instance up to the last free block. */
async function writeAt(handle: FileHandle, pieces: readonly Uint8Array[], position: number): Promise<void> {
  let at = position;
  let rest = pieces;
  while (rest.length > 0) {
    const { bytesWritten } = await handle.writev(upTo(rest, AT_ONCE), at);
    at += bytesWritten;
    rest = without(rest, bytesWritten);
  }
}

function upTo(pieces: readonly Uint8Array[], limit: number): readonly Uint8Array[] {
  const taken: Uint8Array[] = [];
  let left = limit;
  for (const piece of pieces) {
    if (left === 0) break;
    const part = piece.subarray(0, left);
    taken.push(part);
    left -= part.byteLength;
  }
  return taken;
}

function without(pieces: readonly Uint8Array[], bytes: number): readonly Uint8Array[] {
  let skip = bytes;
  let index = 0;
  for (const piece of pieces) {
    if (skip < piece.byteLength) break;
    skip -= piece.byteLength;
    index += 1;
  }
  const [first, ...others] = pieces.slice(index);
  return first === undefined ? [] : [first.subarray(skip), ...others];
}
