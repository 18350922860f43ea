import { setImmediate } from 'node:timers/promises';
import { abortable, mapOrdered, type Codec, type CodecContext, type KeyUse, type PluginContext } from '@pgark/sdk';
import { readHeader } from './header.ts';
import { KeyRing } from './key-ring.ts';
import type { AesGcmKey } from './keys.ts';
import { newObjectKey } from './object-key.ts';
import { open } from './open.ts';
import { PieceReader } from './piece-reader.ts';
import { seal } from './seal.ts';

export interface AesGcmCodecOptions {
  /** The first is written with, any is read with. Without one nothing can be written. */
  readonly keys: readonly AesGcmKey[];
}

/**
 * AES-256-GCM in chunks of 256 KiB, each object with a key of its own that is wrapped by the first key of the config. The format is
 * docs/reference/aes-gcm-format.md. `encode` and `decode` work on the thread of their caller, 1 MiB at a time.
 */
export class AesGcmCodec implements Codec {
  readonly id: string = 'aes-gcm';
  readonly suffix: string = 'aesgcm';
  readonly #keys: KeyRing;

  /** Errors: `PLUGIN_OPTIONS` for keys that are none, or not each of its own. */
  constructor(options: AesGcmCodecOptions, context: Pick<PluginContext, 'identities'> = {}) {
    this.#keys = new KeyRing(options.keys, context.identities);
  }

  get keyIds(): readonly string[] {
    return this.#keys.writeIds;
  }

  encode(source: AsyncIterable<Uint8Array>, context: CodecContext): AsyncIterable<Uint8Array> {
    const keys = this.#keys;
    return ahead(source, context, 'aes-gcm encryption', async function* (reader) {
      const { id, key } = keys.first;
      yield* seal(reader, newObjectKey(id, key));
    });
  }

  decode(source: AsyncIterable<Uint8Array>, context: CodecContext): AsyncIterable<Uint8Array> {
    const keys = this.#keys;
    return ahead(source, context, 'aes-gcm decryption', async function* (reader) {
      yield* open(reader, await keys.open(await readHeader(reader)));
    });
  }

  async inspect(source: AsyncIterable<Uint8Array>, { signal }: Pick<CodecContext, 'signal'>): Promise<KeyUse> {
    const reader = new PieceReader(abortable(source, signal, 'reading an aes-gcm header'));
    try {
      const header = await readHeader(reader);
      return { keyIds: [header.keyId], unknown: 0, readable: (await this.#keys.tryOpen(header)) !== undefined };
    } finally {
      await reader.close();
    }
  }
}

/** Runs `work` over a source, ahead of its reader as far as the concurrency allows: so storages write while more is encrypted. */
async function* ahead(
  source: AsyncIterable<Uint8Array>,
  context: CodecContext,
  what: string,
  work: (reader: PieceReader) => AsyncGenerator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const reader = new PieceReader(abortable(source, context.signal, what));
  try {
    yield* mapOrdered(work(reader), inTurn, { ...context, what });
  } finally {
    const closed = reader.close();
    // After an abort the source is told to end, and not waited for: it may never answer.
    if (context.signal?.aborted === true) closed.catch(() => undefined);
    else await closed;
  }
}

/** Gives everything else its turn: a source in memory and a fast reader would keep the thread to themselves. */
async function inTurn(block: Uint8Array): Promise<Uint8Array> {
  await setImmediate();
  return block;
}
