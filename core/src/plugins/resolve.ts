/** From the `use` of a config section to the module file of a plugin. */
import { realpath, stat } from 'node:fs/promises';
import { isAbsolute, join, resolve } from 'node:path';
import { ArchiveError, errnoOf } from '../contracts/errors.ts';
import type { PluginKind } from '../contracts/plugin.ts';
import {
  moduleFolders,
  packageFacts,
  readPackage,
  staticManifest,
  type PackageJson,
  type StaticManifest,
} from './discovery.ts';

export interface ResolvedPlugin {
  /** The package or the path, for messages. */
  readonly label: string;
  /** Absolute, links resolved. */
  readonly file: string;
  /** Of a package; a plain file has none. */
  readonly manifest?: StaticManifest;
  /** Of a package: what else its `package.json` says, and its folder, links resolved. */
  readonly package?: ReturnType<typeof packageFacts> & { readonly folder: string };
}

// From source the plugins of the workspace must be found as source too, whatever conditions the process was started with.
const CONDITIONS = new Set([
  'node',
  'import',
  'module-sync',
  'default',
  ...(import.meta.url.endsWith('.ts') ? ['@pgark/source'] : []),
]);

/** The packages that a `use` can mean, in the order in which they are tried. */
function candidates(kind: PluginKind, use: string): readonly string[] {
  if (use.includes('/')) return [use];
  const short = [`@pgark/${kind}-${use}`, `pgark-${kind}-${use}`];
  return use.startsWith('pgark-') ? [use, ...short] : [...short, use];
}

/**
 * Finds the plugin that `use` names: a path relative to `directory`, or a package in reach of `folders`, tried in order.
 *
 * Errors: `PLUGIN_NOT_FOUND` with what to install, `PLUGIN_INVALID` for a package without a usable entry.
 */
export async function resolvePlugin(
  kind: PluginKind,
  use: string,
  options: { readonly directory: string; readonly folders: readonly string[] },
): Promise<ResolvedPlugin> {
  if (/^\.{1,2}\//.test(use) || isAbsolute(use)) return resolvePath(use, resolve(options.directory, use));
  if (!/^(?:@[a-z0-9._~-]+\/)?[a-z0-9][a-z0-9._~-]*$/i.test(use)) {
    throw new ArchiveError('PLUGIN_NOT_FOUND', `"${use}" is neither the name of a package nor a path`, {
      hint: 'Give a short name, the name of a package, or a path that begins with ./ or /.',
    });
  }
  const names = candidates(kind, use);
  const modules = [...new Set(options.folders.flatMap(moduleFolders))];
  for (const name of names) {
    for (const folder of modules) {
      const content = await readPackage(join(folder, name));
      // An unrelated package that has the short name as its own is not meant.
      if (content === undefined || (name === use && !use.includes('/') && content.pgark === undefined)) continue;
      return resolvePackage(join(folder, name), name, content);
    }
  }
  throw new ArchiveError(
    'PLUGIN_NOT_FOUND',
    `${kind} "${use}" is not installed: there is no package ${names.join(', ')}`,
    {
      hint: `Run "npm install ${names[0] ?? use}" in ${options.directory} or where pgark is installed.`,
    },
  );
}

async function resolvePath(use: string, path: string): Promise<ResolvedPlugin> {
  let folder: boolean;
  try {
    folder = (await stat(path)).isDirectory();
  } catch (error) {
    throw new ArchiveError('PLUGIN_NOT_FOUND', `cannot find the plugin ${path}: ${errnoOf(error) ?? String(error)}`, {
      cause: error,
      hint: 'Check the path; it is relative to the folder of the config file.',
    });
  }
  if (!folder) return { label: use, file: await realpath(path) };
  const content = await readPackage(path);
  if (content === undefined) throw new ArchiveError('PLUGIN_INVALID', `the folder ${path} has no package.json`);
  return resolvePackage(path, use, content);
}

async function resolvePackage(folder: string, label: string, content: PackageJson): Promise<ResolvedPlugin> {
  const entry = content.exports === undefined ? mainOf(content) : target(rootExport(content.exports));
  if (entry === undefined)
    throw new ArchiveError('PLUGIN_INVALID', `package ${label} exports nothing that can be imported`);
  const file = join(folder, entry);
  const manifest = staticManifest(content);
  try {
    return {
      label,
      file: await realpath(file),
      package: { ...packageFacts(content), folder: await realpath(folder) },
      ...(manifest === undefined ? {} : { manifest }),
    };
  } catch (error) {
    throw new ArchiveError(
      'PLUGIN_INVALID',
      `package ${label} has no file ${file}: ${errnoOf(error) ?? String(error)}`,
      {
        cause: error,
        hint: 'Reinstall the package; in a source tree run "npm run build".',
      },
    );
  }
}

function mainOf(content: PackageJson): string {
  return typeof content.main === 'string' ? content.main : 'index.js';
}

/** The part of "exports" for the package itself: https://nodejs.org/api/packages.html#package-entry-points */
function rootExport(field: unknown): unknown {
  const map = typeof field === 'object' && field !== null && !Array.isArray(field);
  return map && Object.keys(field).some((key) => key.startsWith('.')) ? (field as Record<string, unknown>)['.'] : field;
}

function target(value: unknown): string | undefined {
  if (typeof value === 'string') return value.startsWith('./') ? value : undefined;
  if (Array.isArray(value)) return value.map(target).find((found) => found !== undefined);
  if (typeof value !== 'object' || value === null) return undefined;
  for (const [condition, inner] of Object.entries(value)) {
    const found = CONDITIONS.has(condition) ? target(inner) : undefined;
    if (found !== undefined) return found;
  }
  return undefined;
}
