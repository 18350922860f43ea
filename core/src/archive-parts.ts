/** Opens what a config describes, part by part: the repositories, the hooks, the server. `core/src/archive` makes an archive of them. */
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Config, RepositoryConfig } from './config/config.ts';
import type { LoadedConfig } from './config/load.ts';
import { readSecret } from './config/secrets.ts';
import type { Codec } from './contracts/codec.ts';
import { ArchiveError, isArchiveError } from './contracts/errors.ts';
import type { Hook } from './contracts/hook.ts';
import type { Logger, MetricSample, Plugin } from './contracts/plugin.ts';
import type { Secret } from './contracts/secret.ts';
import type { HookDelivery } from './hooks/courier.ts';
import { Events } from './hooks/events.ts';
import { LateHook } from './hooks/late-hook.ts';
import { Registry } from './plugins/registry.ts';
import { resolveTarget, type ConnectionTarget } from './postgres/target.ts';
import { LateCodec } from './repository/late-parts.ts';
import { makeParts } from './repository-parts.ts';
import { Repository } from './repository/repository.ts';
import type { StorageCall } from './storage/observe.ts';
import type { RetryOptions } from './storage/retry.ts';
import { storageStack } from './storage/stack.ts';

/** What holds for all that is opened of one config. */
export interface SharedOptions {
  readonly logger: Logger;
  /** Plugins that the program brings itself; the config names them by their `name`. */
  readonly plugins?: readonly Plugin[];
  /** Told of what plugins count and measure. */
  readonly onMetric?: (sample: MetricSample) => void;
  /** Told of every try to tell a hook of an event. */
  readonly onDelivery?: (delivery: HookDelivery) => void;
  readonly signal?: AbortSignal;
}

/** How repositories are opened. */
export interface RepositoriesOptions {
  readonly logger: Logger;
  /** The names of the repositories that are wanted; nothing is needed for the others. Default, or empty: all of the config. */
  readonly repositories?: readonly string[];
  /**
   * How long calls of a storage are tried again; default 5 minutes without progress. `{ deadline: 0 }` is for work that has its own
   * way of waiting, such as receiving.
   */
  readonly retry?: RetryOptions;
  /** Bytes a second out of each storage, where the config does not allow less. */
  readonly maxDownloadRate?: number;
  /** Reads the repositories as they were at this moment, by the clock of their storages, and writes to none; see `Storage.asOf`. */
  readonly asOf?: Date;
  /** With `asOf`: the repositories that it concerns. Default: all. */
  readonly asOfRepositories?: readonly string[];
  /** Told of every attempt of every call of a storage, for metrics. */
  readonly onStorageCall?: (repository: string, call: StorageCall) => void;
}

export type OpenPartsOptions = SharedOptions & RepositoriesOptions;

export interface OpenRepositories {
  /** Those that are wanted, in the order of the config, which is the order of reading. At least one. */
  readonly repositories: readonly [Repository, ...Repository[]];
  /** Those that are written to: all that are not `readOnly`. When each is, all of them, so that a write fails and says why. */
  readonly writable: readonly [Repository, ...Repository[]];
  /** Frees everything, and throws the first failure of doing so. */
  close(): Promise<void>;
}

export interface ArchiveParts extends OpenRepositories {
  readonly config: Config;
  readonly registry: Registry;
  readonly events: Events;
  /** Where the server is: the config's URL, completed by the libpq environment. Errors: `SECRET_UNAVAILABLE`, `CONFIG_INVALID`. */
  target(options?: TargetOptions): Promise<ConnectionTarget>;
}

/**
 * Repositories and hooks of a config, opened together. Nothing is read from a storage and no server is asked. Errors: those of
 * {@link openRepositories} and {@link openEvents}.
 */
export async function openParts(loaded: LoadedConfig, options: OpenPartsOptions): Promise<ArchiveParts> {
  const { logger, signal } = options;
  const registry = registryOf(loaded, options);
  const opened = await openRepositories(loaded, registry, options);
  let events: Events;
  try {
    events = await openEvents(loaded, registry, options);
  } catch (error) {
    await opened.close();
    throw error;
  }
  return {
    config: loaded.config,
    registry,
    ...opened,
    events,
    target: (target = {}) => serverOf(loaded, { ...target, logger, ...(signal === undefined ? {} : { signal }) }),
    close: closingOnce([opened, events]),
  };
}

/** Finds and loads the plugins that the config names, with the keys of `restore.identities`, which are read once, when one is wanted. */
export function registryOf(
  { config, directory, env }: LoadedConfig,
  { logger, plugins, onMetric, signal }: SharedOptions,
): Registry {
  const cancel = signal === undefined ? {} : { signal };
  let identities: Promise<readonly Secret[]> | undefined;
  return new Registry({
    directory,
    env,
    logger,
    ...cancel,
    ...(plugins === undefined ? {} : { plugins }),
    ...(onMetric === undefined ? {} : { onMetric }),
    identities: () =>
      (identities ??= Promise.all(
        config.restore.identities.map((source, at) =>
          readSecret(source, { env, directory, what: `restore.identities[${at}]`, ...cancel }),
        ),
      )),
  });
}

/**
 * Makes the repositories of a config. Nothing is read from a storage.
 *
 * Of several wanted repositories one whose secret or plugin cannot be had is like one that is down: all that is asked of it fails with the
 * reason, and the others work. It is tried again while it is used.
 *
 * Errors: those of the plugins (`PLUGIN_*`, `SECRET_UNAVAILABLE`) when no repository can be made; `PLUGIN_OPTIONS` of any repository;
 * `USAGE` for an unknown name; `STORAGE_UNSUPPORTED` for a `lock` or an `asOf` that a storage cannot do. Without a configured codec nothing is ever written.
 */
