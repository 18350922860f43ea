/** The one door to everything: a config becomes an {@link Archive}. */
import { loadConfig, type ConfigValue, type LoadedConfig } from '../config/load.ts';
import { ArchiveError } from '../contracts/errors.ts';
import type { Logger, MetricSample, Plugin } from '../contracts/plugin.ts';
import type { CallOptions } from '../contracts/storage.ts';
import type { HookDelivery } from '../hooks/courier.ts';
import type { StorageCall } from '../storage/observe.ts';
import type { Archive } from './archive.ts';
import { Holdings, type Workplace } from './workplace.ts';

export interface OpenArchiveOptions {
  /**
   * The path of a config file; or the config itself, with the same keys; or what `loadConfig` gave. All are checked by the same schema. A
   * config that is in no file can do everything but restore and drill, whose servers fetch their WAL by a command that reads a file: see
   * `command`.
   */
  readonly config: string | ConfigValue | LoadedConfig;
  /** Which section of a config with `clusters`. Default: the only one. */
  readonly cluster?: string;
  /**
   * The environment: variables that the config names, `PGARK_*` variables, which are laid over it, libpq's variables and `PATH`. Default: none,
   * whatever the environment of the process is; `process.env` makes it that of the command line.
   */
  readonly env?: NodeJS.ProcessEnv;
  /** Against which a relative path is resolved: that of the config file, those in a config that is a value. Default: the current folder. */
  readonly directory?: string;
  /** Told what the command line writes to stderr. Default: nothing is told. */
  readonly logger?: Logger;
  /** Plugins that the program brings itself; the config names them by their `name`. */
  readonly plugins?: readonly Plugin[];
  /**
   * Program and arguments that run pgark on this host for a restored server, with `--config` where the config is in no file. Default: the
   * command of this package, by the Node of this process. It must hold no secret.
   */
  readonly command?: readonly string[];
  /** Told of every attempt of every call of a storage, for metrics. */
  readonly onStorageCall?: (repository: string, call: StorageCall) => void;
  /** Told of what plugins count and measure. */
  readonly onMetric?: (sample: MetricSample) => void;
  /** Told of every try to tell a hook of an event. */
  readonly onDelivery?: (delivery: HookDelivery) => void;
  /** Cancels every call of the archive. It is to be closed all the same. */
  readonly signal?: AbortSignal;
}

const SILENT: Logger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

/**
 * Opens the archive of one cluster. The config is read and checked; plugins are loaded, and storage and server asked, when a call needs
 * them. Several archives may be open in one process and know nothing of each other. Each is to be closed.
 *
 * Errors: `CONFIG_NOT_FOUND`, `CONFIG_INVALID` with every problem at once, `PLUGIN_*` for one of `plugins` that is none.
 */
