/** Small things over a storage that every part of the repository needs. */
import { ArchiveError } from '../contracts/errors.ts';
import type { CallOptions, PutOptions, Storage } from '../contracts/storage.ts';

/** The most bytes that {@link readSmall} takes into memory. */
const SMALL = 64 * 1024 * 1024;

/** A body of one chunk that can be read again. */
export function bodyOf(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  return {
    async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
      if (bytes.byteLength > 0) yield bytes;
    },
  };
}

/** Stores a small object once; `retainUntil` in place of the repository's own lock. */
export async function putBytes(
  storage: Storage,
  key: string,
  bytes: Uint8Array,
  { retainUntil, ...options }: Pick<PutOptions, 'signal' | 'retainUntil'> = {},
): Promise<void> {
  const lock = retainUntil === undefined ? {} : { retainUntil };
  await storage.put(key, bodyOf(bytes), { ...signalOf(options), ...lock, ifAbsent: true, size: bytes.byteLength });
}

/** Reads a small object whole. */
export async function readSmall(storage: Storage, key: string, options: CallOptions = {}): Promise<Uint8Array> {
  return collect(storage.get(key, signalOf(options)), key);
}

/** Joins a stream of at most 64 MiB, or of at most `limit` bytes. */
export async function collect(
  source: AsyncIterable<Uint8Array>,
  name: string,
  limit: number = SMALL,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of source) {
    size += chunk.byteLength;
    if (size > limit) throw new ArchiveError('REPOSITORY_FORMAT', `${name} is larger than it can be`);
    chunks.push(chunk);
  }
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
}

/**
 * The names directly below a prefix that ends with a slash, folders and objects alike, without reading all keys below
 * them: after the first key of a folder the listing goes on behind the folder.
 */
export async function* childNames(storage: Storage, prefix: string, options: CallOptions = {}): AsyncGenerator<string> {
  let startAfter: string | undefined;
  for (;;) {
    let folder: string | undefined;
    for await (const { key } of storage.list(prefix, {
      ...signalOf(options),
      ...(startAfter === undefined ? {} : { startAfter }),
    })) {
      const rest = key.slice(prefix.length);
      const slash = rest.indexOf('/');
      if (slash < 0) {
        yield rest;
        continue;
      }
      folder = rest.slice(0, slash);
      break;
    }
    if (folder === undefined) return;
    yield folder;
    startAfter = `${prefix}${folder}/\u{10ffff}`;
  }
}

/** The signal of some options as options of their own, for calls that take nothing else of them. */
export function signalOf(options: CallOptions): CallOptions {
  return options.signal === undefined ? {} : { signal: options.signal };
}
