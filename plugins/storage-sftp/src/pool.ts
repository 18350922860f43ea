import { ArchiveError } from '@pgark/sdk';
import type { Connection } from './connection.ts';

/** The right to use a connection until `release`. */
export interface Lease {
  readonly connection: Promise<Connection>;
  release(): void;
}

interface Slot {
  readonly connection: Promise<Connection>;
  calls: number;
}

/**
 * Up to `size` connections, made when they are needed. A call gets the one with the fewest calls, and a new one while all have
 * some and there is room. None waits for another to end, or a listing whose reader gets objects meanwhile would wait for itself.
 */
export class Pool {
  readonly #dial: (ended: () => void) => Promise<Connection>;
  readonly #size: number;
  readonly #slots = new Set<Slot>();
  #closed = false;

  constructor(size: number, dial: (ended: () => void) => Promise<Connection>) {
    this.#size = size;
    this.#dial = dial;
  }

  lease(): Lease {
    const slot = this.#pick();
    slot.calls += 1;
    let released = false;
    return {
      connection: slot.connection,
      release: () => {
        if (!released) slot.calls -= 1;
        released = true;
      },
    };
  }

  #pick(): Slot {
    const [least] = [...this.#slots].sort((left, right) => left.calls - right.calls);
    if (least !== undefined && (least.calls === 0 || this.#slots.size >= this.#size)) return least;
    // A connection that ended is forgotten, so that the next call dials anew (H-54).
    const forget = (): void => {
      this.#slots.delete(slot);
    };
    const slot: Slot = { connection: this.#open(forget), calls: 0 };
    this.#slots.add(slot);
    slot.connection.catch(forget);
    return slot;
  }

  async #open(ended: () => void): Promise<Connection> {
    const connection = await this.#dial(ended);
    if (this.#closed) connection.drop('the storage is closed');
    return connection;
  }

  /** Ends every connection; calls under way fail. */
  async close(): Promise<void> {
    this.#closed = true;
    const connections = [...this.#slots].map((slot) => slot.connection);
    this.#slots.clear();
    for (const connection of connections) {
      // One that is still being made ends by itself, in #open.
      void connection.then(
        (made) => made.drop('the storage is closed'),
        () => undefined,
      );
    }
    await Promise.resolve();
  }
}

/** Waits for `promise`, but no longer than until the signal fires; what it waited for then ends unheard. */
export function unlessAborted<Value>(
  promise: Promise<Value>,
  signal: AbortSignal | undefined,
  what: string,
): Promise<Value> {
  if (signal === undefined) return promise;
  return new Promise<Value>((resolve, reject) => {
    const cancel = (): void => reject(new ArchiveError('ABORTED', `${what} was cancelled`, { cause: signal.reason }));
    if (signal.aborted) cancel();
    signal.addEventListener('abort', cancel, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', cancel));
  });
}
