/** Tokens that requests carry. */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { ArchiveError } from '../contracts/errors.ts';
import type { Secret } from '../contracts/secret.ts';

const TOKEN = /^[\x21-\x7e]{16,1024}$/;

/** `key` is where it stands in the config. Errors: `CONFIG_INVALID` for a token that cannot be sent, or be guessed. */
export function checkToken(token: Secret, key: string): Secret {
  if (TOKEN.test(token.reveal())) return token;
  throw new ArchiveError('CONFIG_INVALID', `${key} must be 16 to 1024 printable characters without spaces`, {
    hint: 'Make one with "openssl rand -hex 32".',
  });
}

/** What a request carries in `Authorization: Bearer`. */
export function bearerOf({ headers }: Pick<IncomingMessage, 'headers'>): string | undefined {
  return /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1];
}

/** Digests of secrets, by a key that only this process has: neither the place of a difference nor the length can be told from the time. */
export class SecretDigests {
  readonly #key = randomBytes(32);

  of(text: string): Buffer {
    return createHmac('sha256', this.#key).update(text).digest();
  }

  /** Whether both are digests of one secret. */
  same(one: Buffer, other: Buffer): boolean {
    return timingSafeEqual(one, other);
  }
}
