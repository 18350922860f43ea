/**
 * Looks at everything that pgark needs, part by part, and goes on where a part is broken: also the config itself. What it gives is for others to
 * read: no secret is in it.
 */
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { hostname } from 'node:os';
import type { Finding } from '../check/finding.ts';
import type { PluginSection } from '../config/config.ts';
import { loadConfigs, type LoadedConfig } from '../config/load.ts';
import type { Problem } from '../config/problems.ts';
import { searched } from '../config/search.ts';
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { Logger } from '../contracts/plugin.ts';
import { Secret } from '../contracts/secret.ts';
import { examineFolders } from '../doctor/folders.ts';
import { FoundSecrets } from '../doctor/found-secrets.ts';
import { examineHost } from '../doctor/host.ts';
import { Redactor } from '../doctor/redact.ts';
import { examineConfigFile, examineSecrets, examineTls, type NamedSecret } from '../doctor/secrets.ts';
import { diagnose, type Diagnosis } from '../plugins/doctor.ts';
import { listPlugins, namedPlugins, type ListedPlugin, type NamedPlugin } from '../plugins/listing.ts';
import { Registry } from '../plugins/registry.ts';
import { secretsBy, shownSettings, type ShownSetting } from '../plugins/shown-settings.ts';
import { readReceiverState } from '../status/receiver-state.ts';
import { openArchive } from './open.ts';

