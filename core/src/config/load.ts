/** From a file and the environment to a {@link Config}. */
import { availableParallelism } from 'node:os';
import { basename, dirname, extname, resolve } from 'node:path';
import { ArchiveError } from '../contracts/errors.ts';
import type { Config, HookConfig, PluginSection } from './config.ts';
import { environmentSettings, withValue, type Setting } from './environment.ts';
import { expand } from './expand.ts';
import { settingsOf, type ConfigSetting, type Origin } from './explain.ts';
import { formatPath, keyTree, nodeAt, type KeyPath } from './keys.ts';
import { configInvalid, type Problem } from './problems.ts';
import { sectionSchema, type ParsedSection } from './schema.ts';
import { searched } from './search.ts';
import { displayPath, findSource, valueSource, type ConfigSource } from './source.ts';
import { suggest } from './suggest.ts';
import { coerceTexts, dropNulls, environmentReferences } from './tree.ts';

export interface LoadOptions {
  /** As given by `--config`; else `PGARK_CONFIG`, else the usual places. */
  readonly path?: string | undefined;
  readonly env: NodeJS.ProcessEnv;
  /** Where the file is looked for, and against which a relative `path` is resolved. */
  readonly directory: string;
  /** As given by `--cluster`: which section of a file with `clusters`. */
  readonly cluster?: string | undefined;
  /** The config itself, in place of a file: no file is looked for, and paths in it are resolved against `directory`. */
  readonly value?: ConfigValue | undefined;
}

/** A config as a program writes it: the keys of `docs/reference/config.md`, sizes and durations as there (`64MiB`, `14d`). */
export interface ConfigValue {
  /** Its name in the repository. */
  readonly cluster?: string;
  readonly postgres?: { readonly url?: SecretValue; readonly password?: SecretValue };
  /** Read once, written to all. */
  readonly repositories?: readonly RepositoryValue[];
  readonly receive?: Keys;
  readonly backup?: Keys;
  readonly restore?: Keys;
  readonly retention?: Keys;
  readonly drill?: Keys;
  readonly hooks?: readonly PluginValue[];
  /** Every other key of the reference; a key that is none is refused. */
  readonly [key: string]: unknown;
}

/** A repository of a {@link ConfigValue}. */
export interface RepositoryValue extends Keys {
  readonly name?: string;
  readonly storage: PluginValue;
  /** In order of application. */
  readonly codecs?: readonly PluginValue[];
}

/** A section that names a plugin, with the plugin's own options. */
export interface PluginValue extends Keys {
  /** Short name, package name or path. */
  readonly use: string;
}

/** A secret, or where it comes from. */
export type SecretValue =
  string | { readonly env: string } | { readonly file: string } | { readonly command: readonly string[] };

type Keys = Readonly<Record<string, unknown>>;

export interface LoadedConfig {
  readonly config: Config;
  /** The file, absolute; absent when everything came from the environment. */
  readonly path?: string;
  /** Against which paths and plugins in the config are resolved. */
  readonly directory: string;
  /** The environment that the config was read with. */
  readonly env: NodeJS.ProcessEnv;
  /** Every key, its value and where that came from, in the order of the schema. */
  readonly settings: readonly ConfigSetting[];
}

/**
 * Reads, checks and completes the config of one cluster. No plugin is loaded and no secret is read.
 *
 * Errors: `CONFIG_NOT_FOUND`, and `CONFIG_INVALID` with every problem at once.
 */
export async function loadConfig(options: LoadOptions): Promise<LoadedConfig> {
  const source = await readSource(options);
  return build(source, pickCluster(source, options), options);
}

/** As {@link loadConfig}, for every cluster of the file unless `cluster` names one. */
export async function loadConfigs(options: LoadOptions): Promise<readonly LoadedConfig[]> {
  const sections = await loadSections(options);
  const errors = sections.flatMap((section) => ('error' in section ? [section.error] : []));
  const problems = errors.flatMap(({ details }) => (details['problems'] as readonly Problem[] | undefined) ?? []);
  if (problems.length > 0) throw configInvalid(distinct(problems));
  return sections.flatMap((section) => ('loaded' in section ? [section.loaded] : []));
}

/** A section of a file with several clusters, or why it cannot be used (`CONFIG_INVALID`). */
export type LoadedSection =
  { readonly name: string; readonly loaded: LoadedConfig } | { readonly name: string; readonly error: ArchiveError };

/**
 * As {@link loadConfigs}, but a section that is not valid does not hide the others. Errors: those of {@link loadConfig} when the file is one
 * section, or not one at all.
 */