export async function openArchive(options: OpenArchiveOptions): Promise<Archive> {
  const { logger = SILENT, plugins, command, onStorageCall, onMetric, onDelivery } = options;
  const loaded = await loadedOf(options);
  const closing = new AbortController();
  const signals = options.signal === undefined ? [closing.signal] : [options.signal, closing.signal];
  const holdings = new Holdings({
    loaded,
    logger,
    signal: AbortSignal.any(signals),
    ...(plugins === undefined ? {} : { plugins }),
    ...(command === undefined ? {} : { command }),
    ...(onStorageCall === undefined ? {} : { onStorageCall }),
    ...(onMetric === undefined ? {} : { onMetric }),
    ...(onDelivery === undefined ? {} : { onDelivery }),
  });
  const running = new Set<Promise<unknown>>();
  let closed: Promise<void> | undefined;

  const run = async <Result>({ signal }: CallOptions, work: (at: Workplace) => Promise<Result>): Promise<Result> => {
    if (closed !== undefined)
      throw new ArchiveError('USAGE', `the archive of cluster "${loaded.config.cluster}" was closed`, {
        hint: 'Open it anew with openArchive().',
      });
    const either = AbortSignal.any(signal === undefined ? signals : [signal, ...signals]);
    const call = holdings.run(either, work);
    running.add(call);
    try {
      return await call;
    } finally {
      running.delete(call);
    }
  };
  const close = async (): Promise<void> => {
    closing.abort(new ArchiveError('ABORTED', 'the archive is being closed'));
    await Promise.allSettled(running);
    await holdings.close();
  };

  return {
    config: loaded.config,
    receive: (call = {}) => run(call, async (at) => (await import('./receive.ts')).receive(at, call)),
    backup: (call = {}) => run(call, async (at) => (await import('./backup.ts')).backup(at, call)),
    planRestore: (call = {}) => run(call, async (at) => (await import('./restore.ts')).planRestore(at, call)),
    restore: (call) => run(call, async (at) => (await import('./restore.ts')).restore(at, call)),
    walPush: (call) => run(call, async (at) => (await import('./wal-push.ts')).walPush(at, call)),
    walFetch: (call) => run(call, async (at) => (await import('./wal-fetch.ts')).walFetch(at, call)),
    backups: (call = {}) => run(call, async (at) => (await import('./list.ts')).backups(at, call)),
    show: (id, call = {}) => run(call, async (at) => (await import('./show.ts')).show(at, id, call)),
    map: (call = {}) => run(call, async (at) => (await import('./map.ts')).map(at, call)),
    status: (call = {}) => run(call, async (at) => (await import('./status.ts')).status(at, call)),
    receiver: (call = {}) => run(call, async (at) => (await import('./status.ts')).receiver(at)),
    verify: (call = {}) => run(call, async (at) => (await import('./verify.ts')).verify(at, call)),
    planExpire: (call = {}) => run(call, async (at) => (await import('./expire.ts')).planExpire(at, call)),
    expire: (call = {}) => run(call, async (at) => (await import('./expire.ts')).expire(at, call)),
    planGc: (call = {}) => run(call, async (at) => (await import('./garbage.ts')).planGc(at, call)),
    gc: (call = {}) => run(call, async (at) => (await import('./garbage.ts')).gc(at, call)),
    pin: (id, call) => run(call, async (at) => (await import('./pin.ts')).pin(at, id, call)),
    unpin: (id, call = {}) => run(call, async (at) => (await import('./pin.ts')).unpin(at, id, call)),
    planCopy: (call) => run(call, async (at) => (await import('./copy.ts')).planCopy(at, call)),
    copy: (call) => run(call, async (at) => (await import('./copy.ts')).copy(at, call)),
    drill: (call = {}) => run(call, async (at) => (await import('./drill.ts')).drill(at, call)),
    check: (call = {}) => run(call, async (at) => (await import('./check.ts')).check(at, call)),
    keys: (call = {}) => run(call, async (at) => (await import('./keys.ts')).keys(at, call)),
    tryHooks: (call = {}) => run(call, async (at) => (await import('./try-hooks.ts')).tryHooks(at, call)),
    serve: (call = {}) => run(call, async (at) => (await import('./serve.ts')).serve(at, call)),
    openScheduler: (call = {}) => run(call, async (at) => (await import('./schedule.ts')).openScheduler(at, call)),
    runs: (call = {}) => run(call, async (at) => (await import('./runs.ts')).runs(at, call)),
    clientCommand: (call) => run(call, async (at) => (await import('./client-command.ts')).clientCommand(at, call)),
    close: () => (closed ??= close()),
  };
}

async function loadedOf({ config, cluster, env = {}, directory = '.' }: OpenArchiveOptions): Promise<LoadedConfig> {
  if (typeof config === 'string') return loadConfig({ path: config, cluster, env, directory });
  return isLoaded(config) ? config : loadConfig({ value: config, cluster, env, directory });
}

function isLoaded(config: ConfigValue | LoadedConfig): config is LoadedConfig {
  return 'settings' in config && 'config' in config && 'env' in config;
}