export interface ExamineOptions {
  /** As given by `--config` and `--cluster`; see `LoadOptions`. */
  readonly path?: string | undefined;
  readonly cluster?: string | undefined;
  readonly env: NodeJS.ProcessEnv;
  readonly directory: string;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** One part of the report. */
export interface ExaminedPart {
  readonly part:
    'host' | 'config' | 'plugins' | 'secrets' | 'permissions' | 'disk' | 'server' | 'storage' | 'clock' | 'log';
  /** Of a config with several clusters. */
  readonly cluster?: string;
  readonly findings: readonly Finding[];
  /** Of the config: what somebody has set, with its origin. */
  readonly settings?: readonly ShownSetting[];
}

/** Gives each part when it is done. Errors: `ABORTED`. */
export async function* examine(options: ExamineOptions): AsyncGenerator<ExaminedPart, void, undefined> {
  const redactor = new Redactor();
  redactor.addEnvironment(options.env);
  for await (const part of look(options, redactor)) {
    options.signal.throwIfAborted();
    yield redactor.value(part) as ExaminedPart;
  }
}

async function* look(options: ExamineOptions, redactor: Redactor): AsyncGenerator<ExaminedPart, void, undefined> {
  yield await examined('host', {}, examineHost);
  const read = await readConfigs(options, redactor);
  if ('findings' in read) {
    const { findings, file, directory } = read;
    yield { part: 'config', findings };
    if (file !== undefined) yield await examined('permissions', {}, async () => [await examineConfigFile(file, [])]);
    yield await examined('plugins', {}, async () => (await examinePlugins([], directory, options)).findings);
    return;
  }
  const { clusters } = read;
  const directory = clusters[0]?.directory ?? options.directory;
  const plugins = await examinePlugins(namedPlugins(clusters), directory, options);
  for (const loaded of clusters) yield* lookAtCluster(loaded, clusters.length > 1, plugins.broken, options, redactor);
  yield { part: 'plugins', findings: plugins.findings };
}

/** A part; what nobody foresaw ends this part alone. Errors: `ABORTED`. */
async function examined(
  part: ExaminedPart['part'],
  cluster: Pick<ExaminedPart, 'cluster'>,
  look: () => Promise<readonly Finding[]>,
): Promise<ExaminedPart> {
  try {
    return { part, ...cluster, findings: await look() };
  } catch (error) {
    if (isArchiveError(error, 'ABORTED')) throw error;
    return { part, ...cluster, findings: [{ subject: part, check: 'all', ...failure(error) }] };
  }
}

function failure(error: unknown): Pick<Finding, 'state' | 'message' | 'hint'> {
  if (isArchiveError(error)) return { state: 'failed', message: `${error.code}: ${error.message}`, hint: error.hint };
  const message = `could not be looked at: ${error instanceof Error ? error.message : String(error)}`;
  return { state: 'failed', message, hint: 'Report it with this.' };
}

type ReadConfigs =
  | { readonly clusters: readonly LoadedConfig[] }
  | { readonly findings: readonly Finding[]; readonly file: string | undefined; readonly directory: string };

async function readConfigs(options: ExamineOptions, redactor: Redactor): Promise<ReadConfigs> {
  const { path, env, directory } = options;
  try {
    return { clusters: await loadConfigs(options) };
  } catch (error) {
    if (!isArchiveError(error)) throw error;
    const named = path ?? (env['PGARK_CONFIG'] || undefined);
    const candidates = named === undefined ? searched(directory) : [resolve(directory, named)];
    let file: string | undefined;
    for (const candidate of candidates) {
      if (file !== undefined) break;
      const text = await readFile(candidate, 'utf8').catch(() => undefined);
      if (text === undefined) continue;
      redactor.addConfigText(text);
      file = candidate;
    }
    const problems = error.details['problems'] as readonly Problem[] | undefined;
    const finding = { subject: 'config', state: 'failed', hint: error.hint } as const;
    const findings = problems?.map(({ source, line, path: key, message }) => ({
      ...finding,
      check: line === undefined ? source : `${source}:${line}`,
      message: key === undefined ? message : `${key}: ${message}`,
    })) ?? [{ ...finding, check: 'file', message: `${error.code}: ${error.message}` }];
    return { findings, file, directory: file === undefined ? directory : dirname(file) };
  }
}

interface ExaminedPlugins {
  readonly findings: readonly Finding[];
  /** Those of the config that do not work, by kind and name. They must not be loaded outside of the thread of the doctor. */
  readonly broken: ReadonlySet<string>;
}

/** Without a config, what is installed. */
async function examinePlugins(
  named: readonly NamedPlugin[],
  directory: string,
  { env, logger, signal }: ExamineOptions,
): Promise<ExaminedPlugins> {
  const { plugins, unreadable } = await listPlugins(directory, named);
  const findings: Finding[] = [];
  const broken = new Set<string>();
  const looking = { directory, env, logger, signal };
  for await (const found of diagnose(named, named.length === 0 ? plugins : [], unreadable, looking)) {
    findings.push(pluginFinding(found, plugins));
    if (found.state === 'failed') broken.add(`${found.kind} ${found.use}`);
  }
  return { findings, broken };
}

function pluginFinding(
  { kind = 'hook', use, place, state, code, message, hint }: Diagnosis,
  plugins: readonly ListedPlugin[],
): Finding {
  const listed = plugins.find(
    (plugin) =>
      plugin.kind === kind && (place === undefined ? plugin.package === use : plugin.namedBy?.includes(place) === true),
  );
  const version = listed?.version === undefined ? '' : `${listed.package} ${listed.version} `;
  return {
    subject: 'plugins',
    check: place === undefined ? `${kind} ${use}` : `${kind} ${use} (${place})`,
    state,
    message: state === 'failed' && code !== undefined ? `${code}: ${message}` : `${version}${message}`,
    ...(hint !== undefined && { hint }),
  };
}

async function* lookAtCluster(
  loaded: LoadedConfig,
  several: boolean,
  broken: ReadonlySet<string>,
  options: ExamineOptions,
  redactor: Redactor,
): AsyncGenerator<ExaminedPart, void, undefined> {
  const { config, path, directory, env } = loaded;
  const { logger, signal } = options;
  const cluster = several ? { cluster: config.cluster } : {};
  const works = (kind: string, { use }: PluginSection): boolean => !broken.has(`${kind} ${use}`);
  const asked = secretsBy(new Registry({ directory, env, logger, signal }));
  const found = new FoundSecrets(redactor);
  const settings = await shownSettings(loaded, {
    secretsOf: async (kind, section) =>
      (works(kind, section) ? await asked(kind, section) : undefined) ?? found.cannotAsk(section),
    hide: (secret, key) => found.hide(secret, key),
  });
  const secrets = found.known;
  // Read before anything is shown, so that what is read can be hidden.
  const ofSecrets = await examined('secrets', cluster, () => examineSecrets(secrets, loaded, { redactor, signal }));
  const message = `cluster ${config.cluster} of ${path ?? 'the environment'} is valid`;
  yield {
    part: 'config',
    ...cluster,
    findings: [{ subject: 'config', check: 'file', state: 'ok', message }],
    settings: settings.filter(({ origin }) => origin.kind !== 'default'),
  };
  yield ofSecrets;
  yield await examined('permissions', cluster, async () => {
    const literal = secrets.filter(isLiteral).map(({ key }) => key);
    const inFile = path === undefined ? [] : [await examineConfigFile(path, literal)];
    return [...inFile, ...(await examineTls(loaded))];
  });
  yield await examined('disk', cluster, async () => [...(await examineFolders(config, env)), await receiver(loaded)]);
  let told: readonly Finding[] = [];
  let checked: readonly Finding[] = [];
  const isClock = ({ check }: Finding): boolean => check === 'clock';
  const isServer = ({ subject }: Finding): boolean => subject === 'server';
  yield await examined('server', cluster, async () => {
    ({ checked, told } = await checks(loaded, works, options));
    return checked.filter((found) => isServer(found) && !isClock(found));
  });
  yield { part: 'storage', ...cluster, findings: checked.filter((found) => !isServer(found) && !isClock(found)) };
  yield { part: 'clock', ...cluster, findings: [...checked.filter(isClock), ownClock()] };
  if (told.length > 0) yield { part: 'log', ...cluster, findings: told };
}

/** Whether it stands in the config. An address of the server is secret only with a password in it. */
function isLiteral({ key, source }: NamedSecret): boolean {
  if (!(source instanceof Secret)) return false;
  return key !== 'postgres.url' || /:\/\/[^/@]*:[^/@]|password/.test(source.reveal());
}

/** What the receiver of this host says of itself. */
async function receiver({ config }: LoadedConfig): Promise<Finding> {
  const seen = await readReceiverState(config.receive.spool, config.cluster);
  const found = { subject: 'disk', check: 'receiver' } as const;
  switch (seen.state) {
    case 'absent':
      return { ...found, state: 'skipped', message: 'no receiver has run with this spool' };
    case 'unreadable':
      return { ...found, state: 'failed', message: seen.problem, hint: 'Run this as the user that runs pgark.' };
    default: {
      const { status, ageSeconds, state } = seen;
      const message = `${state}, "${status.state}" since ${status.since}, said ${ageSeconds} s ago on ${status.host}: ${status.message}`;
      if (state !== 'stale') return { ...found, state: 'ok', message };
      return { ...found, state: 'warning', message, hint: 'It ended without a word: look into its log.' };
    }
  }
}

/** A moment before which no clock can be right: this program was not written. */
const WRITTEN = Date.parse('2026-11-01');

function ownClock(): Finding {
  const message = `it is ${new Date().toISOString()} on ${hostname()}`;
  const found = { subject: 'host', check: 'clock' } as const;
  if (Date.now() > WRITTEN) return { ...found, state: 'ok', message };
  return { ...found, state: 'failed', message, hint: 'Set the clock, and run NTP.' };
}

/** What `pgark check` finds, and what it tells the log. Parts that cannot work are left out of it, and named; no hook is told of anything. */
async function checks(
  loaded: LoadedConfig,
  works: (kind: string, section: PluginSection) => boolean,
  { signal }: ExamineOptions,
): Promise<{ readonly checked: readonly Finding[]; readonly told: readonly Finding[] }> {
  const checked: Finding[] = [];
  const told = new Map<string, Finding>();
  const tell =
    (state: 'warning' | 'failed') =>
    (_: unknown, message: string): void =>
      void told.set(message, { subject: 'log', check: 'told', state, message });
  const quiet = (): void => undefined;
  const usable = loaded.config.repositories.filter(
    ({ storage, codecs }) => works('storage', storage) && codecs.every((codec) => works('codec', codec)),
  );
  for (const repository of loaded.config.repositories) {
    if (usable.includes(repository)) continue;
    const message = 'was not tried: a plugin of it does not work';
    checked.push({ subject: `repository ${repository.name}`, check: 'archive', state: 'skipped', message });
  }
  const config = { ...loaded.config, repositories: usable, hooks: [] };
  const archive = await openArchive({
    config: { ...loaded, config },
    logger: { debug: quiet, info: quiet, warn: tell('warning'), error: tell('failed') },
    signal,
  });
  try {
    await archive.check({ storage: usable.length > 0, onFinding: (finding) => void checked.push(finding) });
  } catch (error) {
    if (isArchiveError(error, 'ABORTED')) throw error;
    // The server comes first: it is the storage that ended the check.
    checked.push({ subject: 'repositories', check: 'all', ...failure(error) });
  } finally {
    await archive.close().catch((error: unknown) => tell('warning')({}, `closing failed: ${String(error)}`));
  }
  return { checked, told: [...told.values()] };
}

/** The error with which a report ends that names what failed; undefined when nothing did. */
export function failureOf(parts: readonly ExaminedPart[]): ArchiveError | undefined {
  const all = parts.flatMap(({ findings }) => findings);
  const failed = all.filter(({ state }) => state === 'failed');
  if (failed.length === 0) return undefined;
  const names = failed.map(({ subject, check }) => `${subject}: ${check}`).join(', ');
  return new ArchiveError('CHECK_FAILED', `${failed.length} of ${all.length} checks failed (${names})`);
}
