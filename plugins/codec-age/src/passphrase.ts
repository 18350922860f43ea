/** Passphrases as the age format knows them: scrypt makes the key that wraps the file key. */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { Stanza, type Identity, type Recipient } from 'age-encryption';
import { ArchiveError, type Secret } from '@pgark/sdk';
import { TAG } from './chunks.ts';
import { corrupt } from './corrupt.ts';
import { deriveKey, memoryOf } from './scrypt-key.ts';
import { SharedWork } from './shared-work.ts';

/**
 * The largest work factor that is read or written: 1 GiB of memory and some seconds. The age command writes 18 and reads up to 22, 4 GiB;
 * here it is less because the factor is believed before anything is authenticated: whoever writes to the storage chooses it.
 */
export const MOST_WORK = 20;

const WHAT = 'deriving the key of a passphrase';
const ALGORITHM = 'chacha20-poly1305';
const FILE_KEY = 16;
const SALT = 16;

/** Derived keys that are kept: as many headers as are read again and again. */
const MOST_KEPT = 1000;

/** Why a text cannot be the passphrase of a codec; undefined when it can. */
export function faultOfPassphrase(text: string): string | undefined {
  if (text === '') return 'must not be empty';
  // After a change it is to be read from there, where white space around it means nothing.
  if (text !== text.trim() || /[\r\n]/.test(text))
    return 'must be one line without white space at its ends: a line of restore.identities could not hold it otherwise';
  return undefined;
}

/**
 * One passphrase and the keys that were derived from it. Each key is derived once: objects that were written in one run have the same
 * header.
 */
export class Passphrase {
  readonly #secret: Secret;
  readonly #keys = new Map<string, SharedWork<Uint8Array>>();

  constructor(secret: Secret) {
    this.#secret = secret;
  }

  /**
   * Wraps a file key under a new salt. `work`: the binary logarithm of the scrypt cost. To be used for one file key only: the
   * format wraps under a nonce of zeroes.
   */
  recipient(work: number, signal?: AbortSignal): Recipient {
    return {
      wrapFileKey: async (fileKey: Uint8Array) => {
        const salt = randomBytes(SALT);
        const key = await this.#key(salt, work, signal);
        const cipher = createCipheriv(ALGORITHM, key, Buffer.alloc(12), { authTagLength: TAG });
        const body = Buffer.concat([cipher.update(fileKey), cipher.final(), cipher.getAuthTag()]);
        return [new Stanza(['scrypt', unpadded(salt), String(work)], body)];
      },
    };
  }

  /**
   * Opens what was wrapped under this passphrase. Errors: `CODEC_CORRUPT` for a stanza that is none; `CODEC_KEY` for more than
   * {@link MOST_WORK}, and when scrypt cannot run here; `ABORTED`.
   */
  identity(signal?: AbortSignal): Identity {
    return {
      unwrapFileKey: async (stanzas: Stanza[]) => {
        for (const stanza of stanzas) {
          if (stanza.args[0] !== 'scrypt') continue;
          const { salt, work, body } = parse(stanza);
          const fileKey = unwrap(body, await this.#key(salt, work, signal));
          if (fileKey !== undefined) return fileKey;
        }
        return null;
      },
    };
  }

  #key(salt: Uint8Array, work: number, signal: AbortSignal | undefined): Promise<Uint8Array> {
    const name = `${work} ${unpadded(salt)}`;
    const kept = this.#keys.get(name);
    if (kept !== undefined && !kept.lost) return kept.result(signal, WHAT);
    const wanted = { passphrase: this.#secret, salt, work };
    const begun = new SharedWork((calledOff) => deriveKey(wanted, calledOff));
    this.#keys.set(name, begun);
    if (this.#keys.size > MOST_KEPT) this.#keys.delete(this.#keys.keys().next().value!);
    return begun.result(signal, WHAT);
  }
}

function parse({ args, body }: Stanza): { salt: Uint8Array; work: number; body: Uint8Array } {
  const [, salt = '', work = ''] = args;
  const bytes = Buffer.from(salt, 'base64');
  const valid = args.length === 3 && bytes.byteLength === SALT && unpadded(bytes) === salt;
  if (!valid || !/^[1-9]\d{0,8}$/.test(work) || body.byteLength !== FILE_KEY + TAG)
    throw corrupt('the passphrase stanza of the age header is damaged');
  if (Number(work) > MOST_WORK) {
    throw new ArchiveError(
      'CODEC_KEY',
      `the age header asks for scrypt with a work factor of ${work}; more than ${MOST_WORK} (${memoryOf(MOST_WORK)} MiB of memory) is not tried`,
      {
        hint: 'pgark wrote no such header: the object is from elsewhere, or was changed. The age command reads up to 22.',
      },
    );
  }
  return { salt: bytes, work: Number(work), body };
}

function unwrap(body: Uint8Array, key: Uint8Array): Uint8Array | undefined {
  const decipher = createDecipheriv(ALGORITHM, key, Buffer.alloc(12), { authTagLength: TAG });
  decipher.setAuthTag(body.subarray(FILE_KEY));
  const fileKey = decipher.update(body.subarray(0, FILE_KEY));
  try {
    decipher.final();
  } catch {
    return undefined; // another passphrase
  }
  return fileKey;
}

function unpadded(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64').replace(/=+$/, '');
}
