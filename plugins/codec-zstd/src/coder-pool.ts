import type { FrameCoder } from './frame-coder.ts';
import { OutputMemory } from './output-memory.ts';

/** Milliseconds after the last frame: a WAL segment is one object, and the next one may come at once. */
const LINGER = 5000;

/**
 * Coders of one kind and the memory that they fill, used again from frame to frame and from object to object: a new one costs some MiB that
 * the kernel has to clear, and brings the collector.
 */
export class CoderPool {
  readonly #make: () => FrameCoder;
  readonly #idle: FrameCoder[] = [];
  readonly #memory = new OutputMemory();
  #linger: NodeJS.Timeout | undefined;

  constructor(make: () => FrameCoder) {
    this.#make = make;
  }

  /** What comes of the bytes, as a leased chunk. `size`: the bytes of memory to begin with, which it should fit into. */
  async run(bytes: Uint8Array, size: number): Promise<Uint8Array> {
    const coder = this.#idle.pop() ?? this.#make();
    let made: Uint8Array;
    try {
      made = await coder.run(bytes, size, this.#memory);
    } catch (error) {
      coder.close();
      throw error;
    }
    this.#idle.push(coder);
    if (this.#linger === undefined) this.#linger = setTimeout(() => this.#clear(), LINGER).unref();
    else this.#linger.refresh();
    return made;
  }

  /** Those at work come back later, and begin a new time. */
  #clear(): void {
    this.#linger = undefined;
    for (const coder of this.#idle.splice(0)) coder.close();
    this.#memory.clear();
  }
}
