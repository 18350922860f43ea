/** The connection parameters of libpq (PostgreSQL docs, "Parameter Key Words" and "Environment Variables"). */
import { ArchiveError } from '../contracts/errors.ts';

interface Keyword {
  /** The environment variable that gives its default. */
  readonly env?: string;
  /** Set for parameters that pgark does not implement: the values that change nothing for it, or `any`. Others are refused. */
  readonly harmless?: readonly string[] | 'any';
}

const KEYWORDS: Readonly<Record<string, Keyword>> = {
  service: { env: 'PGSERVICE' },
  servicefile: { env: 'PGSERVICEFILE' },
  host: { env: 'PGHOST' },
  hostaddr: { env: 'PGHOSTADDR' },
  port: { env: 'PGPORT' },
  dbname: { env: 'PGDATABASE' },
  user: { env: 'PGUSER' },
  password: { env: 'PGPASSWORD' },
  passfile: { env: 'PGPASSFILE' },
  options: { env: 'PGOPTIONS' },
  application_name: { env: 'PGAPPNAME' },
  fallback_application_name: {},
  connect_timeout: { env: 'PGCONNECT_TIMEOUT' },
  target_session_attrs: { env: 'PGTARGETSESSIONATTRS' },
  load_balance_hosts: { env: 'PGLOADBALANCEHOSTS' },
  channel_binding: { env: 'PGCHANNELBINDING' },
  sslmode: { env: 'PGSSLMODE' },
  sslnegotiation: { env: 'PGSSLNEGOTIATION' },
  sslrootcert: { env: 'PGSSLROOTCERT' },
  sslcert: { env: 'PGSSLCERT' },
  sslkey: { env: 'PGSSLKEY' },
  sslpassword: {},
  sslcrl: { env: 'PGSSLCRL' },
  sslsni: { env: 'PGSSLSNI' },
  ssl_min_protocol_version: { env: 'PGSSLMINPROTOCOLVERSION' },
  ssl_max_protocol_version: { env: 'PGSSLMAXPROTOCOLVERSION' },

  sslcertmode: { env: 'PGSSLCERTMODE', harmless: ['allow'] },
  sslcrldir: { env: 'PGSSLCRLDIR', harmless: [] },
  requirepeer: { env: 'PGREQUIREPEER', harmless: [] },
  require_auth: { env: 'PGREQUIREAUTH', harmless: [] },
  gssencmode: { env: 'PGGSSENCMODE', harmless: ['disable', 'prefer'] },
  scram_client_key: { harmless: [] },
  scram_server_key: { harmless: [] },
  oauth_issuer: { harmless: [] },
  oauth_client_id: { harmless: [] },
  oauth_client_secret: { harmless: [] },
  oauth_scope: { harmless: [] },
  client_encoding: { env: 'PGCLIENTENCODING', harmless: 'any' },
  gssdelegation: { env: 'PGGSSDELEGATION', harmless: 'any' },
  gsslib: { env: 'PGGSSLIB', harmless: 'any' },
  keepalives: { harmless: 'any' },
  keepalives_count: { harmless: 'any' },
  keepalives_idle: { harmless: 'any' },
  keepalives_interval: { harmless: 'any' },
  krbsrvname: { env: 'PGKRBSRVNAME', harmless: 'any' },
  max_protocol_version: { env: 'PGMAXPROTOCOLVERSION', harmless: 'any' },
  min_protocol_version: { env: 'PGMINPROTOCOLVERSION', harmless: ['3.0'] },
  replication: { harmless: 'any' },
  sslcompression: { env: 'PGSSLCOMPRESSION', harmless: 'any' },
  sslkeylogfile: { harmless: 'any' },
  tcp_user_timeout: { harmless: 'any' },
};

/** Throws `CONFIG_INVALID`, naming the nearest known one, when libpq has no such parameter. `source` says where it stands. */
export function checkKeyword(name: string, source: string): void {
  if (Object.hasOwn(KEYWORDS, name)) return;
  const near = nearest(name);
  throw new ArchiveError('CONFIG_INVALID', `unknown connection parameter "${name}" in ${source}`, {
    hint: near === undefined ? 'See "Parameter Key Words" in the PostgreSQL docs.' : `Did you mean "${near}"?`,
  });
}

/** The parameters that the environment sets. */
export function environmentParameters(env: NodeJS.ProcessEnv): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const [name, { env: variable }] of Object.entries(KEYWORDS)) {
    const value = variable === undefined ? undefined : env[variable];
    if (value !== undefined) found.set(name, value);
  }
  return found;
}

/** Refuses parameters that demand what pgark does not do: ignoring them could weaken a connection. */
export function refuseUnsupported(parameters: ReadonlyMap<string, string>): void {
  for (const [name, value] of parameters) {
    const harmless = KEYWORDS[name]?.harmless;
    if (harmless === undefined || harmless === 'any' || value === '' || harmless.includes(value)) continue;
    throw new ArchiveError('CONFIG_INVALID', `pgark does not support the connection parameter ${name}`, {
      hint: 'Remove it from the URL, the service file or the environment.',
    });
  }
}

function nearest(name: string): string | undefined {
  const ranked = Object.keys(KEYWORDS)
    .map((known) => ({ known, distance: editDistance(name.toLowerCase(), known) }))
    .sort((one, other) => one.distance - other.distance);
  const [best] = ranked;
  return best !== undefined && best.distance <= Math.max(2, name.length / 3) ? best.known : undefined;
}

/** As in the config's suggestions, once more: what is of PostgreSQL alone uses nothing of the config. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (const [line, letter] of from.split('').entries()) {
    const next = [line + 1];
    for (const [column, other] of to.split('').entries()) {
      const change = (row[column] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(change, (row[column + 1] ?? 0) + 1, (next[column] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}
