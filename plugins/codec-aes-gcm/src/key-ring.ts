import { createSecretKey, type KeyObject } from 'node:crypto';
import { ArchiveError, type PluginContext } from '@pgark/sdk';
import type { Header } from './header.ts';
import { readIdentities } from './identities.ts';
import { keyProblems, parseKey, type AesGcmKey } from './keys.ts';
import { openObjectKey } from './object-key.ts';

interface NamedKey {
  readonly id: string;
  readonly key: KeyObject;
}

interface Others {
  readonly keys: readonly NamedKey[];
  readonly faults: readonly string[];
}

/** The keys at hand: those of the codec's own options, of which the first is written with, and those of `restore.identities`, to read with. */
export class KeyRing {
  readonly #own: readonly NamedKey[];
  readonly #askIdentities: PluginContext['identities'];
  #others: Promise<Others> | undefined;

  /** Errors: `PLUGIN_OPTIONS` for what {@link keyProblems} finds. */
  constructor(keys: readonly AesGcmKey[], identities: PluginContext['identities']) {
    const [problem] = keyProblems(keys);
    if (problem !== undefined) {
      const [at, member] = problem.path;
      throw new ArchiveError('PLUGIN_OPTIONS', `keys[${at}].${member}: ${problem.message}`);
    }
    this.#own = keys.flatMap(({ id, key }) => {
      const bytes = parseKey(key.reveal());
      return bytes === undefined ? [] : [named(id, bytes)];
    });
    this.#askIdentities = identities;
  }

  /** The id of the key that is written with; empty when there is none. */
  get writeIds(): readonly string[] {
    return this.#own.slice(0, 1).map(({ id }) => id);
  }

  /** The key to write with. Errors: `CODEC_KEY` when there is none. */
  get first(): NamedKey {
    const [first] = this.#own;
    if (first !== undefined) return first;
    throw new ArchiveError('CODEC_KEY', 'the codec aes-gcm has no key to write with', {
      hint: 'Give the codec aes-gcm "keys" in the config; nothing is ever written without one.',
    });
  }

  /** The payload key of an object; undefined when no key at hand opens it. Errors: those of the sources of `restore.identities`. */
  async tryOpen(header: Header): Promise<KeyObject | undefined> {
    return tryAll(this.#own, header) ?? tryAll((await this.#identities()).keys, header);
  }

  /** The payload key of an object. Errors: those of {@link tryOpen}; `CODEC_KEY`, which says whether the id or the bytes are not at hand. */
  async open(header: Header): Promise<KeyObject> {
    const payloadKey = await this.tryOpen(header);
    if (payloadKey === undefined) throw await this.#noKey(header);
    return payloadKey;
  }

  async #noKey({ keyId }: Header): Promise<ArchiveError> {
    const { keys, faults } = await this.#identities();
    const atHand = [...new Set([...this.#own, ...keys].map(({ id }) => id))];
    const options = { details: { keyId, atHand } };
    const trouble = faults.length === 0 ? '' : ` (${faults.join('; ')})`;
    if (atHand.includes(keyId)) {
      return new ArchiveError('CODEC_KEY', `written with another key "${keyId}" than the one at hand${trouble}`, {
        ...options,
        hint: `It is not damaged: give the id "${keyId}" back the bytes that it had, and new keys ids of their own.`,
      });
    }
    const others = atHand.length === 0 ? 'no key is' : atHand.join(', ');
    return new ArchiveError(
      'CODEC_KEY',
      `written with the key "${keyId}", which is not at hand; at hand: ${others}${trouble}`,
      {
        ...options,
        hint: `Add the key "${keyId}" behind the first of the "keys" of codec aes-gcm, or to restore.identities as aes-gcm:${keyId}:<key>.`,
      },
    );
  }

  /** Asked for when they are first needed, once: a command may give them. */
  #identities(): Promise<Others> {
    this.#others ??= (async () => {
      const { keys, faults } = readIdentities((await this.#askIdentities?.()) ?? []);
      return { keys: keys.map(({ id, bytes }) => named(id, bytes)), faults };
    })().catch((error: unknown) => {
      this.#others = undefined;
      throw error;
    });
    return this.#others;
  }
}

function named(id: string, bytes: Uint8Array): NamedKey {
  return { id, key: createSecretKey(bytes) };
}

function tryAll(keys: readonly NamedKey[], header: Header): KeyObject | undefined {
  for (const { id, key } of keys) {
    const payloadKey = id === header.keyId ? openObjectKey(header, key) : undefined;
    if (payloadKey !== undefined) return payloadKey;
  }
  return undefined;
}
