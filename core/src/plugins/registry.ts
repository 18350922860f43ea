/** The plugins of one run: a value, filled on demand, forgotten with it. */
import type { Codec } from '../contracts/codec.ts';
import { ArchiveError } from '../contracts/errors.ts';
import type { Hook } from '../contracts/hook.ts';
import { API_VERSION, type Plugin, type PluginKind, type PluginKinds } from '../contracts/plugin.ts';
import type { Storage } from '../contracts/storage.ts';
import type { PluginSection } from '../config/config.ts';
import { pluginContext, type ContextOptions } from './context.ts';
import { discover, ownFolder, type InstalledPlugin } from './discovery.ts';
import { checkInstance, checkPlugin, loadPlugin } from './loader.ts';
import { prepareOptions } from './options.ts';
import { resolvePlugin } from './resolve.ts';

export interface RegistryOptions extends ContextOptions {
  /** The config file's folder: plugins are looked for from here first, and relative paths are resolved against it. */
  readonly directory: string;
  readonly env: NodeJS.ProcessEnv;
  /** Plugins that the embedding program brings itself; they come before installed ones. */
  readonly plugins?: readonly Plugin[];
}

/** Loads what a config names, lazily and once, and makes storages, codecs and hooks of it. */
export class Registry {
  readonly #options: RegistryOptions;
  readonly #own = new Map<string, Plugin>();
  readonly #loaded = new Map<string, Promise<Plugin>>();
  readonly #bySuffix = new Map<string, Promise<Codec>>();

  /** Errors: `PLUGIN_INVALID` for two given plugins of one name, and those of a given plugin that is none. */
  constructor(options: RegistryOptions) {
    this.#options = options;
    for (const plugin of options.plugins ?? []) {
      const key = `${plugin.kind} ${plugin.name}`;
      if (this.#own.has(key)) throw new ArchiveError('PLUGIN_INVALID', `two plugins are the ${key}`);
      this.#own.set(key, checkPlugin(plugin.kind, plugin.name, plugin));
    }
  }

  /**
   * The manifest of the plugin that a section names. The module is loaded at the first call.
   *
   * Errors: `PLUGIN_NOT_FOUND`, `PLUGIN_INCOMPATIBLE`, `PLUGIN_INVALID`.
   */
  async plugin<Kind extends PluginKind>(kind: Kind, use: string): Promise<Plugin<Kind>> {
    const key = `${kind} ${use}`;
    let plugin = this.#loaded.get(key);
    if (plugin === undefined) {
      plugin = this.#find(kind, use);
      this.#loaded.set(key, plugin);
    }
    return (await plugin) as Plugin<Kind>;
  }

  async #find(kind: PluginKind, use: string): Promise<Plugin> {
    const own = this.#own.get(`${kind} ${use}`);
    if (own !== undefined) return own;
    const { directory } = this.#options;
    return loadPlugin(kind, await resolvePlugin(kind, use, { directory, folders: this.#folders() }));
  }

  /** Loads the plugin of a section and validates its options. Errors: those of {@link plugin}, `PLUGIN_OPTIONS`, `SECRET_UNAVAILABLE`. */
  async check(kind: PluginKind, section: PluginSection): Promise<void> {
    await this.#prepare(await this.plugin(kind, section.use), section);
  }

  /** Errors: those of {@link check}. */
  async createStorage(section: PluginSection): Promise<Storage> {
    return this.#create('storage', section);
  }

  /** Errors: those of {@link check}. A codec that is configured is never left out. */
  async createCodec(section: PluginSection): Promise<Codec> {
    return this.#create('codec', section);
  }

  /** Errors: those of {@link check}. */
  async createHook(section: PluginSection): Promise<Hook> {
    return this.#create('hook', section);
  }

  /**
   * The codec that reads objects of this suffix, with the plugin's default options: found by what the installed packages
   * declare, whatever the config says. Errors: `CODEC_UNKNOWN`, and those of {@link check}.
   */
  async codecForSuffix(suffix: string): Promise<Codec> {
    let codec = this.#bySuffix.get(suffix);
    if (codec === undefined) {
      codec = this.#codecForSuffix(suffix);
      this.#bySuffix.set(suffix, codec);
    }
    return codec;
  }

  async #codecForSuffix(suffix: string): Promise<Codec> {
    const own = [...this.#own.values()].find((plugin) => plugin.kind === 'codec' && plugin.suffix === suffix);
    const use =
      own?.name ?? (await this.list()).find((plugin) => plugin.kind === 'codec' && plugin.suffix === suffix)?.package;
    if (use === undefined) {
      throw new ArchiveError('CODEC_UNKNOWN', `no installed codec reads ".${suffix}"`, { details: { suffix } });
    }
    return this.#create('codec', { use, options: {}, path: `codec ${use}`, texts: [] });
  }

  /** The plugins that are installed in reach of the config file and of pgark, and those that were given. Loads nothing. */
  async list(): Promise<readonly InstalledPlugin[]> {
    const given = [...this.#own.values()].map((plugin) => ({
      kind: plugin.kind,
      name: plugin.name,
      apiVersion: API_VERSION,
      ...(plugin.suffix === undefined ? {} : { suffix: plugin.suffix }),
      package: plugin.name,
      version: '',
      folder: '',
    }));
    return [...given, ...(await discover(this.#folders()))];
  }

  #folders(): readonly string[] {
    return [this.#options.directory, ownFolder()];
  }

  async #prepare(plugin: Plugin, section: PluginSection): Promise<unknown> {
    const { directory, env, signal } = this.#options;
    return prepareOptions(plugin, section, { directory, env, ...(signal === undefined ? {} : { signal }) });
  }

  async #create<Kind extends PluginKind>(kind: Kind, section: PluginSection): Promise<PluginKinds[Kind]> {
    const plugin = await this.plugin(kind, section.use);
    const options = await this.#prepare(plugin, section);
    const instance = await plugin.create(options, pluginContext(kind, plugin.name, this.#options));
    checkInstance(plugin, instance);
    return instance;
  }
}
