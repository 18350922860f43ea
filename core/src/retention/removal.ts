/** Removing many objects, and counting what came of it. */
import type { CallOptions, ObjectInfo } from '../contracts/storage.ts';
import { signalOf } from '../repository/objects.ts';
import type { Repository } from '../repository/repository.ts';

/** Keys in one call: what S3 takes at most. */
const BATCH = 1000;

/** What a run has done so far. */
export interface RemovalCount {
  readonly objects: number;
  readonly bytes: number;
  /** Keys that the storage holds under a lock: a later run removes them. */
  readonly retained: readonly string[];
}

export interface RemovalOptions extends CallOptions {
  /** Called before each call that removes anything; what it throws ends the run. */
  readonly check: () => void;
  readonly onProgress?: (done: RemovalCount) => void;
}

export class Removal {
  readonly #repository: Repository;
  readonly #options: RemovalOptions;
  #objects = 0;
  #bytes = 0;
  readonly #retained: string[] = [];

  constructor(repository: Repository, options: RemovalOptions) {
    this.#repository = repository;
    this.#options = options;
  }

  get count(): RemovalCount {
    return { objects: this.#objects, bytes: this.#bytes, retained: this.#retained };
  }

  /** Removes these objects in their order; gives the keys that are under a lock. */
  async remove(objects: readonly Pick<ObjectInfo, 'key' | 'size'>[]): Promise<ReadonlySet<string>> {
    const locked = new Set<string>();
    for (let from = 0; from < objects.length; from += BATCH) {
      const batch = objects.slice(from, from + BATCH);
      this.#options.check();
      const keys = batch.map(({ key }) => key);
      const { retained } = await this.#repository.storage.remove(keys, signalOf(this.#options));
      for (const key of retained) locked.add(key);
      for (const { key, size } of batch) {
        if (locked.has(key)) continue;
        this.#objects += 1;
        this.#bytes += size;
      }
      this.#retained.push(...retained);
      this.#options.onProgress?.(this.count);
    }
    return locked;
  }

  /** Removes what `choose` takes of a listing, which may be long; gives whether anything of it is still there. */
  async removeFrom<Item extends Pick<ObjectInfo, 'key' | 'size'>>(
    list: (after: string | undefined) => AsyncIterable<Item>,
    choose: (item: Item) => boolean,
  ): Promise<boolean> {
    let isLeft = false;
    let after: string | undefined;
    for (;;) {
      const batch: Item[] = [];
      let more = false;
      // A listing is not read on while objects are removed: it is begun anew behind the last one.
      for await (const item of list(after)) {
        after = item.key;
        if (choose(item)) batch.push(item);
        else isLeft = true;
        more = batch.length >= BATCH;
        if (more) break;
      }
      if ((await this.remove(batch)).size > 0) isLeft = true;
      if (!more) return isLeft;
    }
  }
}
