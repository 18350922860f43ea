/** Where a server listens, and what it must have to listen there. */
import { isIP } from 'node:net';
import { ArchiveError } from '../contracts/errors.ts';

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** The section of the config that says where to listen, for messages. */
export type ListenSection = 'serve' | 'daemon';

/** Reads `host:port`, an IPv6 address in brackets. Errors: `CONFIG_INVALID`. */
export function parseListenAddress(text: string, section: ListenSection): ListenAddress {
  const [, host = '', digits = ''] = /^(.+):(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  const bracketed = /^\[(.*)\]$/.exec(host)?.[1];
  const valid = bracketed === undefined ? /^[A-Za-z0-9.-]+$/.test(host) : isIP(bracketed) === 6;
  if (valid && digits !== '' && port < 65_536) return { host: bracketed ?? host, port };
  throw new ArchiveError('CONFIG_INVALID', `${section}.listen is not an address and a port: "${text.slice(0, 300)}"`, {
    hint: 'Write for example 127.0.0.1:8732, [::1]:8732 or 0.0.0.0:8732.',
  });
}

/** An address as it stands in a URL. */
export function formatAddress({ host, port }: ListenAddress): string {
  return `${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
}

/** Whether only programs of this host reach an address. A name may stand for anything, save `localhost`. */
export function isLoopback(host: string): boolean {
  if (isIP(host) === 4) return host.startsWith('127.');
  return host === '::1' || host === 'localhost';
}

export interface Protection {
  readonly section: ListenSection;
  readonly tls: boolean;
  /** A token, or client certificates. */
  readonly credentials: boolean;
}

/**
 * An archive holds all data of a cluster: over a network only to those who show a credential, and only encrypted, as the credential is.
 * Errors: `CONFIG_INVALID`.
 */
export function checkProtection(address: ListenAddress, { section, tls, credentials }: Protection): void {
  if (isLoopback(address.host) || (tls && credentials)) return;
  const lacks = [...(tls ? [] : ['TLS']), ...(credentials ? [] : ['credentials'])].join(' and without ');
  throw new ArchiveError(
    'CONFIG_INVALID',
    `${section}.listen is ${formatAddress(address)}, which other hosts reach, without ${lacks}`,
    {
      hint: `Set ${section}.tls, and ${TOKENS[section]} or ${section}.tls.clientCa; or listen on 127.0.0.1, behind a proxy that does both.`,
    },
  );
}

const TOKENS: Readonly<Record<ListenSection, string>> = { serve: 'serve.token', daemon: 'daemon.tokens' };
