/** Opens what a config describes: the repositories, the hooks, the server. For the command line and for programs that embed pgark. */
import { homedir } from 'node:os';
import type { Config } from './config/config.ts';
import type { LoadedConfig } from './config/load.ts';
import { readSecret } from './config/secrets.ts';
import type { Codec } from './contracts/codec.ts';
import type { Logger, Plugin } from './contracts/plugin.ts';
import type { Secret } from './contracts/secret.ts';
import { Events } from './plugins/events.ts';
import { Registry } from './plugins/registry.ts';
import { resolveTarget, type ConnectionTarget } from './postgres/target.ts';
import { Repository } from './repository/repository.ts';
import type { StorageCall } from './storage/observe.ts';
import type { RetryOptions } from './storage/retry.ts';
import { storageStack } from './storage/stack.ts';

export interface OpenArchiveOptions {
  readonly logger: Logger;
  /** Plugins that the program brings itself; the config names them by their `name`. */
  readonly plugins?: readonly Plugin[];
  /**
   * How long calls of a storage are tried again; default 5 minutes without progress. `{ deadline: 0 }` is for work that has its own
   * way of waiting, such as receiving.
   */
  readonly retry?: RetryOptions;
  /** Told of every attempt of every call of a storage, for metrics. */
  readonly onStorageCall?: (repository: string, call: StorageCall) => void;
  readonly signal?: AbortSignal;
}

export interface Archive {
  readonly config: Config;
  readonly registry: Registry;
  /** In the order of the config, which is the order of reading. At least one. */
  readonly repositories: readonly [Repository, ...Repository[]];
  /** Those that are written to: all that are not `readOnly`. When each is, all of them, so that a write fails and says why. */
  readonly writable: readonly [Repository, ...Repository[]];
  readonly events: Events;
  /** Where the server is: the config's URL, completed by the libpq environment. Errors: `SECRET_UNAVAILABLE`, `CONFIG_INVALID`. */
  target(options?: { readonly applicationName?: string }): Promise<ConnectionTarget>;
  /** Frees everything, and throws the first failure of doing so. */
  close(): Promise<void>;
}

/**
 * Loads the plugins of a config and makes its repositories. Nothing is read from a storage and no server is asked.
 *
 * Errors: those of the plugins (`PLUGIN_*`, `SECRET_UNAVAILABLE`). A configured codec that cannot be had is fatal.
 */
export async function openArchive(loaded: LoadedConfig, options: OpenArchiveOptions): Promise<Archive> {
  const { config, directory, env } = loaded;
  const { logger, onStorageCall, signal } = options;
  const cancel = signal === undefined ? {} : { signal };
  let identities: Promise<readonly Secret[]> | undefined;
  const registry = new Registry({
    directory,
    env,
    logger,
    ...cancel,
    ...(options.plugins === undefined ? {} : { plugins: options.plugins }),
    identities: () =>
      (identities ??= Promise.all(
        config.restore.identities.map((source, at) =>
          readSecret(source, { env, directory, what: `restore.identities[${at}]`, ...cancel }),
        ),
      )),
  });

  const opened: { close(): Promise<void> }[] = [];
  const close = async (): Promise<void> => {
    const results = await Promise.allSettled(opened.splice(0).map((part) => part.close()));
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  };

  try {
    const codecs = await Promise.all(
      config.repositories.map((repository) =>
        Promise.all(repository.codecs.map((codec) => registry.createCodec(codec))),
      ),
    );
    const configured = new Map<string, Codec>(codecs.flat().map((codec) => [codec.suffix, codec]));
    const repositories: Repository[] = [];
    for (const [at, { name, storage, codecs: _, ...limits }] of config.repositories.entries()) {
      const made = new Repository({
        cluster: config.cluster,
        name,
        storage: storageStack(await registry.createStorage(storage), {
          ...limits,
          logger,
          ...(onStorageCall === undefined ? {} : { onCall: (call) => onStorageCall(name, call) }),
          ...(options.retry === undefined ? {} : { retry: options.retry }),
        }),
        codecs: codecs[at] ?? [],
        codecFor: async (suffix) => configured.get(suffix) ?? registry.codecForSuffix(suffix),
        concurrency: config.concurrency,
      });
      opened.push(made);
      repositories.push(made);
    }
    const writable = repositories.filter((_, at) => config.repositories[at]?.readOnly === false);
    const hooks = await Promise.all(
      config.hooks.map(async (hook) => ({ config: hook, hook: await registry.createHook(hook.hook) })),
    );
    const events = new Events({ cluster: config.cluster, hooks, logger, ...cancel });
    opened.push(events);
    return {
      config,
      registry,
      repositories: repositories as [Repository, ...Repository[]],
      writable: (writable.length > 0 ? writable : repositories) as [Repository, ...Repository[]],
      events,
      target: async (target = {}) => {
        const found = await targetOf(loaded, { ...target, ...cancel });
        for (const warning of found.warnings) logger.warn({}, warning);
        return found;
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The server that a config means, by its URL and password or the libpq environment. Errors: `SECRET_UNAVAILABLE`, `CONFIG_INVALID`. */
export async function targetOf(
  { config, directory, env }: { readonly config: Pick<Config, 'postgres'> } & Pick<LoadedConfig, 'directory' | 'env'>,
  options: { readonly applicationName?: string; readonly signal?: AbortSignal } = {},
): Promise<ConnectionTarget> {
  const { url, password } = config.postgres;
  const { applicationName, signal } = options;
  const read = async (source: NonNullable<typeof url>, what: string): Promise<Secret> =>
    readSecret(source, { env, directory, what, ...(signal === undefined ? {} : { signal }) });
  // libpq takes PGPASSWORD where the URL has no password, which is just what the key promises.
  const full =
    password === undefined ? env : { ...env, PGPASSWORD: (await read(password, 'postgres.password')).reveal() };
  return resolveTarget(url === undefined ? {} : { url: await read(url, 'postgres.url') }, {
    env: full,
    home: env['HOME'] ?? homedir(),
    ...(applicationName === undefined ? {} : { applicationName }),
  });
}
