import type { WalStream } from '../postgres/replication/wal-stream.ts';
import type { Acknowledger } from './acknowledger.ts';
import { asArchiveError } from './messages.ts';

/** A stream that is received, and from where. */
export interface RunningStream {
  /** `db1:5432` */
  readonly host: string;
  readonly stream: WalStream;
  readonly acknowledger: Acknowledger;
  readonly timeline: number;
}

export interface EndStreamOptions {
  /** Makes durable what was received, and tells the acknowledger. */
  readonly sync: () => void;
  readonly onWarning: (message: string) => void;
  /** Fires when the server does not end the stream in time. */
  readonly giveUp: AbortController;
}

/** Milliseconds that a server gets to end a stream in order. */
const STOP_TIMEOUT = 5000;

/** Makes durable and reports what was received, and asks the server to end the stream. */
export function endStream(
  { acknowledger, stream }: RunningStream,
  { sync, onWarning, giveUp }: EndStreamOptions,
): void {
  try {
    sync();
  } catch (error) {
    onWarning(`the last WAL was not made durable: ${asArchiveError(error).message}`);
  }
  acknowledger.tick();
  stream.stop();
  setTimeout(() => giveUp.abort(), STOP_TIMEOUT).unref();
}
