/** A repository on the file system, opened in this process. */
import zstd from '@pgark/codec-zstd';
import fs from '@pgark/storage-fs';
import { mkdirSync } from 'node:fs';
import { ArchiveError, type Storage } from '@pgark/sdk';
import { testContext } from '@pgark/sdk/testing';
import { Repository } from '../../core/src/repository/repository.ts';

export interface FsRepositoryOptions {
  /** Compressed with zstd unless false. */
  readonly compressed?: boolean;
  /** In the config; default `primary`. */
  readonly name?: string;
  /** Puts something around the storage, for instance a fault. */
  readonly wrap?: (storage: Storage) => Storage;
}

/** The cluster `main` in this folder, which is made. */
export async function fsRepository(folder: string, options: FsRepositoryOptions = {}): Promise<Repository> {
  mkdirSync(folder, { recursive: true });
  const context = testContext({ directory: '/' });
  const storage = await fs.create({ path: folder }, context);
  const codec = await zstd.create({ level: 1 }, context);
  return new Repository({
    cluster: 'main',
    ...(options.name === undefined ? {} : { name: options.name }),
    storage: options.wrap?.(storage) ?? storage,
    codecs: options.compressed === false ? [] : [codec],
    codecFor: (suffix) =>
      suffix === codec.suffix
        ? Promise.resolve(codec)
        : Promise.reject(new ArchiveError('CODEC_UNKNOWN', `no codec for .${suffix}`)),
  });
}
