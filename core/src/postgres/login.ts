/** One attempt to log in at one address, with or without TLS, on `pg`'s Client. */
import type { EventEmitter } from 'node:events';
import { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { Client, type ClientConfig } from 'pg';
import type { BackendMessage, ParameterStatusMessage } from 'pg-protocol/dist/messages.js';
import { Parser } from 'pg-protocol/dist/parser.js';
import { ArchiveError } from '../contracts/errors.ts';
import type { Secret } from '../contracts/secret.ts';
import { loginError, type LoginPhase } from './login-error.ts';
import type { ConnectionTarget, HostAddress } from './target.ts';
import { tlsOptions } from './tls.ts';

/** Takes bytes of a connection. `last` says that the socket has no more for now; left out, nobody knows. */
export type ReceiveBytes = (bytes: Buffer, last?: boolean) => void;

/** An authenticated connection and what the server told about itself while it was made. */
export interface Session {
  readonly client: Client;
  readonly socket: Socket;
  /** The host that was reached, `db1:5432`. */
  readonly host: string;
  /**
   * Takes the bytes of the socket from now on, in place of `pg`. They are views of a buffer that is used again, valid only
   * during the call. To be called once, before the event loop turns.
   */
  read(receive: ReceiveBytes): void;
  /** The ParameterStatus values, such as `server_version` and `in_hot_standby`. */
  readonly parameters: Map<string, string>;
}

export interface LoginOptions {
  readonly host: HostAddress;
  /** The IP address, or the folder of the socket. */
  readonly address: string;
  readonly encrypted: boolean;
  readonly replication: boolean;
  readonly password: Secret | undefined;
  readonly signal?: AbortSignal;
}

/** The parts of `pg`'s Client that its types leave out. */
interface Internals {
  readonly connection: EventEmitter & { readonly stream: Socket; attachListeners: (stream: Socket) => void };
  readonly connectionParameters: { options: string | undefined };
}

const KEEPALIVE_DELAY = 10_000;

/** Bytes of the buffer into which a replication connection reads. */
const READ_BUFFER = 512 * 1024;

/**
 * A socket that reads into one buffer for ever, where a plain one allocates another for each read: that and what the collector
 * has to do for it would cost a base backup a third of its time. While nobody has taken the bytes they are `data` events as usual.
 */
function bufferedSocket(): { readonly socket: Socket; take(receive: ReceiveBytes): void } {
  const buffer = Buffer.allocUnsafeSlow(READ_BUFFER);
  let receive: ReceiveBytes = (bytes) => {
    socket.emit('data', Buffer.from(bytes));
  };
  const callback = (length: number): boolean => {
    // Only a socket that is drained gives less than was asked for.
    receive(buffer.subarray(0, length), length < READ_BUFFER);
    return true;
  };
  const socket = new Socket({ onread: { buffer, callback } });
  return {
    socket,
    take: (taker) => {
      receive = taker;
    },
  };
}

/** `db1:5432`, or the path of the socket. */
export function hostLabel({ host, port }: HostAddress): string {
  if (host.startsWith('/')) return `${host}/.s.PGSQL.${port}`;
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Throws `SERVER_UNREACHABLE`, `SERVER_TLS`, `SERVER_AUTH`, `SERVER_ERROR`, `STREAM_PROTOCOL`, `ABORTED`. */
export async function login(target: ConnectionTarget, options: LoginOptions): Promise<Session> {
  const { host, encrypted, replication, signal } = options;
  const label = hostLabel(host);
  const binding = channelBinding(target, label);
  const config: ClientConfig & { replication?: string } = {
    host: options.address,
    port: host.port,
    user: target.user,
    // The server ignores the database of a physical connection; poolers and password files know it by this name.
    database: replication ? 'replication' : target.database,
    application_name: target.applicationName,
    password: () => binding.password(options.password),
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEPALIVE_DELAY,
    ssl: encrypted ? await tlsOptions(target.tls, host.host) : false,
    sslnegotiation: encrypted ? target.tls.negotiation : 'postgres',
    enableChannelBinding: encrypted && target.channelBinding !== 'disable',
    ...(replication && { replication: 'true' }),
  };
  // TLS reads the plain socket by itself: only a connection without it can have a buffer of its own.
  const buffered = replication && !encrypted ? bufferedSocket() : undefined;
  const client = new Client(buffered === undefined ? config : { ...config, stream: () => buffered.socket });
  client.on('error', () => undefined); // a lost connection fails the next query, which reports it
  const { connection, connectionParameters } = client as unknown as Internals;
  connectionParameters.options = target.options; // pg falls back to PGOPTIONS by itself; the target has merged it
  attachParser(connection);
  binding.watch(connection);
  const parameters = new Map<string, string>();
  connection.on('parameterStatus', ({ parameterName, parameterValue }: ParameterStatusMessage) => {
    parameters.set(parameterName, parameterValue);
  });

  let phase: LoginPhase = 'connect';
  let clientAddress: string | undefined;
  connection.once('connect', () => {
    phase = encrypted ? 'tls' : 'login';
    clientAddress = connection.stream.localAddress;
  });
  connection.once('sslconnect', () => {
    connection.stream.once('secureConnect', () => {
      phase = 'login';
    });
  });
  connection.once('end', () => {
    if (phase === 'login') phase = 'closed';
  });

  let reason: ArchiveError | undefined;
  const cut = (error: ArchiveError): void => {
    reason ??= error;
    connection.stream.destroy(error);
  };
  const abort = (): void => {
    cut(new ArchiveError('ABORTED', `connecting to ${label} was cancelled`, { cause: signal?.reason }));
  };
  const timer =
    target.connectTimeout > 0 &&
    setTimeout(() => {
      cut(new ArchiveError('SERVER_UNREACHABLE', `${label} did not answer in ${target.connectTimeout / 1000} s`));
    }, target.connectTimeout);
  signal?.addEventListener('abort', abort, { once: true });
  try {
    if (signal?.aborted) abort();
    await client.connect();
    binding.check();
    checkAlpn(connection.stream, config.sslnegotiation === 'direct', label);
  } catch (error) {
    connection.stream.destroy();
    throw (
      reason ??
      loginError(error, {
        host: label,
        user: target.user,
        phase,
        encrypted,
        replication,
        clientAddress,
        password: options.password,
      })
    );
  } finally {
    if (timer !== false) clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
  }
  const { stream } = connection;
  const read = (receive: ReceiveBytes): void => {
    // Only the data listeners go: those for the end of the stream belong to the socket itself.
    stream.removeAllListeners('data');
    if (buffered === undefined) stream.on('data', (bytes: Buffer) => receive(bytes));
    else buffered.take(receive);
  };
  return { client, socket: stream, host: label, parameters, read };
}

/** pg's own listener lets an exception of the parser, such as for an unknown method of authentication, end the process. */
function attachParser(connection: Internals['connection']): void {
  connection.attachListeners = (stream) => {
    const parser = new Parser();
    const receive = (message: BackendMessage): void => {
      connection.emit(message.name === 'error' ? 'errorMessage' : message.name, message);
    };
    stream.on('data', (bytes: Buffer) => {
      try {
        parser.parse(bytes, receive);
      } catch (error) {
        stream.destroy(error instanceof Error ? error : new Error(String(error)));
      }
    });
  };
}

/** Holds a connection to libpq's `channel_binding=require`: no password leaves before the server has offered it. */
function channelBinding(
  target: ConnectionTarget,
  label: string,
): {
  watch(connection: EventEmitter): void;
  password(secret: Secret | undefined): string;
  check(): void;
} {
  const required = target.channelBinding === 'require';
  let offered = false;
  let verified = false;
  const refuse = (): never => {
    throw new ArchiveError('SERVER_AUTH', `${label} does not authenticate with channel binding, which is required`, {
      hint: 'Use scram-sha-256 over TLS on the server, or channel_binding=prefer.',
    });
  };
  return {
    watch: (connection) => {
      connection.once('authenticationSASL', ({ mechanisms }: { mechanisms: readonly string[] }) => {
        offered = mechanisms.includes('SCRAM-SHA-256-PLUS');
      });
      connection.once('authenticationSASLFinal', () => {
        verified = true;
      });
    },
    password: (secret) => {
      if (required && !offered) refuse();
      if (secret !== undefined) return secret.reveal();
      throw new ArchiveError(
        'SERVER_AUTH',
        `${label} asks for a password of user "${target.user}", and none is given`,
        {
          hint: `Add a line for it to ${target.passwordFile} (mode 0600; "replication" as the database), or set PGPASSWORD.`,
        },
      );
    },
    check: () => {
      if (required && !(offered && verified)) refuse();
    },
  };
}

function checkAlpn(socket: Socket, direct: boolean, label: string): void {
  if (!direct || (socket as TLSSocket).alpnProtocol === 'postgresql') return;
  throw new ArchiveError('SERVER_TLS', `${label} does not confirm the protocol "postgresql" on direct TLS`);
}
