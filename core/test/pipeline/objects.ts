/** A storage in memory, codecs and sources for the tests of this folder. */
import { GzipCodec } from '@pgark/codec-gzip';
import { ZstdCodec } from '@pgark/codec-zstd';
import memory from '@pgark/storage-memory';
import { createHash } from 'node:crypto';
import { testContext } from '@pgark/sdk/testing';
import type { Codec } from '../../src/contracts/codec.ts';
import type { Storage } from '../../src/contracts/storage.ts';

export const zstd: Codec = new ZstdCodec({ level: 1 });
export const gzip: Codec = new GzipCodec({ level: 1 });

/** The chains that objects are stored through. */
export const CHAINS: readonly (readonly [string, readonly Codec[]])[] = [
  ['no codec', []],
  ['zstd', [zstd]],
  ['gzip, then zstd', [gzip, zstd]],
];

export async function memoryStorage(): Promise<Storage> {
  return memory.create({}, testContext());
}

/** A source that can be read again. */
export function bodyOf(...chunks: readonly Uint8Array[]): AsyncIterable<Uint8Array> {
  return {
    async *[Symbol.asyncIterator]() {
      yield* chunks;
    },
  };
}

export async function joined(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Content that compresses by about a half, the same for the same seed. */
export function content(length: number, seed = 'pgark'): Buffer {
  const bytes = Buffer.alloc(length);
  let noise = createHash('sha512').update(seed).digest();
  for (let at = 0; at < length; at += 128) {
    noise = createHash('sha512').update(noise).digest();
    bytes.set(noise.subarray(0, length - at), at);
  }
  return bytes;
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** The storage, but what `get` gives of every object goes through `change`. */
export function damaged(storage: Storage, change: (bytes: Buffer) => Uint8Array): Storage {
  return {
    capabilities: storage.capabilities,
    put: (key, body, options) => storage.put(key, body, options),
    async *get(key, options) {
      yield change(await joined(storage.get(key, options)));
    },
    stat: (key, options) => storage.stat(key, options),
    list: (prefix, options) => storage.list(prefix, options),
    remove: (keys, options) => storage.remove(keys, options),
    close: () => storage.close(),
  };
}
