/** START_REPLICATION: the COPY-both stream of WAL, its status updates and its ends. */
import { serialize, type DatabaseError } from 'pg-protocol';
import type { BackendMessage, DataRowMessage } from 'pg-protocol/dist/messages.js';
import { ArchiveError } from '../../contracts/errors.ts';
import { formatLsn, parseLsn } from '../lsn.ts';
import { serverError } from '../server-error.ts';
import type { Exchange, Wire } from './wire.ts';

export interface StartPosition {
  readonly slot?: string;
  readonly lsn: bigint;
  readonly timeline: number;
}

/** Receives the stream. Called synchronously; an exception ends the connection, and `ended` rejects with it. */
export interface WalHandlers {
  /**
   * WAL from `start` on. `walEnd` is how far the server's WAL goes at present, not the end of the chunk. The chunk is a view that is valid
   * only during the call, holds at most 128 kB, and may cross a segment border.
   */
  data(start: bigint, walEnd: bigint, chunk: Uint8Array): void;
  /** `sentAt` is the server's clock, epoch ms. */
  keepalive(walEnd: bigint, replyRequested: boolean, sentAt: number): void;
  /** The socket has no more bytes for now: called once after all messages of one poll. Time to flush. */
  drained(): void;
}

/** How a stream ends when nothing failed. After `server-shutdown` the connection is gone, otherwise it takes the next command. */
export type WalStreamEnd =
  | { readonly reason: 'stopped' | 'server-shutdown' }
  | { readonly reason: 'timeline-end'; readonly nextTimeline: number; readonly nextStart: bigint };

/** A running stream. */
export interface WalStream {
  /** Reports positions, each the last byte + 1. Apply is always reported as invalid (0). Does nothing once the stream has ended. */
  status(
    position: { readonly write: bigint; readonly flush: bigint },
    options?: { readonly requestReply?: boolean },
  ): void;
  /** Asks the server to end the stream. From this call on no handler is called: WAL that is under way is not handed over. */
  stop(): void;
  /**
   * Rejects with `WAL_GAP` (the WAL is no longer there), `SLOT_MISSING`, `SLOT_BUSY`, `SLOT_INVALIDATED`, `TIMELINE_DIVERGED` (position or timeline
   * is not in the server's history, or ahead of the server), `SERVER_UNREACHABLE` (connection lost, or silent for the timeout), `STREAM_PROTOCOL`,
   * `ABORTED`, or what a handler threw.
   */
  readonly ended: Promise<WalStreamEnd>;
}

/** Microseconds from 1970 to 2000, where PostgreSQL's clock begins. */
const EPOCH = 946_684_800_000_000n;
const XLOG_DATA = 0x77; // 'w'
const KEEPALIVE = 0x6b; // 'k'
const WAL_HEADER = 25;
const KEEPALIVE_LENGTH = 18;
const STATUS_LENGTH = 39;
const CHECKS = 4;

type Phase = 'starting' | 'streaming' | 'result';

class Stream implements WalStream, Exchange {
  readonly ended: Promise<WalStreamEnd>;
  readonly #wire: Wire;
  readonly #handlers: WalHandlers;
  readonly #slot: string | undefined;
  readonly #timeout: number;
  readonly #watchdog: NodeJS.Timeout;
  #resolve: (end: WalStreamEnd) => void = () => undefined;
  #reject: (error: unknown) => void = () => undefined;
  #phase: Phase = 'starting';
  #over = false;
  #stopping = false;
  #doneSent = false;
  #shutdown = false;
  #failure: ArchiveError | undefined;
  #next: { readonly timeline: number; readonly start: bigint } | undefined;
  #position = { write: 0n, flush: 0n };
  /** A standby status update in CopyData, filled anew for each report; its apply position stays 0. */
  readonly #status = Buffer.from([0x64, 0, 0, 0, STATUS_LENGTH - 1, 0x72, ...new Uint8Array(STATUS_LENGTH - 6)]);
  #silentChecks = 0;
  /** Of the WAL message under way: its first position, and the end of the server's WAL. */
  #start = 0n;
  #walEnd = 0n;

