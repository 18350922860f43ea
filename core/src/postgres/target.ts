/** Where and how to connect: what libpq calls the connection parameters, after all sources have been merged. */
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { ArchiveError } from '../contracts/errors.ts';
import { Secret } from '../contracts/secret.ts';
import { environmentParameters, refuseUnsupported } from './conninfo-keywords.ts';
import { parseConninfo } from './conninfo.ts';
import { passwordFileProblem } from './password-file.ts';
import { readService } from './service-file.ts';

const SSL_MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;
const SESSION_ATTRIBUTES = ['any', 'read-write', 'read-only', 'primary', 'standby', 'prefer-standby'] as const;
const NEGOTIATIONS = ['postgres', 'direct'] as const;
const CHANNEL_BINDINGS = ['disable', 'prefer', 'require'] as const;
const TLS_VERSIONS = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'] as const;

/** libpq's `sslmode`, with libpq's meaning. */
export type SslMode = (typeof SSL_MODES)[number];
/** libpq's `target_session_attrs`. */
export type TargetSessionAttributes = (typeof SESSION_ATTRIBUTES)[number];

/** One host to try. */
export interface HostAddress {
  /** A name, an IP address, or the folder of a socket (it begins with `/`). Certificates and the password file are checked against it. */
  readonly host: string;
  readonly port: number;
  /** The IP address to connect to instead of looking `host` up (`hostaddr`). */
  readonly address?: string;
}

/** The TLS part of a target. Files are read at each connect, so that renewed certificates need no restart. */
export interface TlsSettings {
  readonly mode: SslMode;
  /** `direct` skips the request for TLS (servers 17 and later). */
  readonly negotiation: (typeof NEGOTIATIONS)[number];
  /** The folder of files that are used when they exist and none is named: `root.crt`, `root.crl`, `postgresql.crt`, `postgresql.key`. */
  readonly folder: string;
  /** A file of CA certificates, or `system` for those of the system. */
  readonly rootCertificate?: string;
  readonly revocationList?: string;
  readonly certificate?: string;
  readonly key?: string;
  readonly keyPassword?: Secret;
  /** Whether the host name is sent in the handshake (`sslsni`). */
  readonly sni: boolean;
  readonly minVersion?: (typeof TLS_VERSIONS)[number];
  readonly maxVersion?: (typeof TLS_VERSIONS)[number];
}

/** A merged, checked set of connection parameters. Never prints its password. */
export interface ConnectionTarget {
  /** Tried in this order, or in random order with `shuffle`. */
  readonly hosts: readonly HostAddress[];
  readonly shuffle: boolean;
  readonly user: string;
  /** The database of SQL connections; physical replication connections have none. */
  readonly database: string;
  /** The explicit password; without one the password file is asked. */
  readonly password?: Secret;
  /** Read at each connect. */
  readonly passwordFile: string;
  readonly tls: TlsSettings;
  readonly channelBinding: (typeof CHANNEL_BINDINGS)[number];
  readonly targetSessionAttrs: TargetSessionAttributes;
  /** Milliseconds for each address; 0 means no limit. */
  readonly connectTimeout: number;
  readonly applicationName: string;
  /** Command-line options for the server (`options`). */
  readonly options?: string;
  /** What was found wrong but not fatal, for the log. */
  readonly warnings: readonly string[];
}

/** Where Debian's and where PostgreSQL's own libpq look for the socket when no host is given. */
export const SOCKET_FOLDERS: readonly string[] = ['/var/run/postgresql', '/tmp'];
const DEFAULT_PORT = '5432';
/** libpq waits without limit; a daemon must not. */
const DEFAULT_CONNECT_TIMEOUT = 10_000;

export interface TargetOptions {
  readonly env: NodeJS.ProcessEnv;
  /** The home folder, for the default files. */
  readonly home: string;
  /** Used when neither the URL nor the environment names one; default `pgark`. */
  readonly applicationName?: string;
}

/**
 * Merges connection parameters as libpq does: the URL or key=value string first, then the service file, the environment, the defaults.
 * The one difference: `connect_timeout` is 10 s when nobody sets it. Throws `CONFIG_INVALID`.
 */
export async function resolveTarget(
  source: { readonly url?: string | Secret | undefined },
  { env, home, applicationName }: TargetOptions,
): Promise<ConnectionTarget> {
  const text = typeof source.url === 'object' ? source.url.reveal() : (source.url ?? '');
  const explicit = parseConninfo(text);
  const environment = environmentParameters(env);
  const serviceName = explicit.get('service') ?? environment.get('service');
  const service = serviceName
    ? await readService(serviceName, {
        file: explicit.get('servicefile') ?? environment.get('servicefile'),
        home,
        systemFolder: env['PGSYSCONFDIR'],
      })
    : new Map<string, string>();
  const merged = new Map([...environment, ...service, ...explicit]);
  refuseUnsupported(merged);
  const get = (name: string): string | undefined => merged.get(name) || undefined;

  const user = get('user') ?? systemUser();
  const passwordFile = get('passfile') ?? join(home, '.pgpass');
  const password = get('password');
  const problem = password === undefined ? await passwordFileProblem(passwordFile) : undefined;
  const options = get('options');
  return {
    hosts: hosts(get),
    shuffle: choice(get, 'load_balance_hosts', ['disable', 'random'], 'disable') === 'random',
    user,
    database: get('dbname') ?? user,
    ...(password !== undefined && { password: new Secret(password) }),
    passwordFile,
    tls: tlsSettings(get, join(home, '.postgresql')),
    channelBinding: choice(get, 'channel_binding', CHANNEL_BINDINGS, 'prefer'),
    targetSessionAttrs: choice(get, 'target_session_attrs', SESSION_ATTRIBUTES, 'any'),
    connectTimeout: connectTimeout(get('connect_timeout')),
    applicationName: get('application_name') ?? get('fallback_application_name') ?? applicationName ?? 'pgark',
    ...(options !== undefined && { options }),
    warnings: problem === undefined ? [] : [problem],
  };
}

