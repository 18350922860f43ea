/** Makes the storage and the codecs of a repository, as its section of the config says. */
import type { RepositoryConfig } from './config/config.ts';
import type { Codec } from './contracts/codec.ts';
import { ArchiveError, isArchiveError, type ErrorCode } from './contracts/errors.ts';
import type { Storage } from './contracts/storage.ts';
import type { Registry } from './plugins/registry.ts';
import { LateCodec, LateStorage } from './repository/late-parts.ts';
import { repositoryFailure } from './repository/repository-failure.ts';

export interface RepositoryParts {
  readonly storage: Storage;
  /** In order of application. */
  readonly codecs: readonly Codec[];
  /** Why some of them could not be made; they are tried again when they are used, and fail with the reason. */
  readonly failure: ArchiveError | undefined;
}

/** Mistakes in the config and ends of the run. All else may be so on this host and at this moment only. */
const FATAL: ReadonlySet<ErrorCode> = new Set([
  'PLUGIN_OPTIONS',
  'CONFIG_INVALID',
  'CONFIG_NOT_FOUND',
  'USAGE',
  'STORAGE_UNSUPPORTED',
  'ABORTED',
]);

/**
 * The parts of one of several repositories: a secret that cannot be read, or a plugin that is not installed, is a failure of this
 * repository and of no other. With `alone` it is thrown.
 *
 * With `asOf` the storage is read as it was then.
 *
 * Errors: `PLUGIN_OPTIONS` and `STORAGE_UNSUPPORTED`, which are mistakes in the config; with `alone` `PLUGIN_*`, `SECRET_UNAVAILABLE`, those of the plugin.
 */
export async function makeParts(
  section: RepositoryConfig,
  registry: Registry,
  { alone, asOf }: { readonly alone: boolean; readonly asOf?: Date },
): Promise<RepositoryParts> {
  let failure: ArchiveError | undefined;
  const failed = (error: unknown): ArchiveError => {
    if (alone || (isArchiveError(error) && FATAL.has(error.code))) throw error;
    const own = repositoryFailure(section.name, error).error;
    failure ??= own;
    return own;
  };
  let codecs: readonly Codec[];
  try {
    codecs = await Promise.all(
      section.codecs.map(async (codec) => {
        const make = (): Promise<Codec> => registry.createCodec(codec);
        try {
          return await make();
        } catch (error) {
          const reason = failed(error);
          const { name: id, suffix = '' } = await registry.plugin('codec', codec.use);
          return new LateCodec({ id, suffix, error: reason, make });
        }
      }),
    );
  } catch (error) {
    // Nobody knows what the names of its objects would be: it stays as it is until the run ends.
    const reason = failed(error);
    const make = (): Promise<never> => Promise.reject(reason);
    return { storage: new LateStorage({ error: reason, make }), codecs: [], failure };
  }
  const make = async (): Promise<Storage> => {
    const storage = await registry.createStorage(section.storage);
    try {
      return checked(section, storage, asOf);
    } catch (error) {
      await storage.close();
      throw error;
    }
  };
  try {
    return { storage: await make(), codecs, failure };
  } catch (error) {
    return { storage: new LateStorage({ error: failed(error), make }), codecs, failure };
  }
}

/** The storage as it is to be used. A lock that nobody enforces is refused before anything is written without it (H-62). */
function checked({ name, lock }: RepositoryConfig, storage: Storage, asOf: Date | undefined): Storage {
  if (lock !== undefined && !storage.capabilities.retention)
    throw new ArchiveError('STORAGE_UNSUPPORTED', `repository ${name} has a "lock", and its storage locks nothing`, {
      hint: 'Give the storage its option for locks (objectLock of s3, immutability of azure, retention of gcs), or take "lock" out of the repository.',
    });
  if (asOf === undefined) return storage;
  if (storage.asOf === undefined)
    throw new ArchiveError('STORAGE_UNSUPPORTED', `the storage of repository ${name} cannot be read as of a moment`, {
      hint: 'Only a storage that keeps versions can; name the repositories whose storage does with --repository.',
    });
  return storage.asOf(asOf);
}
