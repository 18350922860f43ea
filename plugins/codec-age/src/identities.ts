import { identityToRecipient } from 'age-encryption';
import { Secret } from '@pgark/sdk';
import { Passphrase } from './passphrase.ts';

/** A secret key and the recipient that it opens for. */
export interface KnownIdentity {
  readonly secret: string;
  readonly recipient: string;
}

export interface Identities {
  readonly known: readonly KnownIdentity[];
  readonly passphrases: readonly Passphrase[];
  /** What looks like a key and is of no use, by its place; never holds a key. */
  readonly faults: readonly string[];
}

/** What a line begins with that holds a passphrase. The format has no form for them; aes-gcm has such lines, too. */
const PASSPHRASE = 'age-passphrase:';

/**
 * The keys in the texts of identity files: one a line, with comments (`#`) and empty lines, as `age-keygen` writes them, and passphrases
 * as `age-passphrase:...`. Lines of another kind are left alone: they may be the keys of another codec.
 */
export async function readIdentities(texts: readonly Secret[]): Promise<Identities> {
  const known = new Map<string, KnownIdentity>();
  const passphrases: Passphrase[] = [];
  const faults: string[] = [];
  for (const [index, text] of texts.entries()) {
    for (const [at, line] of text.reveal().split('\n').entries()) {
      const secret = line.trim();
      const place = `restore.identities[${index}], line ${at + 1},`;
      if (/^age-secret-key-/i.test(secret)) {
        // Its error has the key in it.
        const recipient = await identityToRecipient(secret).catch(() => undefined);
        if (recipient === undefined) faults.push(`${place} is not a valid age key`);
        else known.set(recipient, { secret, recipient });
      } else if (secret.startsWith(PASSPHRASE)) {
        const passphrase = secret.slice(PASSPHRASE.length).trim();
        if (passphrase === '') faults.push(`${place} holds an empty passphrase`);
        else passphrases.push(new Passphrase(new Secret(passphrase)));
      } else {
        const kind = unsupported(secret);
        if (kind !== undefined) faults.push(`${place} is ${kind}, which is not supported`);
      }
    }
  }
  return { known: [...known.values()], passphrases, faults };
}

function unsupported(line: string): string | undefined {
  if (/^age-plugin-/i.test(line)) return 'a key of an age plugin';
  if (/^-----BEGIN .*PRIVATE KEY-----$/.test(line)) return 'an SSH or PEM key';
  if (line.startsWith('age-encryption.org/v1') || line.startsWith('-----BEGIN AGE ENCRYPTED FILE'))
    return 'a key file that is encrypted itself';
  return undefined;
}
