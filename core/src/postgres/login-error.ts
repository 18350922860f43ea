/** What a failed login means, and what to do about it. */
import type { DatabaseError } from 'pg-protocol';
import { ArchiveError, errnoOf, isArchiveError } from '../contracts/errors.ts';
import type { Secret } from '../contracts/secret.ts';
import { serverError } from './server-error.ts';

/** How far the login got; `closed` when the server hung up during the login proper. */
export type LoginPhase = 'connect' | 'tls' | 'login' | 'closed';

export interface LoginFailure {
  readonly host: string;
  readonly user: string;
  readonly phase: LoginPhase;
  readonly encrypted: boolean;
  readonly replication: boolean;
  /** This side's address as far as it knows. */
  readonly clientAddress: string | undefined;
  readonly password: Secret | undefined;
}

/** Names the failure. */
export function loginError(error: unknown, login: LoginFailure): ArchiveError {
  if (isArchiveError(error)) return error;
  if (isServerReport(error))
    return serverError(error, { host: login.host, login: true, hint: refusalHint(error, login) });
  const text = error instanceof Error && error.message !== '' ? error.message : String(error);
  const errno = errnoOf(error);
  if (errno?.startsWith('ERR_SSL_') || (login.phase === 'tls' && !isNetworkErrno(errno))) {
    const hint = tlsHint(errno);
    return new ArchiveError('SERVER_TLS', `${login.host}: ${text}`, {
      cause: error,
      details: { host: login.host, offered: errno !== undefined },
      ...(hint !== undefined && { hint }),
    });
  }
  if (login.phase === 'login' && errno === undefined) {
    return new ArchiveError('SERVER_AUTH', `${login.host}: ${text}`, { cause: error });
  }
  const hint = networkHint(errno, login.host);
  return new ArchiveError('SERVER_UNREACHABLE', `cannot connect to ${login.host}: ${text}`, {
    cause: error,
    ...(hint !== undefined && { hint }),
  });
}

function isServerReport(error: unknown): error is DatabaseError {
  const { code, severity } = error as Partial<DatabaseError>;
  return error instanceof Error && typeof severity === 'string' && /^[0-9A-Z]{5}$/.test(code ?? '');
}

function isNetworkErrno(errno: string | undefined): boolean {
  return errno !== undefined && ['ECONNREFUSED', 'ETIMEDOUT', 'EPIPE', 'EHOSTUNREACH', 'ENETUNREACH'].includes(errno);
}

function tlsHint(errno: string | undefined): string | undefined {
  switch (errno) {
    case undefined:
      return 'Switch ssl on at the server, or choose an sslmode that does not require TLS.';
    case 'ECONNRESET':
      return 'Check that the server speaks TLS; sslnegotiation=direct needs PostgreSQL 17 or later.';
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return 'Connect by a name that the certificate of the server holds, or use sslmode=verify-ca.';
    case 'CERT_HAS_EXPIRED':
      return 'Renew the certificate of the server.';
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'CERT_SIGNATURE_FAILURE':
      return 'Put the certificate of the CA that signed the certificate of the server into sslrootcert.';
    default:
      return undefined;
  }
}

function networkHint(errno: string | undefined, host: string): string | undefined {
  if (!host.startsWith('/')) return undefined;
  if (errno === 'ENOENT')
    return 'No server has its socket there: check unix_socket_directories and the port, or name a host.';
  if (errno === 'EACCES') return 'This user may not open the socket: check unix_socket_permissions.';
  return undefined;
}

/** What to change for a refusal of the server (PostgreSQL source: auth.c, postinit.c). */
function refusalHint(error: DatabaseError, login: LoginFailure): string | undefined {
  const { code, message } = error;
  const user = /^[a-z_][a-z0-9_]*$/.test(login.user) ? login.user : `"${login.user}"`;
  // The name of the file stands in the message in every language.
  if (code === '28000' && message.includes('pg_hba.conf')) {
    const database = login.replication ? 'replication' : 'all';
    const address = login.clientAddress?.replace(/^::ffff:/, '') ?? '';
    const line =
      address === ''
        ? `local ${database} ${user} scram-sha-256`
        : `${login.encrypted ? 'hostssl' : 'host'} ${database} ${user} ${address}/${address.includes(':') ? 128 : 32} scram-sha-256`;
    return `Add the line "${line}" to pg_hba.conf of the server and reload it.`;
  }
  if (code === '28P01') {
    return login.password === undefined
      ? 'Give a password in ~/.pgpass or PGPASSWORD.'
      : `Check the password of user ${user}: the server refused the one given.`;
  }
  if (login.replication && (code === '42501' || (code === '28000' && error.routine === 'InitPostgres'))) {
    return `Run on the server: ALTER ROLE ${user} REPLICATION;`;
  }
  if (code === '28000')
    return `Check that role ${user} exists, may log in, and uses the authentication that pg_hba.conf asks for.`;
  return undefined;
}