/** A target as plain data for another thread. Holds secrets as text: never log it. */
export interface PlainTarget extends Omit<ConnectionTarget, 'password' | 'tls'> {
  readonly password?: string;
  readonly tls: Omit<TlsSettings, 'keyPassword'> & { readonly keyPassword?: string };
}

/** The form of a target that a structured clone keeps whole. */
export function plainTarget({ password, tls: { keyPassword, ...tls }, ...target }: ConnectionTarget): PlainTarget {
  return {
    ...target,
    ...(password !== undefined && { password: password.reveal() }),
    tls: { ...tls, ...(keyPassword !== undefined && { keyPassword: keyPassword.reveal() }) },
  };
}

/** The way back from {@link plainTarget}. */
export function targetFromPlain({ password, tls: { keyPassword, ...tls }, ...target }: PlainTarget): ConnectionTarget {
  return {
    ...target,
    ...(password !== undefined && { password: new Secret(password) }),
    tls: { ...tls, ...(keyPassword !== undefined && { keyPassword: new Secret(keyPassword) }) },
  };
}

type Get = (name: string) => string | undefined;

function invalid(what: string, hint = 'See "Parameter Key Words" in the PostgreSQL docs.'): ArchiveError {
  return new ArchiveError('CONFIG_INVALID', what, { hint });
}

/** Comma lists of hosts, addresses and ports, element by element; one port may serve all. */
function hosts(get: Get): readonly HostAddress[] {
  const addresses = get('hostaddr')?.split(',');
  const names = get('host')?.split(',') ?? addresses?.map(() => '') ?? [''];
  if (addresses !== undefined && addresses.length !== names.length) {
    throw invalid(
      `${names.length} hosts, but ${addresses.length} values of hostaddr`,
      'Give one hostaddr for each host.',
    );
  }
  const ports = get('port')?.split(',') ?? [''];
  if (ports.length > 1 && ports.length !== names.length) {
    throw invalid(`${names.length} hosts, but ${ports.length} ports`, 'Give one port for all, or one for each host.');
  }
  return names.flatMap((name, index) => {
    const port = Number((ports.length === 1 ? ports[0] : ports[index]) || DEFAULT_PORT);
    if (!Number.isInteger(port) || port < 1 || port > 65_535) throw invalid('a port is not a number from 1 to 65535');
    if (name.startsWith('@')) throw invalid('sockets in the abstract namespace are not supported');
    const address = addresses?.[index];
    if (address) return [{ host: name || address, port, address }];
    return name === '' ? SOCKET_FOLDERS.map((host) => ({ host, port })) : [{ host: name, port }];
  });
}

function tlsSettings(get: Get, folder: string): TlsSettings {
  const rootCertificate = get('sslrootcert');
  const system = rootCertificate === 'system';
  const mode = choice(get, 'sslmode', SSL_MODES, system ? 'verify-full' : 'prefer');
  if (system && mode !== 'verify-full') {
    throw invalid(`sslmode=${mode} is too weak for sslrootcert=system`, 'Use sslmode=verify-full.');
  }
  const negotiation = choice(get, 'sslnegotiation', NEGOTIATIONS, 'postgres');
  if (negotiation === 'direct' && ['disable', 'allow', 'prefer'].includes(mode)) {
    throw invalid(`sslmode=${mode} is too weak for sslnegotiation=direct`, 'Use sslmode=require or stronger.');
  }
  const files = {
    rootCertificate,
    revocationList: get('sslcrl'),
    certificate: get('sslcert'),
    key: get('sslkey'),
    minVersion: version(get, 'ssl_min_protocol_version'),
    maxVersion: version(get, 'ssl_max_protocol_version'),
  };
  const keyPassword = get('sslpassword');
  return {
    mode,
    negotiation,
    folder,
    ...definedOf(files),
    ...(keyPassword !== undefined && { keyPassword: new Secret(keyPassword) }),
    sni: get('sslsni') !== '0',
  };
}

function version(get: Get, name: string): TlsSettings['minVersion'] {
  return get(name) === undefined ? undefined : choice(get, name, TLS_VERSIONS, 'TLSv1.2');
}

function choice<Value extends string>(get: Get, name: string, values: readonly Value[], otherwise: Value): Value {
  const text = get(name) ?? otherwise;
  const value = values.find((known) => known.toLowerCase() === text.toLowerCase());
  if (value === undefined) throw invalid(`${name} cannot be "${text}"`, `Use one of: ${values.join(', ')}.`);
  return value;
}

/** Seconds; zero and less mean no limit. */
function connectTimeout(text: string | undefined): number {
  if (text === undefined) return DEFAULT_CONNECT_TIMEOUT;
  if (!/^\s*-?\d{1,7}\s*$/.test(text)) throw invalid(`connect_timeout cannot be "${text}"`, 'Give whole seconds.');
  return Math.max(0, Number(text)) * 1000;
}

function systemUser(): string {
  try {
    return userInfo().username;
  } catch (error) {
    throw new ArchiveError('CONFIG_INVALID', 'no user to connect as is given, and this process has no user name', {
      hint: 'Name the user in the URL or in PGUSER.',
      cause: error,
    });
  }
}

type Defined<Source> = { [Key in keyof Source]?: Exclude<Source[Key], undefined> };

function definedOf<Source extends object>(source: Source): Defined<Source> {
  return Object.fromEntries(Object.entries(source).filter(([, value]) => value !== undefined)) as Defined<Source>;
}
