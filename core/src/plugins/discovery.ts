/** Finds plugins by the static "pgark" field of their package.json, without loading any code. */
import { readdir, readFile, realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { errnoOf } from '../contracts/errors.ts';
import type { PluginKind } from '../contracts/plugin.ts';

/** What a package's `package.json` says under `"pgark"`. */
export interface StaticManifest {
  readonly kind: PluginKind;
  readonly name: string;
  readonly apiVersion: number;
  /** For codecs: the suffix of object names. */
  readonly suffix?: string;
}

/** A plugin package that is installed. */
export interface InstalledPlugin extends StaticManifest {
  readonly package: string;
  readonly version: string;
  /** The versions of pgark that the package asks for beside it; absent if it does not say. */
  readonly pgarkRange?: string;
  /** Folder of the package, links resolved. */
  readonly folder: string;
}

/** A package that says that it is a plugin, in a way that cannot be read. */
export interface UnreadablePlugin {
  readonly package: string;
  readonly folder: string;
  /** `the "kind" in it is "toaster"`. */
  readonly reason: string;
}

/** What of a `package.json` matters here. */
export interface PackageJson {
  readonly name?: unknown;
  readonly version?: unknown;
  readonly exports?: unknown;
  readonly main?: unknown;
  readonly peerDependencies?: unknown;
  readonly pgark?: unknown;
}

/** Errors of the system that say that there is nothing which could be loaded: links in a circle and folders in the place of files are no plugins. */
const NOTHING: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'EACCES', 'EISDIR', 'ELOOP']);

/** pgark's own folder, from which the plugins installed beside it are found. */
export function ownFolder(): string {
  return dirname(fileURLToPath(import.meta.url));
}

/** The `node_modules` folders that Node would look into from `folder`, nearest first. */
export function moduleFolders(folder: string): readonly string[] {
  const folders: string[] = [];
  for (let at = folder; ; at = dirname(at)) {
    if (!at.endsWith('/node_modules')) folders.push(join(at, 'node_modules'));
    if (at === dirname(at)) return folders;
  }
}

/** All plugins in reach of these folders; of several copies of a package the nearest. Sorted by kind and name. */
export async function discover(folders: readonly string[]): Promise<readonly InstalledPlugin[]> {
  return (await discoverAll(folders)).plugins;
}

/** As {@link discover}, with the packages that say wrongly that they are plugins. */
export async function discoverAll(
  folders: readonly string[],
): Promise<{ readonly plugins: readonly InstalledPlugin[]; readonly unreadable: readonly UnreadablePlugin[] }> {
  const found = new Map<string, InstalledPlugin | UnreadablePlugin>();
  for (const folder of new Set(folders.flatMap(moduleFolders))) {
    for (const name of await packageNames(folder)) {
      if (found.has(name)) continue;
      const plugin = await readPlugin(join(folder, name), name);
      if (plugin !== undefined) found.set(name, plugin);
    }
  }
  const key = (plugin: InstalledPlugin): string => `${plugin.kind} ${plugin.name} ${plugin.package}`;
  const all = [...found.values()];
  return {
    plugins: all.filter((plugin) => 'kind' in plugin).sort((a, b) => (key(a) < key(b) ? -1 : 1)),
    unreadable: all.filter((plugin) => 'reason' in plugin).sort((a, b) => (a.package < b.package ? -1 : 1)),
  };
}

async function packageNames(folder: string): Promise<readonly string[]> {
  const names: string[] = [];
  for (const entry of await entries(folder)) {
    if (entry.startsWith('@')) names.push(...(await entries(join(folder, entry))).map((name) => `${entry}/${name}`));
    else if (!entry.startsWith('.')) names.push(entry);
  }
  return names;
}

async function entries(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    // A folder that is not there or not ours to read holds no plugin that could be loaded.
    if (NOTHING.has(errnoOf(error) ?? '')) return [];
    throw error;
  }
}

async function readPlugin(folder: string, name: string): Promise<InstalledPlugin | UnreadablePlugin | undefined> {
  const content = await readPackage(folder);
  if (content?.pgark === undefined) return undefined;
  const manifest = staticManifest(content);
  if (manifest === undefined) {
    return { package: name, folder: await realpath(folder), reason: manifestProblem(content.pgark) };
  }
  return { ...manifest, ...packageFacts(content), folder: await realpath(folder) };
}

/** What a `package.json` says of the package itself. */
export function packageFacts(content: PackageJson): Pick<InstalledPlugin, 'package' | 'version' | 'pgarkRange'> {
  const { name, version, peerDependencies } = content;
  const range = (peerDependencies as Readonly<Record<string, unknown>> | null | undefined)?.['pgark'];
  return {
    package: String(name),
    version: typeof version === 'string' ? version : '',
    ...(typeof range === 'string' ? { pgarkRange: range } : {}),
  };
}

/** The `package.json` in a folder, or undefined when there is none that can be read. */
export async function readPackage(folder: string): Promise<PackageJson | undefined> {
  let text: string;
  try {
    text = await readFile(join(folder, 'package.json'), 'utf8');
  } catch (error) {
    if (NOTHING.has(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
  try {
    const content: unknown = JSON.parse(text);
    return typeof content === 'object' && content !== null ? content : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined; // somebody's broken package is not a plugin
    throw error;
  }
}

/** The manifest in a `package.json`, or undefined when it has none of the right form. */
export function staticManifest(content: PackageJson): StaticManifest | undefined {
  const field = content.pgark;
  if (typeof field !== 'object' || field === null) return undefined;
  const { kind, name, apiVersion, suffix } = field as Readonly<Record<string, unknown>>;
  if (kind !== 'storage' && kind !== 'codec' && kind !== 'hook') return undefined;
  if (typeof name !== 'string' || typeof apiVersion !== 'number') return undefined;
  return { kind, name, apiVersion, ...(typeof suffix === 'string' ? { suffix } : {}) };
}

/** Why a "pgark" field is no manifest. */
function manifestProblem(field: unknown): string {
  if (typeof field !== 'object' || field === null) return 'it is not an object';
  const { kind, name } = field as Readonly<Record<string, unknown>>;
  if (kind !== 'storage' && kind !== 'codec' && kind !== 'hook') return `its kind is ${shown(kind)}`;
  return typeof name === 'string' ? 'its apiVersion is not a number' : `its name is ${shown(name)}`;
}

function shown(value: unknown): string {
  return value === undefined ? 'not given' : JSON.stringify(value);
}
