/** The chunks of an object: docs/reference/aes-gcm-format.md, "Layout". */
import { createCipheriv, createDecipheriv, type KeyObject } from 'node:crypto';
import { ArchiveError } from '@pgark/sdk';

/** Bytes of content in every chunk but the last. */
export const CHUNK_LENGTH: number = 256 * 1024;
const TAG_LENGTH = 16;
export const SEALED_LENGTH: number = CHUNK_LENGTH + TAG_LENGTH;

/** Chunks of one object: 1 PiB of content. */
const MAX_CHUNKS = 2 ** 32;

const CIPHER = 'aes-256-gcm';
const CIPHER_OPTIONS = { authTagLength: TAG_LENGTH };

/** The place of a chunk: no two chunks of an object have the same, and a chunk opens in no other. */
export interface ChunkPlace {
  /** From 0. */
  readonly index: number;
  readonly last: boolean;
}

/** The nonce of a place. Errors: `CODEC_CORRUPT` beyond the limit of the format. */
export function chunkNonce({ index, last }: ChunkPlace): Buffer {
  if (index >= MAX_CHUNKS) {
    throw new ArchiveError('CODEC_CORRUPT', `an aes-gcm stream has at most ${MAX_CHUNKS} chunks`, {
      hint: 'Write smaller objects: the codec takes 1 PiB in each.',
    });
  }
  const nonce = Buffer.alloc(12);
  nonce.writeUIntBE(index, 5, 6);
  nonce[11] = last ? 1 : 0;
  return nonce;
}

/** Writes the sealed chunk into `target` at `at`; gives its length. */
export function sealChunk(key: KeyObject, place: ChunkPlace, content: Uint8Array, target: Buffer, at: number): number {
  const cipher = createCipheriv(CIPHER, key, chunkNonce(place), CIPHER_OPTIONS);
  target.set(cipher.update(content), at);
  cipher.final();
  target.set(cipher.getAuthTag(), at + content.byteLength);
  return content.byteLength + TAG_LENGTH;
}

/**
 * Writes the content of a sealed chunk into `target` at `at` and gives its length; undefined when it was not sealed with this key for this
 * place, and then what was written means nothing.
 */
export function openChunk(
  key: KeyObject,
  place: ChunkPlace,
  sealed: Uint8Array,
  target: Buffer,
  at: number,
): number | undefined {
  const length = sealed.byteLength - TAG_LENGTH;
  if (length < 0) return undefined;
  const decipher = createDecipheriv(CIPHER, key, chunkNonce(place), CIPHER_OPTIONS);
  decipher.setAuthTag(sealed.subarray(length));
  target.set(decipher.update(sealed.subarray(0, length)), at);
  try {
    decipher.final();
  } catch {
    return undefined; // the tag is another one
  }
  return length;
}
