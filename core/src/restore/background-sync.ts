import type { FileHandle } from 'node:fs/promises';
import { restoreError } from './restore-error.ts';

/** Files that are synced at once. Each keeps one thread of the pool, which also decompresses and writes. */
const AT_ONCE = 2;
/** Smaller files are left to the end: to sync a new file by itself costs a commit of the file system's journal. */
const LARGE = 4 * 1024 * 1024;
/** Bytes of one file after which the disk is given what there is. */
const STRETCH = 64 * 1024 * 1024;

/**
 * Makes large files durable while others are written, so that at the end little waits for the disk, and closes all of them. What fails is told
 * to the next who comes.
 */
export class BackgroundSync {
  readonly #durable: boolean;
  readonly #active = new Set<Promise<void>>();
  readonly #synced = new Set<string>();
  #failure: { readonly error: unknown } | undefined;

  /** Without `durable` files are closed only. */
  constructor(durable: boolean) {
    this.#durable = durable;
  }

  /** Whether the file in this place is durable. */
  has(place: Buffer): boolean {
    return this.#synced.has(nameOf(place));
  }

  /** A file has grown from `before` bytes to `after`. */
  grown(handle: FileHandle, place: Buffer, before: number, after: number): void {
    if (!this.#durable || Math.floor(before / STRETCH) === Math.floor(after / STRETCH)) return;
    if (this.#active.size < AT_ONCE) this.#start(handle.datasync(), place);
  }

  /** Takes a file that is complete. Waits while there are many. Errors: `RESTORE_FAILED`, of this file or an earlier one. */
  async add(handle: FileHandle, place: Buffer, size: number): Promise<void> {
    this.#start(this.#end(handle, place, size), place);
    while (this.#active.size > AT_ONCE) await Promise.race(this.#active);
    this.#throw();
  }

  /** Waits until all files are closed. Errors as those of {@link add}. */
  async finish(): Promise<void> {
    await Promise.all(this.#active);
    this.#throw();
  }

  async #end(handle: FileHandle, place: Buffer, size: number): Promise<void> {
    try {
      if (!this.#durable || size < LARGE) return;
      await handle.sync();
      this.#synced.add(nameOf(place));
    } finally {
      await handle.close();
    }
  }

  #start(work: Promise<void>, place: Buffer): void {
    const tracked: Promise<void> = work
      .catch((error: unknown) => void (this.#failure ??= { error: restoreError(error, `syncing ${place.toString()}`) }))
      .finally(() => this.#active.delete(tracked));
    this.#active.add(tracked);
  }

  #throw(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}

/** One string for each name: not all of them are text. */
function nameOf(place: Buffer): string {
  return place.toString('latin1');
}