  constructor(wire: Wire, position: StartPosition, handlers: WalHandlers, timeout: number) {
    this.#wire = wire;
    this.#handlers = handlers;
    this.#slot = position.slot;
    this.#timeout = timeout;
    this.ended = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.ended.catch(() => undefined); // a caller may look at it later than it rejects
    this.#watchdog = setInterval(() => {
      this.#check();
    }, timeout / CHECKS);
    const slot = position.slot === undefined ? '' : `SLOT "${position.slot}" `;
    try {
      wire.begin(`START_REPLICATION ${slot}PHYSICAL ${formatLsn(position.lsn)} TIMELINE ${position.timeline}`, this);
    } catch (error) {
      this.lost(error);
    }
  }

  status(
    position: { readonly write: bigint; readonly flush: bigint },
    options: { readonly requestReply?: boolean } = {},
  ): void {
    this.#position = position;
    if (this.#phase !== 'streaming' || this.#doneSent || this.#over) return;
    const message = this.#status;
    message.writeBigUInt64BE(position.write, 6);
    message.writeBigUInt64BE(position.flush, 14);
    message.writeBigInt64BE(BigInt(Date.now()) * 1000n - EPOCH, 30);
    message[38] = options.requestReply === true ? 1 : 0;
    this.#wire.writeNow(message);
  }

  stop(): void {
    if (this.#over || this.#stopping) return;
    this.#stopping = true;
    if (this.#phase === 'streaming') this.#sendDone();
  }

  message(message: BackendMessage): void {
    switch (message.name) {
      case 'replicationStart':
        if (this.#phase !== 'starting') throw this.#unexpected(message);
        this.#phase = 'streaming';
        if (this.#stopping) this.#sendDone();
        return;
      case 'copyDone':
        if (this.#phase !== 'streaming') throw this.#unexpected(message);
        this.#sendDone();
        this.#phase = 'result';
        return;
      case 'rowDescription':
        // Without a COPY: the requested start is where the timeline ends.
        if (this.#phase === 'streaming') throw this.#unexpected(message);
        this.#phase = 'result';
        return;
      case 'dataRow': {
        const [timeline, start] = (message as DataRowMessage).fields as (string | null)[];
        if (this.#phase !== 'result' || timeline == null || start == null) throw this.#unexpected(message);
        this.#next = { timeline: Number(timeline), start: parseLsn(start) };
        return;
      }
      case 'commandComplete':
        // A server that shuts down ends the command without ending the COPY, then closes the connection.
        if (this.#phase === 'streaming') this.#shutdown = true;
        return;
      case 'error':
        this.#failure = serverError(message as BackendMessage & DatabaseError, {
          host: this.#wire.host,
          streaming: true,
          ...(this.#slot !== undefined && { slot: this.#slot }),
        });
        return;
      case 'readyForQuery':
        this.#finish();
        return;
      default:
        throw this.#unexpected(message);
    }
  }

  drained(): void {
    if (this.#phase === 'streaming' && !this.#stopping) this.#handlers.drained();
  }

  lost(error: unknown): void {
    this.#end();
    if (this.#failure !== undefined) this.#reject(this.#failure);
    else if (this.#shutdown) this.#resolve({ reason: this.#stopping ? 'stopped' : 'server-shutdown' });
    else this.#reject(error);
  }

  copyData(fragment: Buffer, offset: number, length: number): void {
    if (this.#phase !== 'streaming') throw this.#wire.protocolError('WAL outside of a stream');
    if (this.#stopping) return;
    if (offset > 0) {
      // A long message in several reads: only WAL is that long.
      this.#handlers.data(this.#start + BigInt(offset - WAL_HEADER), this.#walEnd, fragment);
      return;
    }
    const kind = fragment[0];
    if (kind === XLOG_DATA && length >= WAL_HEADER) {
      this.#start = fragment.readBigUInt64BE(1);
      this.#walEnd = fragment.readBigUInt64BE(9);
      this.#handlers.data(this.#start, this.#walEnd, fragment.subarray(WAL_HEADER));
    } else if (kind === KEEPALIVE && length >= KEEPALIVE_LENGTH && fragment.length === length) {
      const sentAt = Number((fragment.readBigInt64BE(9) + EPOCH) / 1000n);
      this.#handlers.keepalive(fragment.readBigUInt64BE(1), fragment[17] !== 0, sentAt);
    } else {
      throw this.#wire.protocolError(`a replication message of unknown kind ${String(kind)}, ${length} bytes`);
    }
  }

  #sendDone(): void {
    if (this.#doneSent) return;
    this.#doneSent = true;
    this.#wire.write(serialize.copyDone());
  }

  #finish(): void {
    this.#end();
    this.#wire.end();
    if (this.#failure !== undefined) this.#reject(this.#failure);
    else if (this.#stopping) this.#resolve({ reason: 'stopped' });
    else if (this.#next !== undefined) {
      this.#resolve({ reason: 'timeline-end', nextTimeline: this.#next.timeline, nextStart: this.#next.start });
    } else this.#reject(this.#wire.protocolError('the end of the WAL stream without a next timeline'));
  }

  #end(): void {
    this.#over = true;
    clearInterval(this.#watchdog);
  }

  /** Four checks make the timeout: the second silent one asks for a reply, the fourth gives up. No clock is read per message. */
  #check(): void {
    this.#silentChecks = this.#wire.takeActivity() ? 0 : this.#silentChecks + 1;
    if (this.#silentChecks === CHECKS / 2) this.status(this.#position, { requestReply: true });
    if (this.#silentChecks < CHECKS) return;
    this.#wire.fail(
      new ArchiveError(
        'SERVER_UNREACHABLE',
        `${this.#wire.host} sent nothing for ${this.#timeout} ms, not even a reply`,
      ),
    );
  }

  #unexpected(message: BackendMessage): ArchiveError {
    return this.#wire.protocolError(`an unexpected "${message.name}" while ${this.#phase} replication`);
  }
}

/** Sends START_REPLICATION. */
export function startWalStream(wire: Wire, position: StartPosition, handlers: WalHandlers, timeout: number): WalStream {
  return new Stream(wire, position, handlers, timeout);
}
