/** Where a server listens, and what it must have to listen there. */
import { isIP } from 'node:net';
import { ArchiveError } from '../contracts/errors.ts';
import { isLoopback } from '../wal-command/wal-address.ts';

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** Reads `host:port`, an IPv6 address in brackets. Errors: `CONFIG_INVALID`. */
export function parseListenAddress(text: string): ListenAddress {
  const [, host = '', digits = ''] = /^(.+):(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  const bracketed = /^\[(.*)\]$/.exec(host)?.[1];
  const valid = bracketed === undefined ? /^[A-Za-z0-9.-]+$/.test(host) : isIP(bracketed) === 6;
  if (valid && digits !== '' && port < 65_536) return { host: bracketed ?? host, port };
  throw new ArchiveError('CONFIG_INVALID', `serve.listen is not an address and a port: "${text.slice(0, 300)}"`, {
    hint: 'Write for example 127.0.0.1:8732, [::1]:8732 or 0.0.0.0:8732.',
  });
}

/** An address as it stands in a URL. */
export function formatAddress({ host, port }: ListenAddress): string {
  return `${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
}

export interface Protection {
  readonly tls: boolean;
  /** A token, or client certificates. */
  readonly credentials: boolean;
}

/**
 * WAL holds all data of a cluster: over a network only to those who show a credential, and only encrypted, as the credential is.
 * Errors: `CONFIG_INVALID`.
 */
export function checkProtection(address: ListenAddress, { tls, credentials }: Protection): void {
  if (isLoopback(address.host) || (tls && credentials)) return;
  const lacks = [...(tls ? [] : ['TLS']), ...(credentials ? [] : ['credentials'])].join(' and without ');
  throw new ArchiveError(
    'CONFIG_INVALID',
    `serve.listen is ${formatAddress(address)}, which other hosts reach, without ${lacks}`,
    {
      hint: 'Set serve.tls, and serve.token or serve.tls.clientCa; or listen on 127.0.0.1, behind a proxy that does both.',
    },
  );
}