export async function loadSections(options: LoadOptions): Promise<readonly LoadedSection[]> {
  const source = await readSource(options);
  const names = options.cluster === undefined ? clusterNames(source, options.directory) : undefined;
  if (names === undefined) {
    const loaded = build(source, pickCluster(source, options), options);
    return [{ name: loaded.config.cluster, loaded }];
  }
  return names.map((name): LoadedSection => {
    try {
      return { name, loaded: build(source, name, options) };
    } catch (error) {
      if (!(error instanceof ArchiveError) || error.code !== 'CONFIG_INVALID') throw error;
      return { name, error };
    }
  });
}

async function readSource(options: LoadOptions): Promise<ConfigSource | undefined> {
  if (options.value !== undefined) return valueSource(options.value);
  const source = await findSource(options.path ?? (options.env['PGARK_CONFIG'] || undefined), options.directory);
  if (source === undefined) {
    const { settings, problems } = environmentSettings(options.env, new Set());
    if (settings.length === 0 && problems.length === 0) {
      throw new ArchiveError(
        'CONFIG_NOT_FOUND',
        `no config file: looked for ${searched(options.directory).join(', ')}`,
      );
    }
  }
  return source;
}

/** The section that is for all clusters of a file. */
const DAEMON = 'daemon';

const isMap = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Where a config comes from, for messages. */
function nameOf(source: ConfigSource | undefined, directory: string): string {
  if (source === undefined) return 'environment';
  return source.path === undefined ? 'config' : displayPath(source.path, directory);
}

/** The names under `clusters`, or undefined for a file that is one section. */
function clusterNames(source: ConfigSource | undefined, directory: string): readonly string[] | undefined {
  const tree = (source?.tree ?? {}) as Record<string, unknown>;
  if (source === undefined || !('clusters' in tree)) return undefined;
  const file = nameOf(source, directory);
  const problems = Object.keys(tree)
    .filter((key) => key !== 'clusters' && key !== DAEMON)
    .map((key) => ({
      source: file,
      line: source.lineOf([key]),
      path: key,
      message: 'not allowed beside "clusters": it belongs into the sections there',
    }));
  const { clusters } = tree;
  const names = isMap(clusters) ? Object.keys(clusters) : [];
  if (names.length === 0) {
    const message = 'must be a map from names to sections';
    problems.push({ source: file, line: source.lineOf(['clusters']), path: 'clusters', message });
  }
  if (problems.length > 0) throw configInvalid(problems);
  return names;
}

function pickCluster(source: ConfigSource | undefined, options: LoadOptions): string | undefined {
  const names = clusterNames(source, options.directory);
  if (names === undefined) return undefined;
  const wanted = options.cluster ?? (options.env['PGARK_CLUSTER'] || undefined);
  const file = nameOf(source, options.directory);
  if (wanted === undefined) {
    if (names.length === 1) return names[0];
    throw new ArchiveError('CONFIG_INVALID', `${file} holds several clusters: ${names.join(', ')}`, {
      hint: 'Choose one with --cluster NAME.',
    });
  }
  if (names.includes(wanted)) return wanted;
  throw new ArchiveError('CONFIG_INVALID', `${file} has no cluster "${wanted}"; it has ${names.join(', ')}`, {
    hint: 'Choose one of them with --cluster NAME.',
  });
}

/** The tree of one section with everything laid over it, and how to say where a key stands. */
interface Merged {
  readonly tree: unknown;
  readonly texts: readonly KeyPath[];
  readonly problems: readonly Problem[];
  readonly locate: (path: KeyPath) => Pick<Problem, 'source' | 'line' | 'path'>;
  readonly originOf: (path: KeyPath) => Origin;
}

function build(source: ConfigSource | undefined, name: string | undefined, options: LoadOptions): LoadedConfig {
  const merged = merge(source, name, options);
  const result = sectionSchema().safeParse(merged.tree);
  const problems = [...merged.problems];
  if (!result.success) {
    const told = new Set(problems.map((problem) => problem.path));
    for (const problem of result.error.issues.flatMap((issue) => toProblems(issue, merged))) {
      if (!told.has(problem.path)) problems.push(problem);
    }
  }
  const cluster = result.data?.cluster;
  if (name === undefined && options.cluster !== undefined && cluster !== undefined && options.cluster !== cluster) {
    const message = `is "${cluster}", not "${options.cluster}" as --cluster says`;
    problems.push({ ...merged.locate(['cluster']), message });
  }
  if (problems.length > 0 || !result.success) throw configInvalid(distinct(problems));
  const path = source?.path;
  const directory = path === undefined ? resolve(options.directory) : dirname(path);
  return Object.freeze({
    config: deepFreeze(complete(result.data, merged.texts, directory)),
    ...(path === undefined ? {} : { path }),
    directory,
    env: options.env,
    settings: settingsOf(merged.tree, merged.originOf),
  });
}