export async function openRepositories(
  { config }: LoadedConfig,
  registry: Registry,
  options: RepositoriesOptions,
): Promise<OpenRepositories> {
  const { logger, onStorageCall, asOf, asOfRepositories } = options;
  const sections = wanted(config.repositories, options.repositories ?? []);
  const opened: Closable[] = [];
  try {
    const alone = sections.length === 1;
    const past = (name: string): { readonly asOf?: Date } =>
      asOf === undefined || asOfRepositories?.includes(name) === false ? {} : { asOf };
    const making = await Promise.allSettled(
      sections.map((section) => makeParts(section, registry, { alone, ...past(section.name) })),
    );
    const parts = making.flatMap((made) => (made.status === 'fulfilled' ? [made.value] : []));
    opened.push(...parts.map(({ storage }) => storage));
    for (const made of making) if (made.status === 'rejected') throw made.reason;
    const [first] = parts;
    if (first?.failure !== undefined && parts.every(({ failure }) => failure !== undefined)) throw first.failure;
    // What could not be made on this host reads nothing: an object of its codec may be read by that of another repository.
    const working = (codecs: readonly Codec[]): readonly Codec[] =>
      codecs.filter((codec) => !(codec instanceof LateCodec));
    const configured = working(parts.flatMap(({ codecs }) => codecs));
    const repositories = parts.map(({ storage, codecs }, at) => {
      const { name, storage: _, codecs: __, ...limits } = sections[at] as RepositoryConfig;
      return new Repository({
        cluster: config.cluster,
        name,
        storage: storageStack(storage, {
          ...limits,
          ...lowest(limits.maxDownloadRate, options.maxDownloadRate),
          ...('asOf' in past(name) && { readOnly: true }),
          logger,
          ...(onStorageCall === undefined ? {} : { onCall: (call) => onStorageCall(name, call) }),
          ...(options.retry === undefined ? {} : { retry: options.retry }),
        }),
        codecs,
        // Its own first: two repositories may have different keys for one codec.
        codecFor: async (suffix) =>
          [...working(codecs), ...configured].find((codec) => codec.suffix === suffix) ??
          registry.codecForSuffix(suffix),
        concurrency: config.concurrency,
        ...(limits.lock !== undefined && { lock: limits.lock }),
      });
    });
    const writable = repositories.filter((_, at) => sections[at]?.readOnly === false);
    return {
      repositories: repositories as [Repository, ...Repository[]],
      writable: (writable.length > 0 ? writable : repositories) as [Repository, ...Repository[]],
      close: closingOnce(repositories),
    };
  } catch (error) {
    await closingOnce(opened)();
    throw error;
  }
}

/**
 * Makes the hooks of a config. One whose secret cannot be read is like one that is away: a restore on another host needs no token of a chat.
 * Errors: those of the plugins (`PLUGIN_*`).
 */
export async function openEvents(
  { config }: LoadedConfig,
  registry: Registry,
  { logger, onDelivery, signal }: SharedOptions,
): Promise<Events> {
  const hooks = await Promise.all(
    config.hooks.map(async (section) => {
      const make = (): Promise<Hook> => registry.createHook(section.hook);
      try {
        return { config: section, hook: await make() };
      } catch (error) {
        if (!isArchiveError(error, 'SECRET_UNAVAILABLE')) throw error;
        const { name } = section;
        logger.warn({ hook: name, error }, `hook ${name} cannot be told of anything yet: ${error.message}`);
        return { config: section, hook: new LateHook({ error, make }) };
      }
    }),
  );
  return new Events({
    cluster: config.cluster,
    hooks,
    logger,
    folder: hooksFolder(config),
    ...(onDelivery === undefined ? {} : { onDelivery }),
    ...(signal === undefined ? {} : { signal }),
  });
}

/** Where events wait for the hooks of a cluster, one folder for each hook. */
export function hooksFolder({ cluster, receive }: Pick<Config, 'cluster' | 'receive'>): string {
  return join(receive.spool, cluster, 'hooks');
}

interface Closable {
  close(): Promise<void>;
}

/** Closes each of them, at the first call, and throws the first failure of doing so. */
export function closingOnce(parts: readonly Closable[]): () => Promise<void> {
  const open = [...parts];
  return async () => {
    const results = await Promise.allSettled(open.splice(0).map((part) => part.close()));
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  };
}

export interface TargetOptions {
  readonly applicationName?: string;
}

/** As {@link targetOf}, with what is wrong but not fatal told to the log. */
export async function serverOf(
  loaded: LoadedConfig,
  { logger, ...options }: TargetOptions & { readonly logger: Logger; readonly signal?: AbortSignal },
): Promise<ConnectionTarget> {
  const found = await targetOf(loaded, options);
  for (const warning of found.warnings) logger.warn({}, warning);
  return found;
}

function lowest(...rates: readonly (number | undefined)[]): { readonly maxDownloadRate?: number } {
  const known = rates.filter((rate) => rate !== undefined);
  return known.length === 0 ? {} : { maxDownloadRate: Math.min(...known) };
}

/** The sections of the repositories of these names; all without a name. */
function wanted(sections: readonly RepositoryConfig[], names: readonly string[]): readonly RepositoryConfig[] {
  for (const name of names) {
    if (sections.some((section) => section.name === name)) continue;
    throw new ArchiveError('USAGE', `the config has no repository "${name}"`, {
      hint: `It has: ${sections.map((section) => section.name).join(', ')}.`,
    });
  }
  return names.length === 0 ? sections : sections.filter(({ name }) => names.includes(name));
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
