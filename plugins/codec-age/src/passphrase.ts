/** Passphrases as the age format knows them: scrypt makes the key that wraps the file key. */
import { createCipheriv, createDecipheriv, randomBytes, scrypt } from 'node:crypto';
import { Stanza, type Identity, type Recipient } from 'age-encryption';
import { ArchiveError, type Secret } from '@pgark/sdk';
import { TAG } from './chunks.ts';
import { corrupt } from './corrupt.ts';

/** The largest work factor that is read or written: 1 GiB of memory and some seconds. */
export const MOST_WORK = 20;

const LABEL = 'age-encryption.org/v1/scrypt';
const ALGORITHM = 'chacha20-poly1305';
const FILE_KEY = 16;
const SALT = 16;

/** Derived keys that are kept: as many headers as are read again and again. */
const MOST_KEPT = 1000;

/**
 * One passphrase and the keys that were derived from it. Each key is derived once: objects that were written in one run have the same
 * header. One at a time, since each takes the memory of its work factor.
 */
export class Passphrase {
  readonly #secret: Secret;
  readonly #keys = new Map<string, Promise<Uint8Array>>();
  #before: Promise<unknown> = Promise.resolve();

  constructor(secret: Secret) {
    this.#secret = secret;
  }

  /**
   * Wraps a file key under a new salt. `work`: the binary logarithm of the scrypt cost. To be used for one file key only: the
   * format wraps under a nonce of zeroes.
   */
  recipient(work: number): Recipient {
    return {
      wrapFileKey: async (fileKey: Uint8Array) => {
        const salt = randomBytes(SALT);
        const cipher = createCipheriv(ALGORITHM, await this.#key(salt, work), Buffer.alloc(12), { authTagLength: TAG });
        const body = Buffer.concat([cipher.update(fileKey), cipher.final(), cipher.getAuthTag()]);
        return [new Stanza(['scrypt', unpadded(salt), String(work)], body)];
      },
    };
  }

  /** Opens what was wrapped under this passphrase. Errors: `CODEC_CORRUPT` for a stanza that is none, or of more than {@link MOST_WORK}. */
  identity(): Identity {
    return {
      unwrapFileKey: async (stanzas: Stanza[]) => {
        for (const stanza of stanzas) {
          if (stanza.args[0] !== 'scrypt') continue;
          const { salt, work, body } = parse(stanza);
          const fileKey = unwrap(body, await this.#key(salt, work));
          if (fileKey !== undefined) return fileKey;
        }
        return null;
      },
    };
  }

  #key(salt: Uint8Array, work: number): Promise<Uint8Array> {
    const name = `${work} ${unpadded(salt)}`;
    const kept = this.#keys.get(name);
    if (kept !== undefined) return kept;
    const derived = this.#before.then(() => derive(this.#secret.reveal(), salt, work));
    this.#before = derived.catch(() => this.#keys.delete(name));
    this.#keys.set(name, derived);
    if (this.#keys.size > MOST_KEPT) this.#keys.delete(this.#keys.keys().next().value!);
    return derived;
  }
}

/** Errors: `CODEC_KEY` when the key cannot be had here, which says nothing of the object. */
function derive(passphrase: string, salt: Uint8Array, work: number): Promise<Uint8Array> {
  const cost = 2 ** work;
  // Twice what the function needs by its definition: the library counts some more.
  const options = { N: cost, r: 8, p: 1, maxmem: 2 * 128 * 8 * cost + 1024 * 1024 };
  return new Promise((resolve, reject) => {
    const fail = (cause: Error): void =>
      reject(
        new ArchiveError('CODEC_KEY', `scrypt of the passphrase failed: ${cause.message}`, {
          hint: `With a work factor of ${work} it takes ${Math.ceil(cost / 1024)} MiB of memory.`,
          cause,
        }),
      );
    scrypt(passphrase, Buffer.concat([Buffer.from(LABEL), salt]), 32, options, (error, key) => {
      if (error === null) resolve(key);
      else fail(error);
    });
  });
}

function parse({ args, body }: Stanza): { salt: Uint8Array; work: number; body: Uint8Array } {
  const [, salt = '', work = ''] = args;
  const bytes = Buffer.from(salt, 'base64');
  const valid = args.length === 3 && bytes.byteLength === SALT && unpadded(bytes) === salt;
  if (!valid || !/^[1-9]\d{0,8}$/.test(work) || body.byteLength !== FILE_KEY + TAG)
    throw corrupt('the passphrase stanza of the age header is damaged');
  if (Number(work) > MOST_WORK) {
    throw corrupt(
      `the age header asks for scrypt with a work factor of ${work}; ${MOST_WORK} is the most that is read`,
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
