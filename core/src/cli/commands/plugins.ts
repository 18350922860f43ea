import { dirname, resolve } from 'node:path';
import type { Command } from 'commander';
import type { LoadedConfig } from '../../config/load.ts';
import { ArchiveError, isArchiveError } from '../../contracts/errors.ts';
import type { Diagnosis } from '../../plugins/doctor.ts';
import type { ListedPlugin } from '../../plugins/listing.ts';
import { examples } from '../help.ts';
import { runPlain, type PlainContext } from '../run.ts';

export function register(program: Command): void {
  const group = program.command('plugins').description('what is installed to extend pgark').helpCommand(false);
  const list = group
    .command('list')
    .description('list the plugins in reach of the config and of pgark, and which the config names; loads none of them')
    .action(async (_, command: Command) => runPlain(command, listAll));
  examples(list, [
    ['pgark plugins list', 'a table of plugins'],
    ['pgark plugins list --json', 'the same for programs'],
  ]);

  const doctor = group
    .command('doctor')
    .description(
      'load every plugin that the config names or that is installed, check its options, and say what is wrong',
    )
    .action(async (_, command: Command) => runPlain(command, examine));
  examples(doctor, [
    ['pgark plugins doctor', 'after installing or updating plugins'],
    ['pgark plugins doctor --json', 'for programs: every plugin with what was found'],
  ]);
}

async function listAll(context: PlainContext): Promise<void> {
  const { output, logger } = context;
  const { listPlugins, namedPlugins } = await import('../../plugins/listing.ts');
  let clusters: readonly LoadedConfig[] | undefined;
  let unread: ArchiveError | undefined;
  try {
    clusters = await configs(context);
  } catch (error) {
    if (!isArchiveError(error, 'CONFIG_INVALID')) throw error;
    unread = error;
  }
  const directory = folderOf(context, clusters);
  const { plugins, unreadable } = await listPlugins(directory, clusters && namedPlugins(clusters));
  if (unread !== undefined) {
    logger.warn({}, `it is not known which of them the config names: ${unread.message}`);
  }
  for (const { folder, reason } of unreadable) {
    logger.warn({}, `the "pgark" field in ${folder}/package.json is no manifest: ${reason}`);
  }
  if (output.isJson) return output.json({ plugins, unreadable });
  if (plugins.length === 0) output.note('no plugins are installed; see "npm install @pgark/plugins"');
  output.table(plugins, [
    { title: 'KIND', value: (plugin) => plugin.kind },
    { title: 'NAME', value: (plugin) => plugin.name },
    { title: 'SUFFIX', value: (plugin) => plugin.suffix },
    { title: 'PACKAGE', value: (plugin) => plugin.package },
    { title: 'VERSION', value: (plugin) => plugin.version },
    { title: 'API', value: apiText, align: 'right' },
    { title: 'FOR PGARK', value: (plugin) => plugin.pgarkRange },
    {
      title: 'NAMED BY',
      value: (plugin) => (plugin.namedBy === undefined ? '?' : plugin.namedBy.join(', ') || undefined),
    },
    { title: 'FROM', value: (plugin) => plugin.from ?? 'not installed' },
  ]);
  const missing = plugins.filter(({ problem }) => problem !== undefined);
  if (missing.length > 0) output.note('what the config names and is not installed: see "pgark plugins doctor"');
}

function apiText({ apiVersion, supported }: ListedPlugin): string | undefined {
  if (apiVersion === undefined) return undefined;
  return supported === true ? String(apiVersion) : `${apiVersion} (other)`;
}

async function examine(context: PlainContext): Promise<void> {
  const { output, logger, env, signal } = context;
  const [{ listPlugins, namedPlugins }, { diagnose }] = await Promise.all([
    import('../../plugins/listing.ts'),
    import('../../plugins/doctor.ts'),
  ]);
  const clusters = await configs(context);
  const directory = folderOf(context, clusters);
  const named = namedPlugins(clusters);
  const { plugins, unreadable } = await listPlugins(directory, named);
  const found: Diagnosis[] = [];
  for await (const diagnosis of diagnose(named, plugins, unreadable, { directory, env, logger, signal })) {
    found.push(diagnosis);
    if (!output.isJson) for (const text of lines(diagnosis)) output.line(text);
  }
  const failed = found.filter(({ state }) => state === 'failed');
  if (output.isJson) output.json({ ok: failed.length === 0, plugins: found });
  if (failed.length > 0) {
    const names = failed.map(({ use, place }) => (place === undefined ? use : `${use} at ${place}`)).join(', ');
    throw new ArchiveError('CHECK_FAILED', `${failed.length} of ${found.length} plugins do not work (${names})`);
  }
}

function lines({ kind, use, place, state, message, hint }: Diagnosis): readonly string[] {
  const subject = [kind, use, ...(place === undefined ? [] : [`(${place})`])].filter(Boolean).join(' ');
  const text = `${state.padEnd(7)}  ${subject}: ${message}`;
  return hint === undefined ? [text] : [text, `${' '.repeat(7)}  hint: ${hint}`];
}

/** The config of every cluster of the file; none where there is no file. */
async function configs({ globals, env, directory, output }: PlainContext): Promise<readonly LoadedConfig[]> {
  const { loadConfigs } = await import('../../config/load.ts');
  try {
    return await loadConfigs({ path: globals.config, cluster: globals.cluster, env, directory });
  } catch (error) {
    if (!isArchiveError(error, 'CONFIG_NOT_FOUND') || globals.config !== undefined) throw error;
    output.note('there is no config here: only what is installed is looked at');
    return [];
  }
}

/** From where plugins are looked for: the folder of the config. */
function folderOf({ globals, env, directory }: PlainContext, clusters: readonly LoadedConfig[] | undefined): string {
  const config = globals.config ?? (env['PGARK_CONFIG'] || undefined);
  return clusters?.[0]?.directory ?? (config === undefined ? directory : dirname(resolve(directory, config)));
}
