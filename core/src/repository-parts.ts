/** Makes the storage and the codecs of a repository, as its section of the config says. */
import type { RepositoryConfig } from './config/config.ts';
import type { Codec } from './contracts/codec.ts';
import { isArchiveError, type ArchiveError, type ErrorCode } from './contracts/errors.ts';
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
  'ABORTED',
]);

/**
 * The parts of one of several repositories: a secret that cannot be read, or a plugin that is not installed, is a failure of this
 * repository and of no other. With `alone` it is thrown.
 *
 * Errors: `PLUGIN_OPTIONS`, which is a mistake in the config; with `alone` `PLUGIN_*`, `SECRET_UNAVAILABLE`, those of the plugin.
 */
export async function makeParts(
  section: RepositoryConfig,
  registry: Registry,
  { alone }: { readonly alone: boolean },
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
  const make = (): Promise<Storage> => registry.createStorage(section.storage);
  try {
    return { storage: await make(), codecs, failure };
  } catch (error) {
    return { storage: new LateStorage({ error: failed(error), make }), codecs, failure };
  }
}
