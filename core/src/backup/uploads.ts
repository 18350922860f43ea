import { ByteQueue } from '../pipeline/queue.ts';
import type { BackupObject } from '../repository/backup-record.ts';

/** Objects that may be on their way at once: one is filled while the one before is finished. */
const AT_ONCE = 2;

export interface UploadsOptions {
  /** Stores one object; `name` without suffixes of codecs. */
  put(
    name: string,
    source: AsyncIterable<Uint8Array>,
    onBytes: (plain: number, stored: number) => void,
  ): Promise<BackupObject>;
  /** An object could not be stored. Called once. */
  onFailure(error: unknown): void;
}

/** Objects of a backup on their way into the storage, each fed by a {@link ByteQueue}; one is filled at a time. */
export class Uploads {
  readonly #options: UploadsOptions;
  readonly #active = new Map<ByteQueue, Promise<void>>();
  readonly #done = new Map<string, BackupObject>();
  #current: ByteQueue | undefined;
  #failure: { readonly error: unknown } | undefined;
  #given: { readonly error: unknown } | undefined;
  #stored = 0;

  constructor(options: UploadsOptions) {
    this.#options = options;
  }

  /** Bytes that went to the storage so far. */
  get storedBytes(): number {
    return this.#stored;
  }

  /** Begins an object. Throws what made an earlier one fail. */
  begin(name: string): ByteQueue {
    if (this.#failure !== undefined) throw this.#failure.error;
    const queue = new ByteQueue();
    this.#current = queue;
    this.#active.set(queue, this.#run(name, queue));
    return queue;
  }

  async #run(name: string, queue: ByteQueue): Promise<void> {
    let before = 0;
    try {
      const object = await this.#options.put(name, queue, (_plain, stored) => {
        this.#stored += stored - before;
        before = stored;
      });
      this.#done.set(name, object);
    } catch (error) {
      // What was given to `fail` comes back from every object: it is not the cause.
      if (this.#failure === undefined && error !== this.#given?.error) {
        this.#failure = { error };
        this.#options.onFailure(error);
      }
    } finally {
      this.#active.delete(queue);
    }
  }

  /** What to wait for before more is written. Throws what made an object fail. */
  pressure(): Promise<void> | undefined {
    if (this.#failure !== undefined) throw this.#failure.error;
    if (this.#active.size > AT_ONCE) return Promise.race(this.#active.values());
    return this.#current?.pressure();
  }

  /** Waits until everything begun is stored, and gives it by name. Throws what made an object fail. */
  async finish(): Promise<ReadonlyMap<string, BackupObject>> {
    await Promise.all(this.#active.values());
    if (this.#failure !== undefined) throw this.#failure.error;
    return this.#done;
  }

  /**
   * Gives up: objects that are not whole fail with this error and never become visible. Waits until nothing is written any more,
   * and gives the error to report: that of an object that failed by itself, else this one.
   */
  async fail(reason: unknown): Promise<unknown> {
    this.#given = { error: reason };
    for (const queue of this.#active.keys()) queue.fail(reason);
    await Promise.all(this.#active.values());
    return this.#failure === undefined ? reason : this.#failure.error;
  }
}
