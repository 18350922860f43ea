/** Who may ask. */
import type { IncomingMessage } from 'node:http';
import type { Secret } from '../contracts/secret.ts';
import { clientCertificate } from '../listen/client-certificate.ts';
import { bearerOf, SecretDigests } from '../listen/token.ts';

export interface CredentialsOptions {
  readonly token?: Secret;
  /** Whether a certificate that the CA of clients signed is a credential. */
  readonly certificates: boolean;
}

/** A check of requests: the token, or a client certificate; without either of both configured everyone may ask. */
export function credentials({ token, certificates }: CredentialsOptions): (request: IncomingMessage) => boolean {
  if (token === undefined && !certificates) return () => true;
  const digests = new SecretDigests();
  const wanted = token === undefined ? undefined : digests.of(token.reveal());
  return (request) => {
    if (certificates && clientCertificate(request.socket) !== undefined) return true;
    const given = bearerOf(request);
    return wanted !== undefined && given !== undefined && digests.same(wanted, digests.of(given));
  };
}
