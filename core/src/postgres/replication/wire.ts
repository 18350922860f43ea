/**
 * The socket of a replication connection after the login.
 *
 * `pg` connects and authenticates; then its listener is taken off the socket. CopyData goes from the read buffer straight to the
 * running exchange, every other message through `pg-protocol`'s parser.
 */
import { writeSync } from 'node:fs';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { serialize } from 'pg-protocol';
import type {
  BackendMessage,
  DatabaseError,
  NoticeMessage,
  ParameterStatusMessage,
} from 'pg-protocol/dist/messages.js';
import { Parser } from 'pg-protocol/dist/parser.js';
import { ArchiveError, errnoOf, isArchiveError } from '../../contracts/errors.ts';
import type { Session } from '../login.ts';
import { serverError } from '../server-error.ts';
import { MessageSplitter, type MessageSink } from './message-splitter.ts';

/** One command and its replies. Exactly one exchange owns the connection at a time. */
export interface Exchange {
  /** Called for each message but CopyData; an exception of it ends the connection with that exception. */
  message(message: BackendMessage): void;
  /** Part of a CopyData payload, as {@link MessageSink} says; without this method CopyData is a protocol error. */
  copyData?(fragment: Buffer, offset: number, length: number): void;
  notice?(notice: NoticeMessage): void;
  /** The socket has no more bytes for now. */
  drained?(): void;
  /** The connection ended before the exchange did. */
  lost(error: unknown): void;
}

/** How long a lost peer may keep {@link Wire.close} waiting, milliseconds. */
const CLOSE_TIMEOUT = 1000;
/** Idle time before TCP probes a silent peer, milliseconds; the probes follow each second, ten of them (libuv). */
const KEEPALIVE_DELAY = 10_000;

export class Wire implements MessageSink {
  readonly host: string;
  readonly parameters: ReadonlyMap<string, string>;
  readonly #socket: Socket;
  readonly #parser = new Parser();
  readonly #splitter = new MessageSplitter(this);
  readonly #parameters: Map<string, string>;
  readonly #signal: AbortSignal | undefined;
  readonly #encrypted: boolean;
  #exchange: Exchange | undefined;
  #failure: unknown;
  /** Why the connection is about to end: the last words of the server while no command ran, or this side's goodbye. */
  #parting: ArchiveError | undefined;
  #drainPending = false;
  #active = false;
  #capture: Buffer[] | undefined;

