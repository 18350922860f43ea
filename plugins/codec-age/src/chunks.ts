/**
 * The payload of an age file (https://c2sp.org/age): chunks of 64 KiB, each sealed by ChaCha20-Poly1305 under a nonce that holds its
 * number and whether it is the last. A block is some of them in one piece of memory, and is sealed and opened in place.
 */
import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto';

/** Bytes of content in every chunk but the last. */
export const CHUNK: number = 64 * 1024;

/** Bytes that sealing adds to a chunk. */
export const TAG = 16;

/** Bytes of every sealed chunk but the last. */
export const SEALED: number = CHUNK + TAG;

/** Chunks in every block but the last. */
export const BLOCK_CHUNKS = 16;

const ALGORITHM = 'chacha20-poly1305';

/** Chunks in one piece of memory. Whatever it holds, each chunk has room for {@link SEALED} bytes. */
export interface Block {
  /** Of `BLOCK_CHUNKS * SEALED` bytes. */
  readonly memory: Uint8Array;
  /** Bytes in it: of content before it is sealed, of sealed chunks before it is opened. */
  readonly length: number;
  /** The number of its first chunk in the file, from 0. */
  readonly first: number;
  /** Whether the file ends with it. */
  readonly last: boolean;
}

/** Bytes that the block holds afterwards, at the beginning of its memory; or why it cannot be opened. */
export type BlockResult = { readonly length: number } | { readonly fault: string };

/** Seals the content of a block, of which each chunk begins at a multiple of {@link SEALED}. Without content it is one empty chunk. */
export function sealBlock({ memory, length, first, last }: Block, key: Uint8Array): BlockResult {
  const chunks = Math.max(1, Math.ceil(length / CHUNK));
  // Given as bytes, the key is made an object for every chunk, which takes a fifth of the time of sealing it.
  const secret = createSecretKey(key);
  for (let index = 0; index < chunks; index++) {
    const at = index * SEALED;
    const size = Math.min(CHUNK, length - index * CHUNK);
    const cipher = createCipheriv(ALGORITHM, secret, nonce(first + index, last && index === chunks - 1), {
      authTagLength: TAG,
    });
    move(cipher.update(memory.subarray(at, at + size)), memory, at);
    cipher.final();
    memory.set(cipher.getAuthTag(), at + size);
  }
  return { length: length + chunks * TAG };
}

/** Opens the sealed chunks of a block, which lie one behind the other; their content lies so afterwards. */
export function openBlock({ memory, length, first, last }: Block, key: Uint8Array): BlockResult {
  const chunks = Math.ceil(length / SEALED);
  if (chunks === 0) return { fault: 'the age payload ends before its last chunk' };
  const secret = createSecretKey(key);
  for (let index = 0; index < chunks; index++) {
    const sealed = memory.subarray(index * SEALED, Math.min((index + 1) * SEALED, length));
    const number = first + index;
    const isLast = last && index === chunks - 1;
    const content = openChunk(sealed, secret, nonce(number, isLast));
    if (content === undefined) return { fault: faultOf(sealed, secret, number, isLast) };
    // The format has one form for each content: an empty chunk behind others would be a second one.
    if (content.byteLength === 0 && number > 0) return { fault: 'the last chunk of the age payload is empty' };
    move(content, memory, index * CHUNK);
  }
  return { length: length - chunks * TAG };
}

/**
 * Copies what a cipher gave, and frees it. Each call of a cipher takes new memory: left to the collector it grows to a hundred megabytes,
 * never twice the same that is still in the cache, and sealing takes half as long again.
 */
function move(given: Buffer, target: Uint8Array, at: number): void {
  target.set(given, at);
  const memory = given.buffer as ArrayBuffer & { transfer(length: number): ArrayBuffer };
  // Only what is wholly its own: a piece of Node's pool would be taken from others.
  if (memory.byteLength === given.byteLength) memory.transfer(0);
}

function openChunk(sealed: Uint8Array, key: KeyObject, nonce: Uint8Array): Buffer | undefined {
  const size = sealed.byteLength - TAG;
  if (size < 0) return undefined;
  const decipher = createDecipheriv(ALGORITHM, key, nonce, { authTagLength: TAG });
  decipher.setAuthTag(sealed.subarray(size));
  const content = decipher.update(sealed.subarray(0, size));
  try {
    decipher.final();
  } catch {
    return undefined; // said by the caller, who knows which chunk it is
  }
  return content;
}

/** Says what is wrong with a chunk that does not open: whether it does as one that is, or is not, the last. */
function faultOf(sealed: Uint8Array, key: KeyObject, number: number, isLast: boolean): string {
  if (openChunk(sealed, key, nonce(number, !isLast)) === undefined)
    return `chunk ${number} of the age payload is damaged, cut off or not in its place`;
  return isLast
    ? `the age payload ends after chunk ${number}, before its last chunk`
    : `the age payload goes on after chunk ${number}, its last`;
}

/** 11 bytes of the chunk's number, big-endian, and one that is 1 for the last. */
function nonce(number: number, isLast: boolean): Uint8Array {
  const bytes = Buffer.alloc(12);
  bytes.writeUInt32BE(Math.floor(number / 2 ** 32), 3);
  bytes.writeUInt32BE(number % 2 ** 32, 7);
  bytes[11] = isLast ? 1 : 0;
  return bytes;
}