function merge(source: ConfigSource | undefined, name: string | undefined, options: LoadOptions): Merged {
  // What is for all clusters of the file stands beside them.
  const placeOf = (path: KeyPath): KeyPath =>
    name === undefined || path[0] === DAEMON ? path : ['clusters', name, ...path];
  const whole = (source?.tree ?? {}) as Record<string, unknown>;
  const section = name === undefined ? whole : (whole['clusters'] as Record<string, unknown>)[name];
  const shared = name === undefined || whole[DAEMON] === undefined ? {} : { [DAEMON]: whole[DAEMON] };
  const written = isMap(section) ? { ...section, ...shared } : (section ?? shared);
  const expanded = expand(dropNulls(written, keyTree()), options.env);
  const named = new Set([...expand(whole, options.env).names, ...environmentReferences(whole)]);
  const environment = environmentSettings(options.env, named);
  // In a file with several clusters PGARK_CLUSTER chooses one, as --cluster does.
  const settings = environment.settings.filter(({ path }) => name === undefined || path[0] !== 'cluster');
  const bySetting = new Map<string, Setting>(settings.map((setting) => [formatPath(setting.path), setting]));
  const file = nameOf(source, options.directory);

  const originOf = (path: KeyPath): Origin => {
    for (let length = path.length; length > 0; length -= 1) {
      const setting = bySetting.get(formatPath(path.slice(0, length)));
      if (setting !== undefined) return { kind: 'env', name: setting.variable };
    }
    const line = source?.lineOf(placeOf(path));
    return { kind: 'file', file, ...(line === undefined ? {} : { line }) };
  };
  const locate = (path: KeyPath): Pick<Problem, 'source' | 'line' | 'path'> => {
    const origin = originOf(path);
    const shown = formatPath(placeOf(path)) || undefined;
    if (origin.kind === 'env') return { source: origin.name, path: shown };
    return { source: file, line: origin.kind === 'file' ? origin.line : undefined, path: shown };
  };

  const problems: Problem[] = [...environment.problems];
  if (name !== undefined && isMap(section) && DAEMON in section) {
    const path: KeyPath = ['clusters', name, DAEMON];
    const message = 'belongs beside "clusters": there is one daemon for all of them';
    problems.push({ source: file, line: source?.lineOf(path), path: formatPath(path), message });
  }
  for (const { path, message } of expanded.problems) {
    if (originOf(path).kind === 'file') problems.push({ ...locate(path), message });
  }
  let tree: unknown = name === undefined ? expanded.value : { cluster: name, ...(expanded.value as object) };
  for (const { variable, path, value } of settings) {
    const changed = withValue(tree, path, value);
    if (changed === undefined) {
      problems.push({ source: variable, path: formatPath(path), message: 'the list has no item before this one' });
    } else tree = changed;
  }
  const texts = [...expanded.whole, ...settings.map(({ path }) => path)];
  return { tree: coerceTexts(tree, texts), texts, problems, locate, originOf };
}

interface Issue {
  readonly code?: string | undefined;
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly keys?: readonly string[];
  readonly values?: readonly unknown[];
}

function toProblems(issue: Issue, merged: Merged): readonly Problem[] {
  const path = issue.path as KeyPath;
  if (issue.code === 'unrecognized_keys') {
    const known = nodeAt(path)?.children.keys() ?? [];
    return (issue.keys ?? []).map((key) => {
      const nearest = suggest(key, known);
      const message = `not a known key${nearest === undefined ? '' : `, did you mean "${nearest}"?`}`;
      return { ...merged.locate([...path, key]), message };
    });
  }
  const value = valueAt(merged.tree, path);
  const missing = path.length > 0 && value === undefined;
  const kind = nodeAt(path)?.kind;
  const message = missing
    ? 'is required'
    : issue.code === 'invalid_type' && issue.message.startsWith('Invalid input') && kind !== undefined
      ? `must be a ${kind}`
      : issue.message;
  const meant =
    typeof value === 'string' && issue.values !== undefined ? suggest(value, issue.values.map(String)) : undefined;
  return [{ ...merged.locate(path), message: meant === undefined ? message : `${message}; did you mean "${meant}"?` }];
}

