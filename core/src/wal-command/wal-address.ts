/**
 * How a WAL file is asked for over HTTP, and in which words it is not there: what `pgark serve` and those who ask it agree on.
 * Nothing is decoded or normalised: a target that is not letter by letter of this form names nothing.
 */
import { ArchiveError } from '../contracts/errors.ts';
import { isLoopback } from '../listen/listen-address.ts';
import { parseWalFileName, type WalFile } from '../postgres/wal-file.ts';
import { isSystemId } from '../repository/layout.ts';

export interface WalAddress {
  readonly cluster: string;
  readonly systemId: string;
  readonly file: WalFile;
}

const CLUSTER = '[A-Za-z0-9][A-Za-z0-9._-]{0,62}';
const TARGET = new RegExp(`^/v1/(${CLUSTER})/([0-9]{1,20})/wal/([0-9A-Za-z.]{1,64})$`);
const BASE = new RegExp(`/v1/(${CLUSTER})/?$`);

/** Reads the target of a request as it stands in its first line; undefined when it names no WAL file. */
export function parseWalTarget(target: string): WalAddress | undefined {
  const [, cluster, systemId, name] = TARGET.exec(target) ?? [];
  const file = name === undefined ? undefined : parseWalFileName(name);
  if (cluster === undefined || systemId === undefined || file === undefined) return undefined;
  return isSystemId(systemId) ? { cluster, systemId, file } : undefined;
}

/** What follows the address of a server, without a final slash: `/v1/main`. */
export function clusterPath(cluster: string): string {
  return `/v1/${cluster}`;
}

/** What follows the path of a cluster: `/7000/wal/000000010000000000000001`. */
export function walPath(systemId: string, name: string): string {
  return `/${systemId}/wal/${name}`;
}

/**
 * The body of the answer 404, one line. Any web server answers 404; only these words, with the name that was asked for, say that an
 * archive was looked into.
 */
export function missingText(cluster: string, systemId: string, name: string): string {
  return `pgark: no such WAL file: ${cluster}/${systemId}/${name}`;
}

/** A header of the request: the number of the timeline that the recovery follows to its end. Without it that is the newest one. */
export const TIMELINE_HEADER = 'pgark-timeline';

/** The type of the body of the answer 200, by which a file is told from the page of a proxy. */
export const WAL_TYPE = 'application/vnd.pgark.wal';

/** The address that a client is given: `https://archive:8732/v1/main`. Errors: `USAGE`. */
export function parseServerUrl(text: string): { readonly url: URL; readonly cluster: string } {
  const wrong = (why: string): ArchiveError =>
    new ArchiveError('USAGE', `not the address of a WAL server: ${why}`, {
      hint: 'Give it as https://HOST:PORT/v1/CLUSTER; plain http:// goes to this host only.',
    });
  if (!URL.canParse(text)) throw wrong(`"${text.slice(0, 200)}"`);
  const url = new URL(text);
  if (url.username !== '' || url.password !== '') throw wrong('it holds a user or a password, which others can see');
  const cluster = BASE.exec(url.pathname)?.[1];
  if (!['http:', 'https:'].includes(url.protocol) || url.search !== '' || url.hash !== '' || cluster === undefined)
    throw wrong(`"${text.slice(0, 200)}"`);
  if (url.protocol === 'http:' && !isLoopback(url.hostname.replaceAll(/^\[|\]$/g, '')))
    throw wrong('what goes to another host in plain HTTP, the token too, can be read on the way');
  url.pathname = url.pathname.replace(/\/$/, '');
  return { url, cluster };
}
