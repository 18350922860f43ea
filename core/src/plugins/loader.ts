/** Imports a plugin and checks that it is one, of the kind and the API version that are wanted. */
import { pathToFileURL } from 'node:url';
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import { API_VERSION, type Plugin, type PluginKind } from '../contracts/plugin.ts';
import type { ResolvedPlugin } from './resolve.ts';

/**
 * Loads the plugin's module and gives its manifest.
 *
 * Errors: `PLUGIN_INCOMPATIBLE` for another kind or API version, `PLUGIN_INVALID` for a module that does not load or
 * breaks the contract.
 */
export async function loadPlugin<Kind extends PluginKind>(kind: Kind, found: ResolvedPlugin): Promise<Plugin<Kind>> {
  // What package.json says is enough to refuse a plugin before its code runs.
  if (found.manifest !== undefined) checkCompatible(kind, found.label, found.manifest);
  let module: { readonly default?: unknown };
  try {
    module = (await import(pathToFileURL(found.file).href)) as typeof module;
  } catch (error) {
    if (isArchiveError(error)) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new ArchiveError('PLUGIN_INVALID', `cannot load plugin ${found.label}: ${reason.split('\n')[0]}`, {
      cause: error,
      hint: `Reinstall it with its dependencies; the file is ${found.file}.`,
    });
  }
  const plugin = checkPlugin(kind, found.label, module.default);
  const { manifest } = found;
  if (manifest !== undefined && (manifest.name !== plugin.name || manifest.suffix !== plugin.suffix)) {
    throw invalid(found.label, 'says something else in its package.json than in its code');
  }
  return plugin;
}

/** Checks a value that should be a plugin's manifest. Errors: `PLUGIN_INCOMPATIBLE`, `PLUGIN_INVALID`. */
export function checkPlugin<Kind extends PluginKind>(kind: Kind, label: string, value: unknown): Plugin<Kind> {
  if (typeof value !== 'object' || value === null) throw invalid(label, 'has no manifest as its default export');
  const plugin = value as Partial<Plugin<Kind>>;
  if (typeof plugin.name !== 'string' || plugin.name === '') throw invalid(label, 'has no name');
  if (typeof plugin.kind !== 'string') throw invalid(label, 'has no kind');
  if (typeof plugin.apiVersion !== 'number') throw invalid(label, 'has no apiVersion');
  checkCompatible(kind, label, { kind: plugin.kind, apiVersion: plugin.apiVersion });
  if (typeof plugin.create !== 'function') throw invalid(label, 'has no function "create"');
  if (typeof plugin.options?.['~standard']?.validate !== 'function') throw invalid(label, 'has no options schema');
  if (plugin.kind === 'codec' && !/^[a-z0-9]{1,16}$/.test(plugin.suffix ?? ''))
    throw invalid(label, 'has no valid suffix');
  return value as Plugin<Kind>;
}

const METHODS: Readonly<Record<PluginKind, readonly string[]>> = {
  storage: ['put', 'get', 'stat', 'list', 'remove', 'close'],
  codec: ['encode', 'decode'],
  hook: ['handle', 'close'],
};

/** Checks what a plugin's `create` gave. Errors: `PLUGIN_INVALID`. */
export function checkInstance<Kind extends PluginKind>(plugin: Plugin<Kind>, instance: unknown): void {
  const members = (typeof instance === 'object' && instance !== null ? instance : {}) as Readonly<
    Record<string, unknown>
  >;
  const missing = METHODS[plugin.kind].filter((method) => typeof members[method] !== 'function');
  if (missing.length > 0) throw invalid(plugin.name, `created a ${plugin.kind} without ${missing.join(', ')}`);
  if (plugin.kind === 'storage' && typeof members['capabilities'] !== 'object') {
    throw invalid(plugin.name, 'created a storage without capabilities');
  }
  if (plugin.kind === 'codec' && members['suffix'] !== plugin.suffix) {
    throw invalid(
      plugin.name,
      `declares the suffix "${plugin.suffix}" and created a codec of "${String(members['suffix'])}"`,
    );
  }
}

function checkCompatible(
  kind: PluginKind,
  label: string,
  got: { readonly kind: string; readonly apiVersion: number },
): void {
  if (got.kind !== kind) {
    throw new ArchiveError('PLUGIN_INCOMPATIBLE', `plugin ${label} is a ${got.kind}, wanted a ${kind}`, {
      hint: `Name a ${kind} in this section of the config.`,
    });
  }
  if (got.apiVersion !== API_VERSION) {
    throw new ArchiveError(
      'PLUGIN_INCOMPATIBLE',
      `plugin ${label} is made for plugin API ${got.apiVersion}, wanted ${API_VERSION}`,
    );
  }
}

function invalid(label: string, reason: string): ArchiveError {
  return new ArchiveError('PLUGIN_INVALID', `plugin ${label} ${reason}`);
}
