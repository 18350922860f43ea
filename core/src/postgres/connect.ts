/** Opens connections to a {@link ConnectionTarget}: hosts in order, their addresses in order, TLS as libpq would try it. */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { Client } from 'pg';
import { serialize } from 'pg-protocol';
import { ArchiveError, isArchiveError, throwIfAborted } from '../contracts/errors.ts';
import type { Secret } from '../contracts/secret.ts';
import { hostLabel, login, type Session } from './login.ts';
import { findPassword } from './password-file.ts';
import { SOCKET_FOLDERS, type ConnectionTarget, type HostAddress, type TargetSessionAttributes } from './target.ts';
import { encryptionAttempts } from './tls.ts';

export interface OpenOptions {
  /** A physical replication connection, which knows replication commands and no SQL. */
  readonly replication: boolean;
  /** Cuts the attempt at once. */
  readonly signal?: AbortSignal;
}

/**
 * Connects to the first host that satisfies `target_session_attrs`. Throws `SERVER_UNREACHABLE`, `SERVER_AUTH` (the hosts after the one that
 * refuses are not tried, as in libpq), `SERVER_TLS`, `SERVER_NO_MATCH`, `SERVER_ERROR`, `ABORTED`. A connection that is lost later fails the next query.
 */
export async function openClient(target: ConnectionTarget, options: OpenOptions): Promise<Client> {
  return (await openSession(target, options)).client;
}

/** Like {@link openClient}, and tells which host it is and what it said. */
export async function openSession(target: ConnectionTarget, options: OpenOptions): Promise<Session> {
  const wanted = target.targetSessionAttrs;
  const passes = wanted === 'prefer-standby' ? (['standby', 'any'] as const) : [wanted];
  const hosts = target.shuffle ? shuffled(target.hosts) : target.hosts;
  let failures: ArchiveError[] = [];
  for (const attributes of passes) {
    failures = [];
    for (const host of hosts) {
      const session = await openHost(target, host, attributes, options, failures);
      if (session !== undefined) return session;
    }
  }
  throw combined(failures, wanted);
}

/** Tries the addresses of one host; adds to `failures` why it gives none. */
async function openHost(
  target: ConnectionTarget,
  host: HostAddress,
  attributes: TargetSessionAttributes,
  options: OpenOptions,
  failures: ArchiveError[],
): Promise<Session | undefined> {
  let addresses: readonly string[];
  let password: Secret | undefined;
  try {
    password = await passwordFor(target, host, options.replication);
    addresses = await addressesOf(host, options.signal);
  } catch (error) {
    collect(error, failures);
    return undefined;
  }
  for (const address of addresses) {
    throwIfAborted(options.signal, `connecting to ${hostLabel(host)}`);
    try {
      const session = await openAddress(target, host, address, password, options);
      const mismatch = mismatchOf(session, attributes);
      if (mismatch === undefined) return session;
      session.socket.write(serialize.end());
      session.socket.destroySoon();
      failures.push(new ArchiveError('SERVER_NO_MATCH', `${session.host} ${mismatch}`));
      return undefined;
    } catch (error) {
      collect(error, failures);
    }
  }
  return undefined;
}

/** A refused login and a cancelled one end the search; anything else is a reason to try the next. */
function collect(error: unknown, failures: ArchiveError[]): void {
  if (!isArchiveError(error) || ['ABORTED', 'SERVER_AUTH', 'INTERNAL'].includes(error.code)) throw error;
  failures.push(error);
}

/** With `prefer` and `allow` there is a second way, taken when TLS fails or the server refuses the login on the first. */
async function openAddress(
  target: ConnectionTarget,
  host: HostAddress,
  address: string,
  password: Secret | undefined,
  { replication, signal }: OpenOptions,
): Promise<Session> {
  let first: ArchiveError | undefined;
  for (const encryption of encryptionAttempts(target.tls.mode, host)) {
    const encrypted = encryption === 'tls';
    try {
      return await login(target, {
        host,
        address,
        encrypted,
        replication,
        password,
        ...(signal !== undefined && { signal }),
      });
    } catch (error) {
      if (!isArchiveError(error)) throw error;
      if (first !== undefined) throw bothWays(first, error, encrypted);
      if (error.code !== 'SERVER_TLS' && error.code !== 'SERVER_AUTH') throw error;
      first = error;
    }
  }
  throw first ?? new ArchiveError('INTERNAL', `no way to connect to ${hostLabel(host)}`);
}

