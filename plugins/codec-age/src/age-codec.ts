import { hkdfSync, randomBytes } from 'node:crypto';
import {
  abortable,
  ArchiveError,
  ByteReader,
  throwIfAborted,
  type Codec,
  type CodecContext,
  type KeyUse,
  type PluginContext,
  type Secret,
} from '@pgark/sdk';
import { corrupt } from './corrupt.ts';
import {
  countOpened,
  makeHeader,
  NONCE,
  openHeader,
  readHeader,
  type FileHeader,
  type OpenedHeader,
} from './header.ts';
import { readIdentities, type Identities } from './identities.ts';
import { faultOfPassphrase, MOST_WORK, Passphrase } from './passphrase.ts';
import { openPayload, sealPayload } from './payload.ts';
import { faultOfRecipient, faultOfRecipients } from './recipients.ts';
import { SharedWork, unlessAborted } from './shared-work.ts';

/** The work factor of the age command: 256 MiB of memory and about a second. */
export const WORK = 18;

/** What {@link AgeCodec.keyIds} calls a passphrase. */
const PASSPHRASE = 'passphrase';

const WHAT = { encode: 'age encryption', decode: 'age decryption', inspect: 'reading an age header' } as const;

export interface AgeCodecOptions {
  /** Whom objects are written for, `age1...`; each of them can open every object. */
  readonly recipients?: readonly string[];
  /** Writes and reads, in place of recipients. */
  readonly passphrase?: Secret | undefined;
  /** Binary logarithm of the cost of a passphrase, 1 to 20; default {@link WORK}. One more doubles time and memory. */
  readonly workFactor?: number;
}

/**
 * age v1 (https://c2sp.org/age). Header, recipients and identities are those of the library `age-encryption`, the payload goes through
 * `node:crypto`, large ones in threads of their own.
 *
 * For recipients every object has a file key of its own. With a passphrase all objects of one codec share a file key and so a header.
 * That departs from the specification ("the file key MUST NOT be reused across multiple files"), because scrypt would take a second for
 * every WAL segment. No key encrypts twice for it: the key of each payload comes from the file key and 16 random bytes of the object by
 * HKDF. To wrap a new file key under the same scrypt key would be worse: the format wraps under a nonce of zeroes. Files with one header
 * are seen to be of one run, and who learns the file key of one can read the others, as whoever has the passphrase can.
 */
export class AgeCodec implements Codec {
  readonly id: string = 'age';
  readonly suffix: string = 'age';
  readonly keyIds: readonly string[];
  readonly #recipients: readonly string[];
  readonly #passphrase: Passphrase | undefined;
  readonly #work: number;
  readonly #askIdentities: PluginContext['identities'];
  #passphraseHeader: SharedWork<FileHeader> | undefined;
  #identities: Promise<Identities> | undefined;

