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
  /** Folder of the package, links resolved. */
  readonly folder: string;
}

/** What of a `package.json` matters here. */
export interface PackageJson {
  readonly name?: unknown;
  readonly version?: unknown;
  readonly exports?: unknown;
  readonly main?: unknown;
  readonly pgark?: unknown;
}

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
  const found = new Map<string, InstalledPlugin>();
  for (const folder of new Set(folders.flatMap(moduleFolders))) {
    for (const name of await packageNames(folder)) {
      if (found.has(name)) continue;
      const plugin = await readPlugin(join(folder, name));
      if (plugin !== undefined) found.set(name, plugin);
    }
  }
  const key = (plugin: InstalledPlugin): string => `${plugin.kind} ${plugin.name} ${plugin.package}`;
  return [...found.values()].sort((a, b) => (key(a) < key(b) ? -1 : 1));
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
    if (['ENOENT', 'ENOTDIR', 'EACCES'].includes(errnoOf(error) ?? '')) return [];
    throw error;
  }
}

async function readPlugin(folder: string): Promise<InstalledPlugin | undefined> {
  const content = await readPackage(folder);
  const manifest = content === undefined ? undefined : staticManifest(content);
  if (content === undefined || manifest === undefined) return undefined;
  const { name, version } = content;
  return {
    ...manifest,
    package: String(name),
    version: typeof version === 'string' ? version : '',
    folder: await realpath(folder),
  };
}

/** The `package.json` in a folder, or undefined when there is none that can be read. */
export async function readPackage(folder: string): Promise<PackageJson | undefined> {
  let text: string;
  try {
    text = await readFile(join(folder, 'package.json'), 'utf8');
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EACCES'].includes(errnoOf(error) ?? '')) return undefined;
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