function bothWays(first: ArchiveError, second: ArchiveError, secondEncrypted: boolean): ArchiveError {
  if (first.message === second.message) return first;
  if (first.code === 'SERVER_TLS' && first.details['offered'] === false) return second; // no TLS there: nothing failed
  const way = secondEncrypted ? 'without TLS' : 'with TLS';
  return new ArchiveError(second.code, `${second.message}; ${way}: ${first.message}`, {
    hint: second.hint,
    retriable: second.retriable,
    details: second.details,
    cause: second,
  });
}

async function passwordFor(
  target: ConnectionTarget,
  host: HostAddress,
  replication: boolean,
): Promise<Secret | undefined> {
  if (target.password !== undefined) return target.password;
  return findPassword(target.passwordFile, {
    host: SOCKET_FOLDERS.includes(host.host) ? 'localhost' : host.host,
    port: host.port,
    database: replication ? 'replication' : target.database,
    user: target.user,
  });
}

/** Every address of a name is tried in turn, each with the whole timeout. */
async function addressesOf(
  { host, port, address }: HostAddress,
  signal: AbortSignal | undefined,
): Promise<readonly string[]> {
  if (address !== undefined) return [address];
  if (host.startsWith('/') || isIP(host) !== 0) return [host];
  throwIfAborted(signal, `connecting to ${host}:${port}`);
  let abort = (): void => undefined;
  const aborted = new Promise<undefined>((resolve) => {
    abort = (): void => {
      resolve(undefined);
    };
  });
  signal?.addEventListener('abort', abort, { once: true });
  try {
    const found = await Promise.race([lookup(host, { all: true }), aborted]);
    throwIfAborted(signal, `connecting to ${host}:${port}`);
    return (found ?? []).map((entry) => entry.address);
  } catch (error) {
    if (isArchiveError(error)) throw error;
    throw new ArchiveError('SERVER_UNREACHABLE', `cannot look up host ${host}: ${(error as Error).message}`, {
      cause: error,
    });
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

/** Decided from what the server reports at login (14 and later): a replication connection cannot ask by SQL. */
function mismatchOf({ parameters }: Session, attributes: TargetSessionAttributes): string | undefined {
  const standby = parameters.get('in_hot_standby') === 'on';
  const readOnly = standby || parameters.get('default_transaction_read_only') === 'on';
  switch (attributes) {
    case 'primary':
      return standby ? 'is a standby' : undefined;
    case 'standby':
      return standby ? undefined : 'is not a standby';
    case 'read-write':
      return readOnly ? (standby ? 'is a standby' : 'is read-only') : undefined;
    case 'read-only':
      return readOnly ? undefined : 'is not read-only';
    default:
      return undefined;
  }
}

function combined(failures: readonly ArchiveError[], wanted: TargetSessionAttributes): ArchiveError {
  const [first, ...others] = failures;
  if (first === undefined) return new ArchiveError('INTERNAL', 'a connection target has no host');
  const reasons = failures.map((failure) => failure.message).join('; ');
  const details = { failures: failures.map(({ code, message }) => ({ code, message })) };
  const cause = new AggregateError(failures);
  if (failures.some(({ code }) => code === 'SERVER_NO_MATCH')) {
    return new ArchiveError('SERVER_NO_MATCH', `no host satisfies target_session_attrs=${wanted}: ${reasons}`, {
      details,
      cause,
    });
  }
  if (others.length === 0) return first;
  const same = others.every(({ code }) => code === first.code);
  return new ArchiveError(same ? first.code : 'SERVER_UNREACHABLE', reasons, {
    ...(same && { hint: first.hint }),
    details,
    cause,
  });
}

function shuffled<Item>(items: readonly Item[]): readonly Item[] {
  return items
    .map((item) => ({ item, rank: Math.random() }))
    .sort((one, other) => one.rank - other.rank)
    .map(({ item }) => item);
}
