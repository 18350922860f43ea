/** Which plugins there are, and which of them a config names: by what files say. No code of a plugin runs. */
import type { LoadedConfig } from '../config/load.ts';
import type { PluginSection } from '../config/config.ts';
import { isArchiveError, type ErrorCode } from '../contracts/errors.ts';
import { API_VERSION, type PluginKind } from '../contracts/plugin.ts';
import { pluginSections } from './check.ts';
import { discoverAll, ownFolder, type UnreadablePlugin } from './discovery.ts';
import { resolvePlugin } from './resolve.ts';

/** A section of a config that names a plugin. */
export interface NamedPlugin {
  readonly kind: PluginKind;
  readonly section: PluginSection;
  /** Where it stands; with the cluster, if the file has several: `main: repositories[0].storage`. */
  readonly place: string;
}

export interface ListedPlugin {
  readonly kind: PluginKind;
  readonly name: string;
  /** For codecs. */
  readonly suffix?: string;
  /** The version of the plugin API for which it is made; absent for a plain file, which says it in its code only. */
  readonly apiVersion?: number;
  /** Whether this pgark takes that version. */
  readonly supported?: boolean;
  readonly package?: string;
  readonly version?: string;
  /** The versions of pgark that the package asks for. */
  readonly pgarkRange?: string;
  /** The folder of the package, or the file. */
  readonly from?: string;
  /** The places of the config that name it; absent when no config could be read. */
  readonly namedBy?: readonly string[];
  /** Why what the config names is not there. */
  readonly problem?: { readonly code: ErrorCode; readonly message: string; readonly hint: string };
}

/** All sections of these configs that name a plugin. */
export function namedPlugins(clusters: readonly LoadedConfig[]): readonly NamedPlugin[] {
  return clusters.flatMap(({ config }) =>
    pluginSections(config).map((named) => {
      const path = named.section.path;
      return { ...named, place: clusters.length === 1 ? path : `${config.cluster}: ${path}` };
    }),
  );
}

/**
 * The plugins in reach of `directory` and of pgark, and what `named` names beside them: files, folders, and what is missing.
 * Without `named` it is not known what the config names.
 */
export async function listPlugins(
  directory: string,
  named: readonly NamedPlugin[] | undefined,
): Promise<{ readonly plugins: readonly ListedPlugin[]; readonly unreadable: readonly UnreadablePlugin[] }> {
  const folders = [directory, ownFolder()];
  const { plugins, unreadable } = await discoverAll(folders);
  const places = new Map<string, string[]>();
  const rows = new Map<string, Omit<ListedPlugin, 'namedBy'>>();
  for (const { folder, ...plugin } of plugins) {
    rows.set(`${plugin.kind} ${folder}`, { ...plugin, supported: plugin.apiVersion === API_VERSION, from: folder });
  }
  for (const { kind, section, place } of named ?? []) {
    const row = await describe(kind, section.use, directory, folders);
    const key = `${row.kind} ${row.from ?? section.use}`;
    if (!rows.has(key)) rows.set(key, row);
    places.set(key, [...(places.get(key) ?? []), place]);
  }
  return {
    plugins: [...rows].map(([key, row]) => ({
      ...row,
      ...(named === undefined ? {} : { namedBy: places.get(key) ?? [] }),
    })),
    unreadable,
  };
}

async function describe(
  kind: PluginKind,
  use: string,
  directory: string,
  folders: readonly string[],
): Promise<Omit<ListedPlugin, 'namedBy'>> {
  try {
    const { file, manifest, package: found } = await resolvePlugin(kind, use, { directory, folders });
    if (found === undefined) return { kind, name: use, from: file };
    const { folder, ...facts } = found;
    if (manifest === undefined) return { kind, name: use, ...facts, from: folder };
    return { ...manifest, supported: manifest.apiVersion === API_VERSION, ...facts, from: folder };
  } catch (error) {
    if (!isArchiveError(error)) throw error;
    const { code, message, hint } = error;
    return { kind, name: use, problem: { code, message, hint } };
  }
}
