/** A repository in memory for the tests of this folder. */
import zstd from '@pgark/codec-zstd';
import memory from '@pgark/storage-memory';
import { testContext } from '@pgark/sdk/testing';
import { ArchiveError } from '../../src/contracts/errors.ts';
import type { Codec } from '../../src/contracts/codec.ts';
import type { Storage } from '../../src/contracts/storage.ts';
import { Repository } from '../../src/repository/repository.ts';

export const pluginContext = testContext({ directory: '/' });

export async function memoryStorage(): Promise<Storage> {
  return memory.create({}, pluginContext);
}

export async function memoryRepository(
  options: { storage?: Storage; compressed?: boolean; cluster?: string; name?: string } = {},
): Promise<Repository> {
  const codec: Codec = await zstd.create({ level: 1 }, pluginContext);
  return new Repository({
    cluster: options.cluster ?? 'main',
    ...(options.name === undefined ? {} : { name: options.name }),
    storage: options.storage ?? (await memoryStorage()),
    codecs: options.compressed === false ? [] : [codec],
    codecFor: (suffix) =>
      suffix === codec.suffix
        ? Promise.resolve(codec)
        : Promise.reject(new ArchiveError('CODEC_UNKNOWN', `no codec for .${suffix}`)),
  });
}

export async function keysOf(storage: Storage): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of storage.list('')) keys.push(key);
  return keys;
}
