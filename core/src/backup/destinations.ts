import { isArchiveError } from '../contracts/errors.ts';
import type { Logger } from '../contracts/plugin.ts';
import { releaseChunk } from '../contracts/lease.ts';
import type { BlockSink } from '../pipeline/hasher.ts';
import type { ByteQueue } from '../pipeline/queue.ts';
import type { BackupObject } from '../repository/backup-record.ts';
import type { Repository } from '../repository/repository.ts';
import type { ObjectSink } from './transfer.ts';
import { Uploads } from './uploads.ts';

/** A repository that a backup goes to. */
export interface Destination {
  readonly repository: Repository;
  readonly uploads: Uploads;
  /** Why it does not get the backup. */
  readonly failure: { readonly error: unknown } | undefined;
}

export interface DestinationsOptions {
  /** Stores one object in one of the repositories; `name` without suffixes of codecs. */
  put(
    repository: Repository,
    name: string,
    source: AsyncIterable<Uint8Array>,
    onBytes: (plain: number, stored: number) => void,
  ): Promise<BackupObject>;
  /** The last repository could not store an object: there is nothing left to read for. */
  onNoneLeft(): void;
  readonly logger: Logger;
  readonly signal?: AbortSignal;
}

type State = { -readonly [Key in keyof Destination]: Destination[Key] } & {
  /** Settles when nothing is written there any more; set when it is given up. */
  ended?: Promise<unknown>;
};

/**
 * The repositories of one backup: what is read once goes to all of them at the same time. One that fails is given up, keeps what it has
 * as an incomplete backup, and never holds up the others; only the last one that fails makes the backup fail.
 *
 * Each has {@link Uploads} of its own, and so a copy of the bytes of its own. A copy takes about 0.06 s a gigabyte, next to nothing beside
 * compressing and storing it; blocks shared by readers of different speed would have to be counted, and held until the slowest is done.
 * Memory is bounded, as the slowest repository that still works is waited for. One repository gets the bytes without anything in between.
 */
export class Destinations implements ObjectSink {
  readonly #options: DestinationsOptions;
  readonly #all: readonly State[];
  #live: readonly State[];
  #wake: () => void = () => undefined;

  constructor(repositories: readonly Repository[], options: DestinationsOptions) {
    this.#options = options;
    this.#all = repositories.map((repository) => {
      const state: State = {
        repository,
        failure: undefined,
        uploads: new Uploads({
          put: (name, source, onBytes) => options.put(repository, name, source, onBytes),
          onFailure: (error) => {
            this.#drop(state, error);
            if (this.#live.length === 0) options.onNoneLeft();
          },
        }),
      };
      return state;
    });
    this.#live = this.#all;
  }

  /** In the order given. */
  get all(): readonly Destination[] {
    return this.#all;
  }

  /** Those that have not failed, in the order given. */
  get live(): readonly Destination[] {
    return this.#live;
  }

  /** Bytes of parts and manifests that went to all the storages together. */
  get storedBytes(): number {
    return this.#all.reduce((sum, { uploads }) => sum + uploads.storedBytes, 0);
  }

  /** Does something with each repository that has not failed, all at once. Gives up those where it fails; throws when none is left. */
  async each(work: (destination: Destination) => Promise<void>): Promise<void> {
    await Promise.all(
      this.#live.map(async (state) => {
        try {
          await work(state);
        } catch (error) {
          this.#drop(state, error);
        }
      }),
    );
    if (this.#live.length > 0) return;
    await this.settled();
    throw this.#firstFailure();
  }

  begin(name: string): BlockSink {
    if (this.#live.length === 0) throw this.#firstFailure();
    const lanes = this.#live.map((state) => ({ state, queue: state.uploads.begin(name) }));
    const [first] = lanes;
    return first !== undefined && lanes.length === 1 ? first.queue : this.#fanOut(lanes);
  }

  #fanOut(begun: readonly { readonly state: State; readonly queue: ByteQueue }[]): BlockSink {
    let lanes = begun;
    const write = (chunk: Uint8Array): void => {
      for (const lane of lanes) {
        try {
          lane.queue.write(chunk);
        } catch (error) {
          lanes = lanes.filter((other) => other !== lane);
          this.#left(lane.state, error);
          if (this.#live.length === 0) throw error;
        }
      }
    };
    return {
      write,
      give: (block) => {
        write(block);
        releaseChunk(block);
      },
      end: () => {
        for (const { queue } of lanes) queue.end();
      },
      fail: (error) => {
        for (const { queue } of lanes) queue.fail(error);
      },
    };
  }

  /** As long as any repository that works is under pressure: it is the slowest one that is waited for. */
  pressure(): Promise<void> | undefined {
    const [first] = this.#all;
    if (this.#all.length === 1) return first?.uploads.pressure();
    return this.#pressed() === undefined ? undefined : this.#relieved();
  }

  #pressed(): Promise<void> | undefined {
    for (const { uploads } of this.#live) {
      const pressure = uploads.pressure();
      if (pressure !== undefined) return pressure;
    }
    return undefined;
  }

  async #relieved(): Promise<void> {
    // Relief may never come from a repository that is given up meanwhile.
    for (let pressure = this.#pressed(); pressure !== undefined; pressure = this.#pressed())
      await Promise.race([pressure, new Promise<void>((resolve) => (this.#wake = resolve))]);
  }

  /** Gives a repository up that has failed. */
  #drop(state: State, error: unknown): void {
    this.#fail(state, error);
    void this.#leave(state, error);
  }

  /** Gives a repository up whose reader is gone: what made it go is told by the object that it read. */
  #left(state: State, reason: unknown): void {
    void this.#leave(state, reason)?.then((cause) => this.#fail(state, cause));
  }

  #leave(state: State, reason: unknown): Promise<unknown> | undefined {
    if (state.ended !== undefined) return undefined;
    this.#live = this.#live.filter((other) => other !== state);
    state.ended = state.uploads.fail(reason);
    this.#wake();
    return state.ended;
  }

  #fail(state: State, error: unknown): void {
    if (state.failure !== undefined) return;
    state.failure = { error };
    const { logger, signal } = this.#options;
    if (this.#all.length === 1 || signal?.aborted === true) return;
    const { name } = state.repository;
    const message = error instanceof Error ? error.message : String(error);
    logger.warn({ repository: name, error }, `repository ${name} does not get this backup: ${message}`);
  }

  /**
   * Gives all of them up. Waits until nothing is written any more, and gives the error to report: that of the first repository when each
   * has failed by itself, else this one.
   */
  async fail(reason: unknown): Promise<unknown> {
    const causes = this.#live.map(async (state) => {
      const cause = await this.#leave(state, reason);
      if (cause !== reason) this.#fail(state, cause);
    });
    await Promise.all(causes);
    await this.settled();
    return this.#all.every(({ failure }) => failure !== undefined) ? this.#firstFailure() : reason;
  }

  /** Waits until nothing is written any more into those that were given up. */
  async settled(): Promise<void> {
    await Promise.all(this.#all.flatMap(({ ended }) => ended ?? []));
  }

  #firstFailure(): unknown {
    const errors = this.#all.flatMap(({ failure }) => (failure === undefined ? [] : [failure.error]));
    const aborted = this.#options.signal?.aborted === true;
    return (aborted ? errors.find((error) => isArchiveError(error, 'ABORTED')) : undefined) ?? errors[0];
  }
}