  /** Errors: `PLUGIN_OPTIONS` for recipients that are none, or that cannot be together, and for a passphrase or a work factor that cannot be. */
  constructor(options: AgeCodecOptions, context: Pick<PluginContext, 'identities'> = {}) {
    const { recipients = [], passphrase, workFactor = WORK } = options;
    this.#recipients = [...new Set(recipients)];
    for (const recipient of this.#recipients) refuse('a recipient of codec age', faultOfRecipient(recipient));
    refuse('codec age:', faultOfRecipients(this.#recipients));
    if (passphrase !== undefined && this.#recipients.length > 0)
      refuse('codec age:', 'a passphrase and recipients exclude each other');
    if (passphrase !== undefined) refuse('the passphrase of codec age', faultOfPassphrase(passphrase.reveal()));
    if (!Number.isInteger(workFactor) || workFactor < 1 || workFactor > MOST_WORK)
      refuse('workFactor of codec age', `must be a whole number from 1 to ${MOST_WORK}`);
    this.#passphrase = passphrase && new Passphrase(passphrase);
    this.#work = workFactor;
    this.#askIdentities = context.identities;
    this.keyIds = this.#passphrase === undefined ? this.#recipients : [PASSPHRASE];
  }

  async *encode(source: AsyncIterable<Uint8Array>, context: CodecContext): AsyncGenerator<Uint8Array> {
    throwIfAborted(context.signal, WHAT.encode);
    const content = new ByteReader(abortable(source, context.signal, WHAT.encode));
    try {
      const { bytes, fileKey } = await this.#header(context.signal);
      const nonce = randomBytes(NONCE);
      yield Buffer.concat([bytes, nonce]);
      yield* sealPayload(content, { ...context, key: payloadKey(fileKey, nonce), what: WHAT.encode });
    } finally {
      await content.close();
    }
  }

  async *decode(source: AsyncIterable<Uint8Array>, context: CodecContext): AsyncGenerator<Uint8Array> {
    throwIfAborted(context.signal, WHAT.decode);
    const sealed = new ByteReader(abortable(source, context.signal, WHAT.decode));
    try {
      const header = await readHeader(sealed);
      const identities = await unlessAborted(this.#read(), context.signal, WHAT.decode);
      const keys = [
        ...identities.known.map(({ secret }) => secret),
        ...identities.passphrases.map((passphrase) => passphrase.identity(context.signal)),
      ];
      const opened = await openHeader(header, keys, context.signal);
      throwIfAborted(context.signal, WHAT.decode);
      if (opened.fileKey === undefined) throw noKey(opened, identities);
      const nonce = new Uint8Array(NONCE);
      if (!(await sealed.read(nonce))) throw corrupt('the age file ends before its payload');
      yield* openPayload(sealed, { ...context, key: payloadKey(opened.fileKey, nonce), what: WHAT.decode });
    } finally {
      await sealed.close();
    }
  }

  async inspect(source: AsyncIterable<Uint8Array>, { signal }: Pick<CodecContext, 'signal'>): Promise<KeyUse> {
    throwIfAborted(signal, WHAT.inspect);
    const reader = new ByteReader(abortable(source, signal, WHAT.inspect));
    try {
      const header = await readHeader(reader);
      const { stanzas } = await openHeader(header, []);
      const { known, passphrases } = await unlessAborted(this.#read(), signal, WHAT.inspect);
      // Such stanzas open nothing: they are there so that readers learn to pass over what they do not know.
      const keys = stanzas.filter(({ args }) => args[0]?.endsWith('-grease') !== true).length;
      const keyIds: string[] = [];
      let fileKey: Uint8Array | undefined;
      for (const { secret, recipient } of known) {
        const own = await openHeader(header, [secret], signal);
        if (own.fileKey !== undefined) keyIds.push(recipient);
        fileKey ??= own.fileKey;
      }
      let opened = keyIds.length;
      // Several stanzas can be for one key.
      if (fileKey !== undefined && keys > opened) {
        const secrets = known.map(({ secret }) => secret);
        opened = await countOpened(header, fileKey, secrets, signal);
      }
      const identities = passphrases.map((passphrase) => passphrase.identity(signal));
      const byPassphrase = (await openHeader(header, identities, signal)).fileKey !== undefined;
      throwIfAborted(signal, WHAT.inspect);
      if (byPassphrase) keyIds.push(PASSPHRASE);
      const unknown = keys - opened - (byPassphrase ? 1 : 0);
      return { keyIds, unknown, readable: keyIds.length > 0 };
    } finally {
      await reader.close();
    }
  }

  async #header(signal: AbortSignal | undefined): Promise<FileHeader> {
    const passphrase = this.#passphrase;
    if (passphrase === undefined) {
      if (this.#recipients.length > 0) return makeHeader(this.#recipients);
      throw new ArchiveError('CODEC_KEY', 'codec age has nobody to encrypt for', {
        hint: 'Give codec age "recipients", "recipientsFiles" or a "passphrase" in the config.',
      });
    }
    if (this.#passphraseHeader === undefined || this.#passphraseHeader.lost)
      this.#passphraseHeader = new SharedWork((calledOff) => makeHeader([passphrase.recipient(this.#work, calledOff)]));
    return this.#passphraseHeader.result(signal, WHAT.encode);
  }

  /** The keys that open, with the passphrase that writes; asked for when they are first needed, once: a command may give them. */
  #read(): Promise<Identities> {
    this.#identities ??= (async () => {
      const read = await readIdentities((await this.#askIdentities?.()) ?? []);
      return this.#passphrase === undefined ? read : { ...read, passphrases: [this.#passphrase, ...read.passphrases] };
    })().catch((error: unknown) => {
      this.#identities = undefined;
      throw error;
    });
    return this.#identities;
  }
}

function noKey({ stanzas }: OpenedHeader, { passphrases, faults }: Identities): ArchiveError {
  const trouble = faults.length === 0 ? '' : ` (${faults.join('; ')})`;
  if (stanzas.some(({ args }) => args[0] === 'scrypt')) {
    const which = passphrases.length === 0 ? 'a passphrase' : 'another passphrase';
    return new ArchiveError('CODEC_KEY', `it was encrypted with ${which}${trouble}`, {
      hint: 'Add the passphrase to restore.identities in the config, as a line "age-passphrase:...".',
    });
  }
  const count = `${stanzas.length} recipient${stanzas.length === 1 ? '' : 's'}`;
  return new ArchiveError('CODEC_KEY', `no identity at hand opens it; it was encrypted for ${count}${trouble}`, {
    hint: 'Add the key file of one of its recipients to restore.identities in the config.',
  });
}

function refuse(what: string, fault: string | undefined): void {
  if (fault !== undefined) throw new ArchiveError('PLUGIN_OPTIONS', `${what} ${fault}`);
}

function payloadKey(fileKey: Uint8Array, nonce: Uint8Array): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', fileKey, nonce, 'payload', 32));
}
