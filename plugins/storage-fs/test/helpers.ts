import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Storage } from '@pgark/sdk';
import { FsStorage, type FsStorageOptions } from '@pgark/storage-fs';
import { silentLogger } from '../../../test/support/silent-logger.ts';

export function open(path: string, options: Partial<FsStorageOptions> = {}): FsStorage {
  return new FsStorage({ path, ...options }, { directory: '/', logger: silentLogger });
}

export async function* body(...chunks: (string | Uint8Array)[]): AsyncGenerator<Uint8Array, void, undefined> {
  for (const chunk of chunks) yield typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
}

export async function put(storage: Storage, key: string, content = `content of ${key}`): Promise<void> {
  await storage.put(key, body(content), { ifAbsent: true });
}

export async function read(storage: Storage, key: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of storage.get(key)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

export async function keysOf(storage: Storage, prefix = '', startAfter?: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of storage.list(prefix, startAfter === undefined ? {} : { startAfter })) keys.push(key);
  return keys;
}

/** Names of the temporary files in a root. */
export function temporaryFiles(root: string): string[] {
  return readdirSync(join(root, '.pgark-tmp'));
}
