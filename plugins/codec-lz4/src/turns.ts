import { throwIfAborted } from '@pgark/sdk';
import { setImmediate } from 'node:timers/promises';

/** Bytes of work between two turns: one or two milliseconds. */
const ENOUGH: number = 1024 * 1024;

/** A step without any bytes takes as long as this many of them. */
const STEP = 1024;

/**
 * Gives everything else its turn while one stream is worked on: a source in memory and a fast reader would keep the thread to themselves
 * up to the end, and no abort would come through.
 */
export class Turns {
  readonly #signal: AbortSignal | undefined;
  readonly #what: string;
  #work = 0;

  /** `what`: what is being done, for the message of `ABORTED`. */
  constructor(signal: AbortSignal | undefined, what: string) {
    this.#signal = signal;
    this.#what = what;
  }

  /** Counts one step of work on so many bytes; whether {@link take} is due. */
  due(bytes: number): boolean {
    this.#work += STEP + bytes;
    return this.#work >= ENOUGH;
  }

  /** Waits for one turn of the event loop. `ABORTED`. */
  async take(): Promise<void> {
    this.#work = 0;
    await setImmediate();
    throwIfAborted(this.#signal, this.#what);
  }
}
