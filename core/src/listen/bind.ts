import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ArchiveError, errnoOf } from '../contracts/errors.ts';
import { formatAddress, isLoopback, type ListenAddress } from './listen-address.ts';

export interface BindOptions {
  /** Of the config, for messages: `serve`. */
  readonly section: string;
  /** Whether it has TLS, and clients show a credential. Else no other host may reach it, whatever the name of the address leads to. */
  readonly isProtected: boolean;
}

export interface Bound {
  readonly port: number;
  /** What it is bound to: an address, whatever the config names. */
  readonly address: string;
  /** `127.0.0.1:8732`, with the port that it really has. */
  readonly name: string;
}

/** Listens. Errors: `CONFIG_INVALID` for an address that cannot be listened on, and for one that other hosts reach without protection. */
export async function bind(
  server: Server,
  { host, port }: ListenAddress,
  { section, isProtected }: BindOptions,
): Promise<Bound> {
  server.listen(port, host);
  try {
    await once(server, 'listening');
  } catch (error) {
    throw new ArchiveError('CONFIG_INVALID', `cannot listen on ${host}, port ${port}: ${errnoOf(error)}`, {
      cause: error,
      hint: `Check ${section}.listen: the address must be one of this host, and no other program may use the port.`,
    });
  }
  const bound = server.address() as AddressInfo;
  if (!isProtected && !isLoopback(bound.address)) {
    server.close();
    throw new ArchiveError('CONFIG_INVALID', `${host} is ${bound.address}, which other hosts reach`);
  }
  return { port: bound.port, address: bound.address, name: formatAddress({ host, port: bound.port }) };
}
