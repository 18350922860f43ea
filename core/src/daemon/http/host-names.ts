/** By which names this server may be asked: a page of another site whose name was made to point here is not answered (DNS rebinding). */
import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { hostname } from 'node:os';

export interface HostNameOptions {
  /** Where it listens. */
  readonly host: string;
  /** `daemon.names` */
  readonly names: readonly string[];
  /** PEM. */
  readonly certificate?: string | Buffer;
}

/** A check of `Host`. An address is always right: only a name can be made to point elsewhere. */
export function hostNames({ host, names, certificate }: HostNameOptions): (header: string | undefined) => boolean {
  const known = new Set([host, hostname(), ...names].map((name) => name.toLowerCase()));
  const own = certificate === undefined ? undefined : new X509Certificate(certificate);
  return (header) => {
    const name = nameIn(header);
    if (name === undefined) return false;
    if (isIP(name) !== 0 || name === 'localhost' || name.endsWith('.localhost') || known.has(name)) return true;
    return own?.checkHost(name) !== undefined;
  };
}

/** The name or address of a `Host` header, without its port and in small letters; undefined for what is none. */
function nameIn(header: string | undefined): string | undefined {
  const [, bracketed, plain] =
    /^(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9._-]{1,253}))(?::\d{1,5})?$/i.exec(header ?? '') ?? [];
  if (bracketed !== undefined) return isIP(bracketed) === 6 ? bracketed : undefined;
  return plain?.toLowerCase().replace(/\.$/, '');
}
