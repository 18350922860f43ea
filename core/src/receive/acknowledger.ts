/** What is reported to the server, and when. Pure but for the timer of a postponed answer. */

/** How positions reach the server. */
export type SendStatus = (position: { readonly write: bigint; readonly flush: bigint }, requestReply: boolean) => void;

export interface AcknowledgerOptions {
  /** `local`: durable here is flushed. `remote`: only what {@link Acknowledger.confirm} was told of is. */
  readonly policy: 'local' | 'remote';
  readonly send: SendStatus;
  /** The position before which everything is durable in the spool or the archive. */
  readonly floor: bigint;
  /** The position before which the storage has confirmed everything. */
  readonly confirmed: bigint;
  /** Milliseconds. A monotonic clock; default `performance.now`. */
  readonly now?: () => number;
}

/**
 * The shortest time between two reports of one position, milliseconds. A server that shuts down answers each report with a
 * request for the next one (H-03); one that checks whether this side is alive waits far longer for its answer.
 */
export const REPEAT_AFTER = 500;

/**
 * Reports positions of one stream. Both only ever grow; a new position is reported at once, the same one when the server
 * asks for it, and not more often than {@link REPEAT_AFTER}.
 */
export class Acknowledger {
  readonly #options: AcknowledgerOptions;
  readonly #now: () => number;
  #write: bigint;
  #durable: bigint;
  #confirmed: bigint;
  #reported: { readonly write: bigint; readonly flush: bigint } | undefined;
  #reportedAt = -Infinity;
  #postponed: NodeJS.Timeout | undefined;

  constructor(options: AcknowledgerOptions) {
    this.#options = options;
    this.#now = options.now ?? ((): number => performance.now());
    this.#write = options.floor;
    this.#durable = options.floor;
    this.#confirmed = options.confirmed;
  }

  /** What counts as flushed. */
  get flushed(): bigint {
    return this.#options.policy === 'local' ? this.#durable : min(this.#confirmed, this.#durable);
  }

  /** WAL up to here is durable in the spool. */
  durable(lsn: bigint): void {
    if (lsn <= this.#durable) return;
    this.#durable = lsn;
    this.#write = lsn;
    this.#report(false);
  }

  /** The storage has confirmed WAL up to here. */
  confirm(lsn: bigint): void {
    if (lsn <= this.#confirmed) return;
    this.#confirmed = lsn;
    if (this.#options.policy === 'remote') this.#report(false);
  }

  /** The server asks for a report. What can be made durable at once has been. */
  requested(): void {
    if (this.#report(false)) return;
    const wait = this.#reportedAt + REPEAT_AFTER - this.#now();
    if (wait <= 0) this.#repeat();
    else {
      this.#postponed ??= setTimeout(() => {
        this.#repeat();
      }, wait);
    }
  }

  /** Time for a periodic report. */
  tick(requestReply = false): void {
    this.#send(requestReply);
  }

  /** Ends postponed answers. */
  close(): void {
    clearTimeout(this.#postponed);
    this.#postponed = undefined;
  }

  #repeat(): void {
    this.#send(false);
  }

  /** Reports unless it would say the same again. */
  #report(requestReply: boolean): boolean {
    const known = this.#reported;
    if (known?.write === this.#write && known.flush === this.flushed) return false;
    this.#send(requestReply);
    return true;
  }

  #send(requestReply: boolean): void {
    this.close();
    const position = { write: this.#write, flush: this.flushed };
    this.#reported = position;
    this.#reportedAt = this.#now();
    this.#options.send(position, requestReply);
  }
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
