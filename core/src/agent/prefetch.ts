/** Segments that a recovery will ask for next. */
import { rmSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { segmentName, segmentNumberOf, type WalFile } from '../postgres/wal-file.ts';
import { unlessAborted } from '../receive/backoff.ts';

type Segment = Extract<WalFile, { readonly kind: 'segment' | 'partial' }>;

export interface PrefetchOptions {
  /** Folder of this recovery alone; exists. */
  readonly folder: string;
  /** Segments at once. */
  readonly concurrency: number;
  /** Bytes that may lie in the folder or be on their way into it, asked at each use. */
  readonly bytes: () => number;
  /** Puts a whole, verified segment of the archive at `path`; false when there is none. */
  readonly fetch: (name: string, path: string, signal: AbortSignal) => Promise<boolean>;
}

interface Held {
  readonly path: string;
  /** Whether the file is there. Never rejects. */
  readonly there: Promise<boolean>;
}

/**
 * Fetches ahead of a recovery that asks for one segment after the other. A request that goes back, jumps or is of another timeline drops
 * everything: pg_rewind reads backwards. That a segment is not there is not remembered.
 */
export class Prefetch {
  readonly #options: PrefetchOptions;
  readonly #held = new Map<string, Held>();
  #last: Segment | undefined;
  #size: number | undefined;
  #forward = false;
  #running = 0;
  /** Ends what is under way when everything is dropped. */
  #control = new AbortController();
  #files = 0;

  constructor(options: PrefetchOptions) {
    this.#options = options;
  }

  /** Notes what is asked for, and gives the path of the segment, which is the caller's from then on; undefined when it is not held. */
  async take(file: Segment, signal: AbortSignal): Promise<string | undefined> {
    const again = this.#last?.name === file.name;
    const next = this.#last !== undefined && this.#follows(this.#last, file);
    if (!again && !next) this.drop();
    if (!again) this.#forward = next;
    this.#last = file;
    const held = this.#held.get(file.name);
    if (held === undefined) return undefined;
    const there = await unlessAborted(signal, held.there, `fetching ${file.name} was cancelled`);
    if (this.#held.get(file.name) !== held) return undefined; // dropped meanwhile
    this.#held.delete(file.name);
    return there ? held.path : undefined;
  }

  /** A segment of this recovery lies at `path`: what comes behind it is fetched, if the recovery goes forward. */
  async advance(file: Segment, path: string): Promise<void> {
    this.#size = (await stat(path)).size;
    if (this.#forward && this.#last?.name === file.name) this.#fill(file, this.#size);
  }

  #follows(last: Segment, file: Segment): boolean {
    const size = this.#size;
    if (size === undefined || last.timeline !== file.timeline) return false;
    return segmentNumberOf(file, size) === segmentNumberOf(last, size) + 1n;
  }

  #fill(file: Segment, size: number): void {
    const { bytes, concurrency } = this.#options;
    const most = Math.floor(bytes() / size);
    const number = segmentNumberOf(file, size);
    for (let ahead = 1; ahead <= most; ahead++) {
      const name = segmentName(file.timeline, number + BigInt(ahead), size);
      if (this.#held.has(name)) continue;
      if (this.#running >= concurrency) return;
      this.#begin(name);
    }
  }

  #begin(name: string): void {
    const { signal } = this.#control;
    const path = join(this.#options.folder, `${name}.${++this.#files}`);
    this.#running++;
    const there = this.#fetch(name, path, signal);
    this.#held.set(name, { path, there });
  }

  /** A failure is for the request that asks for the file itself: it looks again, and has words for it. */
  async #fetch(name: string, path: string, signal: AbortSignal): Promise<boolean> {
    const found = await this.#options.fetch(name, path, signal).catch(() => false);
    this.#running--;
    if (signal.aborted) {
      rmSync(path, { force: true });
      return false;
    }
    // What is not there now may be a moment later, so that it is not remembered.
    if (!found) this.#held.delete(name);
    else if (this.#forward && this.#last !== undefined && this.#size !== undefined) this.#fill(this.#last, this.#size);
    return found;
  }

  /** Ends what is under way and deletes what is held. */
  drop(): void {
    this.#control.abort();
    this.#control = new AbortController();
    for (const { path } of this.#held.values()) rmSync(path, { force: true });
    this.#held.clear();
    this.#forward = false;
  }
}
