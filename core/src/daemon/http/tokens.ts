/** The tokens of `daemon.tokens`. */
import type { DaemonConfig } from '../../config/config.ts';
import { readSecret, type SecretOptions } from '../../config/secrets.ts';
import { ArchiveError } from '../../contracts/errors.ts';
import type { Secret } from '../../contracts/secret.ts';
import { checkToken, SecretDigests } from '../../listen/token.ts';
import type { Caller } from './caller.ts';

/** A token that is right: who has it, and a digest that tells it from an earlier one of the same name. */
export interface KnownToken extends Caller {
  readonly digest: Buffer;
}

const DIGESTS = new SecretDigests();

export class Tokens {
  readonly #known: readonly KnownToken[];

  constructor(known: readonly KnownToken[]) {
    this.#known = known;
  }

  /** Compares with all of them, so that the time says nothing of which. */
  find(text: string): KnownToken | undefined {
    const digest = DIGESTS.of(text);
    let found: KnownToken | undefined;
    for (const token of this.#known) if (DIGESTS.same(token.digest, digest)) found = token;
    return found;
  }

  /** Whose token this digest is of, with the role that he has now; undefined when there is none any more. */
  holder(digest: Buffer): KnownToken | undefined {
    return this.#known.find((token) => DIGESTS.same(token.digest, digest));
  }

  get size(): number {
    return this.#known.length;
  }
}

/**
 * Reads the tokens. Errors: `SECRET_UNAVAILABLE`, and `CONFIG_INVALID` for one that cannot be sent or be guessed, for two that are the same, and
 * for two of one name.
 */
export async function readTokens(
  tokens: DaemonConfig['tokens'],
  options: Omit<SecretOptions, 'what'>,
): Promise<Tokens> {
  const known: (KnownToken & { readonly key: string })[] = [];
  for (const [at, { name, role, token }] of tokens.entries()) {
    const key = `daemon.tokens[${at}].token`;
    const secret: Secret = checkToken(await readSecret(token, { ...options, what: key }), key);
    const digest = DIGESTS.of(secret.reveal());
    const same = known.find((other) => DIGESTS.same(other.digest, digest));
    if (same !== undefined)
      throw new ArchiveError('CONFIG_INVALID', `${key} is the same as ${same.key}`, {
        hint: 'Give each a token of its own: nobody could tell who has asked.',
      });
    if (known.some((other) => other.name === name))
      throw new ArchiveError('CONFIG_INVALID', `daemon.tokens[${at}].name is "${name}" like that of another one`, {
        hint: 'Give each token a name of its own: it is on record who has asked.',
      });
    known.push({ name, role, digest, key });
  }
  return new Tokens(known);
}