  /** Takes the socket over from `pg`. A fired `signal` cuts the connection at once. */
  constructor(session: Session, signal: AbortSignal | undefined) {
    this.host = session.host;
    this.#parameters = session.parameters;
    this.parameters = session.parameters;
    this.#socket = session.socket;
    this.#signal = signal;
    this.#encrypted = session.socket instanceof TLSSocket;
    session.read(this.#onData);
    this.#socket.on('error', (error) => {
      this.fail(this.#parting ?? this.#lostError(error));
    });
    this.#socket.on('close', () => {
      this.fail(this.#parting ?? this.#lostError());
    });
    this.#socket.setKeepAlive(true, KEEPALIVE_DELAY);
    this.#socket.setNoDelay(true);
    if (signal?.aborted) this.#onAbort();
    else signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  /** Sends a command. Throws what ended the connection, or `INTERNAL` while another exchange runs. */
  begin(command: string, exchange: Exchange): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#exchange !== undefined) {
      throw new ArchiveError('INTERNAL', `the replication connection to ${this.host} is busy with another command`);
    }
    this.#exchange = exchange;
    this.#socket.write(serialize.query(command));
  }

  /** Ends the present exchange: the connection is ready for the next command. */
  end(): void {
    this.#exchange = undefined;
  }

  write(bytes: Uint8Array): void {
    if (this.#failure === undefined) this.#socket.write(bytes);
  }

  /**
   * Sends a short message at once, past the machinery of a stream: a commit waits for it. The bytes may change afterwards.
   * What the system does not take goes the usual way.
   */
  writeNow(bytes: Uint8Array): void {
    if (this.#failure !== undefined) return;
    const fd = this.#encrypted || this.#socket.writableLength > 0 ? undefined : fdOf(this.#socket);
    const sent = fd === undefined ? 0 : trySend(fd, bytes);
    if (sent < bytes.byteLength) this.#socket.write(Uint8Array.prototype.slice.call(bytes, sent));
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Whether bytes came since the last time this was asked. */
  takeActivity(): boolean {
    const active = this.#active;
    this.#active = false;
    return active;
  }

  /** From now on keeps a copy of every byte received; gives the copies of the last time and stops when called with false. */
  capture(on: boolean): Buffer {
    const bytes = Buffer.concat(this.#capture ?? []);
    this.#capture = on ? [] : undefined;
    return bytes;
  }

  /** Ends the connection at once; the running exchange is told `reason`. The first reason stays. */
  fail(reason: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = reason;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    this.#socket.destroy();
    const exchange = this.#exchange;
    this.#exchange = undefined;
    exchange?.lost(reason);
  }

  /** Says goodbye and waits until the server has closed the connection, at most a second. Never throws. */
  async close(): Promise<void> {
    if (this.#failure !== undefined) return;
    const closed = new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, CLOSE_TIMEOUT);
      this.#socket.once('close', () => {
        clearTimeout(timer);
        resolve();
      });
    });
    this.#parting = new ArchiveError('ABORTED', `the replication connection to ${this.host} was closed by this side`);
    this.#socket.resume();
    this.#socket.end(serialize.end());
    await closed;
    this.fail(this.#parting);
  }

  /** The error of a server that speaks out of turn. */
  protocolError(what: string): ArchiveError {
    return new ArchiveError('STREAM_PROTOCOL', `${this.host} sent ${what}`);
  }

  readonly #onAbort = (): void => {
    const cause: unknown = this.#signal?.reason;
    this.fail(new ArchiveError('ABORTED', `the replication connection to ${this.host} was cancelled`, { cause }));
  };

  readonly #onData = (bytes: Buffer, last?: boolean): void => {
    this.#active = true;
    try {
      this.#splitter.push(bytes);
    } catch (error) {
      this.fail(error);
      return;
    }
    if (this.#exchange?.drained === undefined) return;
    if (last === true) {
      this.#onDrained();
    } else if (last === undefined && !this.#drainPending) {
      // The check phase follows the poll phase: one call for all data events of one poll.
      this.#drainPending = true;
      setImmediate(this.#onDrained);
    }
  };

  readonly #onDrained = (): void => {
    this.#drainPending = false;
    try {
      this.#exchange?.drained?.();
    } catch (error) {
      this.fail(error);
    }
  };

  message(bytes: Buffer): void {
    this.#capture?.push(Buffer.from(bytes));
    this.#parser.parse(bytes, this.#onMessage);
  }

  copyData(fragment: Buffer, offset: number, length: number): void {
    if (this.#failure !== undefined) return;
    if (this.#exchange?.copyData === undefined) throw this.protocolError('an unexpected "copyData"');
    this.#exchange.copyData(fragment, offset, length);
  }

  readonly #onMessage = (message: BackendMessage): void => {
    if (this.#failure !== undefined) return;
    switch (message.name) {
      case 'parameterStatus': {
        const { parameterName, parameterValue } = message as ParameterStatusMessage;
        this.#parameters.set(parameterName, parameterValue);
        return;
      }
      case 'notice':
        this.#exchange?.notice?.(message as NoticeMessage);
        return;
      case 'error': {
        const error = message as BackendMessage & DatabaseError;
        // The parser reports message types it does not know as an error without SQLSTATE.
        if (error.code === undefined) throw this.protocolError(`a message of an unknown kind: ${error.message}`);
        if (this.#exchange === undefined) this.#parting = serverError(error, { host: this.host });
        break;
      }
      default:
        if (this.#exchange === undefined) throw this.protocolError(`an unexpected "${message.name}"`);
    }
    this.#exchange?.message(message);
  };

  #lostError(cause?: unknown): ArchiveError {
    if (isArchiveError(cause)) return cause;
    const text = cause instanceof Error ? `: ${cause.message}` : '';
    return new ArchiveError('SERVER_UNREACHABLE', `the connection to ${this.host} was lost${text}`, { cause });
  }
}

/** The descriptor of a socket, which Node keeps to itself; undefined where there is none. */
function fdOf(socket: Socket): number | undefined {
  const fd = (socket as unknown as { readonly _handle?: { readonly fd?: number } | null })._handle?.fd;
  return fd !== undefined && fd >= 0 ? fd : undefined;
}

/** How many bytes the system took; none when the socket is full. */
function trySend(fd: number, bytes: Uint8Array): number {
  try {
    return writeSync(fd, bytes);
  } catch (error) {
    if (errnoOf(error) === 'EAGAIN') return 0;
    // The peer is gone. A stream would be destroyed now, with what the peer said last still unread: reading tells of both, in order.
    return bytes.byteLength;
  }
}
