import type { FileHandle } from 'node:fs/promises';

/**
 * Bytes that are written at once. Linux takes memory for the pages of a file by the size of the write: pieces of 1 MiB one by one cost up to
 * three times the CPU, where the memory of the machine is a guest's.
 */
const BATCH = 4 * 1024 * 1024;
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
  let { bytesWritten: skip } = await handle.writev(pieces, position);
  let at = position + skip;
  for (const piece of pieces) {
    let rest = piece.subarray(Math.min(skip, piece.byteLength));
    skip -= piece.byteLength - rest.byteLength;
    while (rest.byteLength > 0) {
      const { bytesWritten } = await handle.write(rest, 0, rest.byteLength, at);
      at += bytesWritten;
      rest = rest.subarray(bytesWritten);
    }
  }
}
