/**
 * Connection strings of libpq (PostgreSQL docs, "Connection Strings"): URIs and `key=value` lists. Errors never quote the string: it may hold
 * a password.
 */
import { ArchiveError } from '../contracts/errors.ts';
import { checkKeyword } from './conninfo-keywords.ts';

const SOURCE = 'the connection string';

/** Reads either form into keyword and value. Throws `CONFIG_INVALID`. */
export function parseConninfo(text: string): ReadonlyMap<string, string> {
  const parameters = /^postgres(ql)?:\/\//.test(text) ? parseUri(text) : parseKeyValues(text);
  for (const name of parameters.keys()) checkKeyword(name, SOURCE);
  return parameters;
}

function invalid(what: string): ArchiveError {
  return new ArchiveError('CONFIG_INVALID', `${SOURCE} is not valid: ${what}`, {
    hint: 'Write postgres://user@host:5432/ or host=... user=... as for psql; special characters of a URL as %XX.',
  });
}

/** `scheme://[user[:password]@][host[:port],...][/dbname][?name=value&...]`, read as libpq does: not as the URL standard does. */
function parseUri(text: string): Map<string, string> {
  const parameters = new Map<string, string>();
  const rest = text.slice(text.indexOf('://') + 3);
  const authority = /^(?:([^@/]*)@)?([^/?]*)/.exec(rest);
  const [whole = '', user, hosts = ''] = authority ?? [];
  if (user !== undefined) {
    const colon = user.indexOf(':');
    set(parameters, 'user', decode(colon < 0 ? user : user.slice(0, colon)));
    if (colon >= 0) set(parameters, 'password', decode(user.slice(colon + 1)));
  }
  const addresses = hosts.split(',').map(hostAndPort);
  set(parameters, 'host', addresses.map(({ host }) => host).join(','));
  set(parameters, 'port', addresses.map(({ port }) => port).join(','));
  const [path = '', ...query] = rest.slice(whole.length).split('?');
  if (query.length > 1) throw invalid('it has a second "?"');
  set(parameters, 'dbname', decode(path.slice(1)));
  for (const pair of (query[0] ?? '').split('&')) {
    if (pair !== '') uriParameter(parameters, pair);
  }
  return parameters;
}

function uriParameter(parameters: Map<string, string>, pair: string): void {
  const [key = '', value, ...more] = pair.split('=');
  const name = decode(key);
  if (value === undefined || more.length > 0) throw invalid(`the parameter "${name}" is not written name=value`);
  // The JDBC driver's way to say it, which libpq reads too.
  if (name === 'ssl' && value === 'true') parameters.set('sslmode', 'require');
  else parameters.set(name, decode(value));
}

/** `name`, `name:port`, `[v6]:port`, or a percent-encoded socket folder. */
function hostAndPort(text: string): { readonly host: string; readonly port: string } {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]*))(?::([^:]*))?$/.exec(text);
  if (match === null) throw invalid('a host is not name:port; an IPv6 address stands in brackets');
  return { host: decode(match[1] ?? match[2] ?? ''), port: decode(match[3] ?? '') };
}

/** An empty part of a URI counts as not given. */
function set(parameters: Map<string, string>, name: string, value: string): void {
  if (value !== '') parameters.set(name, value);
}

function decode(text: string): string {
  if (/%(?![0-9A-Fa-f]{2})/.test(text)) throw invalid('a "%" is not followed by two hexadecimal digits');
  if (text.includes('%00')) throw invalid('it holds a forbidden %00');
  try {
    return decodeURIComponent(text);
  } catch (error) {
    throw invalid(`a percent-encoded part is not UTF-8 (${(error as Error).name})`);
  }
}

/** `key = value`, values in single quotes when empty or with spaces; a backslash takes the next character as it is. */
function parseKeyValues(text: string): Map<string, string> {
  const parameters = new Map<string, string>();
  const pair = /\s*([^\s=']+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s'\\]|\\.)(?:[^\s\\]|\\.)*)?)(?=\s|$)/gsy;
  const end = text.trimEnd().length;
  while (pair.lastIndex < end) {
    const at = pair.lastIndex;
    const match = pair.exec(text);
    if (match === null) {
      const name = /^\s*([A-Za-z_]\w*)\s*=/.exec(text.slice(at))?.[1];
      throw invalid(
        name === undefined ? 'it is not a list of name=value' : `the value of "${name}" is not well quoted`,
      );
    }
    parameters.set(match[1] ?? '', (match[2] ?? match[3] ?? '').replaceAll(/\\(.)/gs, '$1'));
  }
  return parameters;
}
