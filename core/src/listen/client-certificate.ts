import type { Socket } from 'node:net';
import { TLSSocket, type PeerCertificate } from 'node:tls';

/**
 * The certificate of a client that the CA of clients signed.
 *
 * Not every version of Node tells a session of TLS 1.3 that is resumed, and began without a certificate, from one that began with one:
 * Node 20 calls both authorized. So there must be a certificate, too.
 */
export function clientCertificate(socket: Socket): PeerCertificate | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  const certificate = socket.getPeerCertificate();
  const { raw } = certificate as { readonly raw?: Buffer };
  return raw !== undefined && raw.byteLength > 0 ? certificate : undefined;
}
