/** Who may ask. */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { TLSSocket } from 'node:tls';
import { ArchiveError } from '../contracts/errors.ts';
import type { Secret } from '../contracts/secret.ts';

const TOKEN = /^[\x21-\x7e]{16,1024}$/;

/** Errors: `CONFIG_INVALID` for a token that cannot be sent, or be guessed. */
export function checkToken(token: Secret): Secret {
  if (TOKEN.test(token.reveal())) return token;
  throw new ArchiveError('CONFIG_INVALID', 'serve.token must be 16 to 1024 printable characters without spaces', {
    hint: 'Make one with "openssl rand -hex 32".',
  });
}

export interface CredentialsOptions {
  readonly token?: Secret;
  /** Whether a certificate that the CA of clients signed is a credential. */
  readonly certificates: boolean;
}

/** A check of requests: the token, or a client certificate; without either of both configured everyone may ask. */
export function credentials({ token, certificates }: CredentialsOptions): (request: IncomingMessage) => boolean {
  if (token === undefined && !certificates) return () => true;
  // Digests are compared, so that neither the place of a difference nor the length can be told from the time.
  const key = randomBytes(32);
  const digest = (text: string): Buffer => createHmac('sha256', key).update(text).digest();
  const wanted = token === undefined ? undefined : digest(token.reveal());
  return (request) => {
    if (certificates && hasCertificate(request)) return true;
    const given = /^Bearer +(\S+) *$/i.exec(request.headers.authorization ?? '')?.[1];
    return wanted !== undefined && given !== undefined && timingSafeEqual(wanted, digest(given));
  };
}

/**
 * Not every version of Node tells a session of TLS 1.3 that is resumed, and began without a certificate, from one that began with one:
 * Node 20 calls both authorized. So there must be a certificate, too.
 */
function hasCertificate({ socket }: IncomingMessage): boolean {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return false;
  const { raw } = socket.getPeerCertificate() as { readonly raw?: Buffer };
  return raw !== undefined && raw.byteLength > 0;
}