function valueAt(tree: unknown, path: KeyPath): unknown {
  let at = tree;
  for (const part of path) at = (at as Record<string | number, unknown> | undefined)?.[part];
  return at;
}

function complete(parsed: ParsedSection, texts: readonly KeyPath[], directory: string): Config {
  const section = (
    value: Readonly<Record<string, unknown>> & { readonly use: string },
    path: KeyPath,
  ): PluginSection => {
    const { use, ...options } = value;
    const own = texts
      .filter((text) => formatPath(text.slice(0, path.length)) === formatPath(path))
      .map((text) => text.slice(path.length))
      .filter(([key]) => typeof key === 'string' && Object.hasOwn(options, key));
    return { use, options, path: formatPath(path), texts: own.map(formatPath) };
  };
  const { tail, guardian, ...receive } = parsed.receive;
  const { interval, ...policies } = guardian;
  const { folder: agentFolder, ...agent } = parsed.agent;
  const { folder: drillFolder, bin, ...drill } = parsed.drill;
  const { tls, folder: serveFolder, ...serve } = parsed.serve;
  const { cache, ...status } = parsed.status;
  const { tls: daemonTls, ...daemon } = parsed.daemon;
  const names = hookNames(parsed.hooks);
  return {
    ...parsed,
    concurrency: parsed.concurrency ?? availableParallelism(),
    receive: {
      ...receive,
      spool: resolve(directory, receive.spool),
      ...(tail === undefined ? {} : { tail }),
      ...(interval === undefined ? {} : { guardian: { interval, ...policies } }),
    },
    drill: {
      ...drill,
      ...(drillFolder === undefined ? {} : { folder: resolve(directory, drillFolder) }),
      ...(bin === undefined ? {} : { bin: resolve(directory, bin) }),
    },
    agent: { ...agent, ...(agentFolder === undefined ? {} : { folder: resolve(directory, agentFolder) }) },
    serve: {
      ...serve,
      ...(serveFolder === undefined ? {} : { folder: resolve(directory, serveFolder) }),
      ...(tls === undefined ? {} : { tls: mapValues(tls, (path) => resolve(directory, path)) }),
    },
    schedule: parsed.schedule.map((job) => ({ ...present(job), name: job.name ?? job.do })),
    daemon: {
      ...present(daemon),
      ...(daemonTls === undefined ? {} : { tls: mapValues(daemonTls, (path) => resolve(directory, path)) }),
    },
    status: { ...present(status), ...(cache === undefined ? {} : { cache: resolve(directory, cache) }) },
    repositories: parsed.repositories.map(({ storage, codecs, ...rest }, at) => ({
      ...rest,
      storage: section(storage, ['repositories', at, 'storage']),
      codecs: codecs.map((codec, index) => section(codec, ['repositories', at, 'codecs', index])),
    })),
    hooks: parsed.hooks.map((one, at): HookConfig => {
      const { name: _, events, severity, quiet, policy, timeout, retries, spool, ...rest } = one;
      const hook = section(rest, ['hooks', at]);
      const name = names[at] ?? hook.use;
      return { name, hook, severity, quiet, policy, timeout, retries, spool, ...(events !== undefined && { events }) };
    }),
  };
}

/** The names of hooks: what has none is called like its plugin, and numbered where that name is taken. */
function hookNames(hooks: readonly { readonly use: string; readonly name?: string }[]): readonly string[] {
  const taken = new Set(hooks.map(({ name }) => name));
  return hooks.map(({ use, name }) => {
    if (name !== undefined) return name;
    // It is the name of a folder too.
    const short =
      basename(use, extname(use))
        .replaceAll(/[^A-Za-z0-9._-]|^[._-]+/g, '')
        .slice(0, 50) || 'hook';
    let free = short;
    for (let number = 2; taken.has(free); number += 1) free = `${short}-${number}`;
    taken.add(free);
    return free;
  });
}

/** The keys that have a value: one that was switched off is absent. */
function present<Values extends object>(values: Values): Values {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Values;
}

/** The same keys with other values. */
function mapValues<Values extends Readonly<Record<string, string>>>(
  values: Values,
  change: (value: string) => string,
): Values {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [key, change(value)])) as Values;
}

function distinct(problems: readonly Problem[]): readonly Problem[] {
  return [...new Map(problems.map((problem) => [JSON.stringify(problem), problem])).values()];
}

function deepFreeze<Value>(value: Value): Value {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const part of Object.values(value)) deepFreeze(part);
  }
  return value;
}
