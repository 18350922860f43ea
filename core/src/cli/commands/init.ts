import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Option, type Command } from 'commander';
import { ArchiveError, errnoOf, isArchiveError } from '../../contracts/errors.ts';
import { examples } from '../help.ts';
import { runPlain, type PlainContext } from '../run.ts';
import type { ServerFacts } from '../../postgres/server-facts.ts';

interface InitOptions {
  readonly storage?: string;
  readonly codec: readonly string[];
  readonly url?: string;
  readonly output: string;
  readonly offline?: boolean;
}

export function register(program: Command): void {
  const command = program
    .command('init')
    .description('write a commented pgark.yaml for a running server; asks nothing and overwrites nothing')
    .option('--storage <spec>', 'plugin and its options: NAME:/path, or NAME:key=value,key=value')
    .addOption(
      new Option('--codec <name>', 'codec to apply; repeat for several, in order of application')
        .argParser((name: string, before: readonly string[]) => [...before, name])
        .default([], 'none'),
    )
    .option('--url <url>', 'the server; without it, that of the libpq environment')
    .option('--output <file>', 'file to write', 'pgark.yaml')
    .option('--offline', 'do not look at the server')
    .action(async (options: InitOptions, command: Command) => runPlain(command, (context) => init(context, options)));
  examples(command, [
    ['pgark init --storage fs:/var/backups/pgark --codec zstd', 'for the server of the libpq environment'],
    ['pgark init --storage fs:/backups --url postgres://pgark@db1/', 'for the server of a URL'],
    ['pgark init --storage fs:path=/backups,fileMode=0600 --offline', 'without looking at a server'],
  ]);
}

async function init(context: PlainContext, options: InitOptions): Promise<number> {
  const { globals, output, logger, env, directory, signal } = context;
  const [{ Registry }, { configText, serverHints }] = await Promise.all([
    import('../../plugins/registry.ts'),
    import('../init/template.ts'),
  ]);
  const installed = await new Registry({ directory, env, logger }).list();
  const named = (kind: string): readonly string[] =>
    installed.filter((plugin) => plugin.kind === kind).map(({ name }) => name);
  const storage = parseStorage(options.storage, named('storage'));
  const file = resolve(directory, options.output);
  const { url, passwordLeftOut } = await withoutPassword(options.url);
  const facts = options.offline === true ? undefined : await look(context, options.url);
  const text = configText({
    cluster: globals.cluster ?? 'main',
    ...(url === undefined ? {} : { url }),
    passwordLeftOut,
    storage,
    codecs: options.codec,
    installedCodecs: named('codec'),
    ...(facts === undefined ? {} : { facts }),
  });
  signal.throwIfAborted();
  await writeNew(file, text);

  const hints = [
    ...(passwordLeftOut
      ? ['the password of the URL is not in the file: put it into ~/.pgpass, or name its source as postgres.password']
      : []),
    ...(facts === undefined ? [] : serverHints(facts)),
  ];
  if (output.isJson) {
    output.json({
      file,
      hints,
      ...(facts === undefined ? {} : { server: { ...facts, settings: Object.fromEntries(facts.settings) } }),
    });
    return 0;
  }
  output.line(`wrote ${file}`);
  if (facts !== undefined) output.line(`server ${facts.host}: PostgreSQL ${facts.version}`);
  for (const hint of hints) output.line(`to do: ${hint}`);
  output.line('next: pgark config check, then pgark receive, then pgark backup');
  return 0;
}

async function look({ env, directory, logger, signal }: PlainContext, url: string | undefined): Promise<ServerFacts> {
  const [{ targetOf }, { readServerFacts }, { Secret }] = await Promise.all([
    import('../../archive-parts.ts'),
    import('../../postgres/server-facts.ts'),
    import('../../contracts/secret.ts'),
  ]);
  const config = { postgres: url === undefined ? {} : { url: new Secret(url) } };
  const target = await targetOf({ config, directory, env }, { signal });
  for (const warning of target.warnings) logger.warn({}, warning);
  try {
    return await readServerFacts(target, { signal });
  } catch (error) {
    if (!isArchiveError(error) || error.code === 'ABORTED') throw error;
    const hint = `${error.hint} To write the file without looking at a server, add --offline.`;
    throw new ArchiveError(error.code, error.message, { cause: error, hint, details: error.details });
  }
}

/** `name:/path` or `name:key=value,key=value`. Errors: `USAGE`. */
function parseStorage(spec: string | undefined, installed: readonly string[]): Readonly<Record<string, unknown>> {
  const known =
    installed.length === 0
      ? 'none is installed, see "npm install @pgark/plugins"'
      : `installed: ${installed.join(', ')}`;
  if (spec === undefined) {
    throw new ArchiveError('USAGE', 'init needs --storage, the place for the archive', {
      hint: `Give for example --storage fs:/var/backups/pgark (${known}).`,
    });
  }
  const [, use, rest] = /^((?:\.{0,2}\/)?[^:]+):(.+)$/.exec(spec) ?? [];
  const options = rest === undefined ? undefined : /^[./~]/.test(rest) ? { path: rest } : pairs(rest);
  if (use === undefined || options === undefined) {
    throw new ArchiveError('USAGE', `not a storage: "${spec}"`, {
      hint: `Write NAME:/path or NAME:key=value,key=value (${known}).`,
    });
  }
  return { use, ...options };
}

function pairs(text: string): Readonly<Record<string, string>> | undefined {
  const entries = text.split(',').map((pair) => /^([A-Za-z]\w*)=(.+)$/.exec(pair));
  if (entries.some((entry) => entry === null)) return undefined;
  return Object.fromEntries(entries.map((entry) => [entry?.[1] ?? '', entry?.[2] ?? '']));
}

/** The URL as it may stand in a file. A password in it makes it a key=value string without one. */
async function withoutPassword(
  url: string | undefined,
): Promise<{ readonly url?: string; readonly passwordLeftOut: boolean }> {
  if (url === undefined) return { passwordLeftOut: false };
  const { parseConninfo } = await import('../../postgres/conninfo.ts');
  const parameters = parseConninfo(url);
  const secrets = ['password', 'sslpassword'];
  if (!secrets.some((name) => parameters.has(name))) return { url, passwordLeftOut: false };
  const kept = [...parameters].filter(([name]) => !secrets.includes(name));
  const quoted = kept.map(([name, value]) => `${name}='${value.replaceAll(/['\\]/g, String.raw`\$&`)}'`);
  return { url: quoted.join(' '), passwordLeftOut: true };
}

async function writeNew(file: string, text: string): Promise<void> {
  try {
    await writeFile(file, text, { flag: 'wx' });
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') {
      throw new ArchiveError('USAGE', `${file} exists and is not overwritten`, {
        hint: 'Move it away, or name another file with --output.',
      });
    }
    throw new ArchiveError('USAGE', `cannot write ${file}: ${errnoOf(error) ?? String(error)}`, {
      cause: error,
      hint: 'Name a file in a folder that you may write to with --output.',
    });
  }
}
