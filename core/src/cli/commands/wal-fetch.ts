import type { Command } from 'commander';
import { ArchiveError, errnoOf } from '../../contracts/errors.ts';
import { fetchExitCode } from '../../wal-command/exit-code.ts';
import type { ServerFetchOptions } from '../../wal-command/fetch-from-server.ts';
import { parseTimelineNumber } from '../../wal-command/timeline-number.ts';
import { dataDirectories, recoveryMode } from '../../wal-command/recovery-mode.ts';
import { agentSocketOption } from '../agent-option.ts';
import { asOfOption, pastOf } from '../as-of-option.ts';
import type { Output } from '../output.ts';
import { repositoryOption } from '../repository-option.ts';
import { examples } from '../help.ts';
import { failWith, runCommand, runPlain, type PlainContext } from '../run.ts';

interface Options {
  readonly systemId?: string;
  readonly until?: string;
  readonly timeline?: string;
  readonly repository: readonly string[];
  readonly asOf?: Date;
  readonly from?: string;
  readonly tokenFile?: string;
  readonly tokenEnv?: string;
  readonly ca?: string;
  readonly certificate?: string;
  readonly key?: string;
  readonly retry?: string;
}

/** The options that mean something only with `--from`. */
const OF_SERVER = ['tokenFile', 'tokenEnv', 'ca', 'certificate', 'key', 'retry'] as const;

export function register(program: Command): void {
  let terminated = false;
  const command = program
    .command('wal-fetch')
    .description('fetch one WAL file; for restore_command. Exits with 1 only if the archive has no such file')
    .argument('<name>', 'the file that is asked for, %f')
    .argument('<path>', 'where it is wanted, %p')
    .option('--system-id <number>', 'the cluster whose WAL it is (default: that of the data directory)')
    .option('--until <segment>', 'give no segment after this one: the archive has a hole there')
    .option(
      '--timeline <number>',
      'follow this timeline to its end, as recovery_target_timeline says (default: the newest)',
    )
    .addOption(repositoryOption())
    .addOption(asOfOption())
    .option('--from <url>', 'ask "pgark serve" at https://HOST:PORT/v1/CLUSTER; no config is read')
    .option('--token-file <file>', 'with --from: file with the token')
    .option('--token-env <name>', 'with --from: environment variable with the token')
    .option('--ca <file>', 'with --from: file with the CA of the server (default: what Node trusts)')
    .option('--certificate <file>', 'with --from: file with the client certificate')
    .option('--key <file>', 'with --from: file with the key of that')
    .option('--retry <duration>', 'with --from: how long a failure is tried again (default: 60s)')
    .addOption(agentSocketOption())
    .action(async (name: string, path: string, options: Options, command: Command) => {
      process.once('SIGTERM', () => {
        terminated = true;
      });
      checkOptions(options);
      const directories = dataDirectories(path, process.cwd());
      const common = {
        name,
        path,
        dataDirectories: directories,
        ...(options.systemId && { systemId: options.systemId }),
        ...(options.until && { until: options.until }),
        ...(options.timeline && { timeline: timelineOf(options.timeline) }),
      };
      if (options.from !== undefined)
        return fetchFrom(options.from, options, { ...common, mode: recoveryMode(directories) }, command);
      await runCommand(command, async ({ archive, output }) => {
        const opened = await archive();
        const result = await opened.walFetch({ ...common, repositories: options.repository, ...pastOf(options) });
        return exitCode(result, output);
      });
    });
  failWith(command, (error) =>
    fetchExitCode(error, recoveryMode(dataDirectories(command.args[1], process.cwd())), terminated),
  );
  examples(command, [
    [`restore_command = 'pgark --config /etc/pgark/pgark.yaml wal-fetch "%f" "%p"'`, 'in postgresql.auto.conf'],
    [
      `restore_command = 'pgark wal-fetch --from https://archive:8732/v1/main --token-file /etc/pgark/serve.token "%f" "%p"'`,
      'on a host without access to the storage',
    ],
    ['pgark wal-fetch 000000010000000A000000FE /tmp/segment', 'by hand, to look at a file'],
  ]);
}

function checkOptions(options: Options): void {
  const wrong =
    options.from === undefined
      ? OF_SERVER.find((name) => options[name] !== undefined)
      : options.repository.length > 0
        ? 'repository'
        : options.asOf === undefined
          ? undefined
          : 'asOf';
  if (wrong === undefined) return;
  const flag = `--${wrong.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  throw new ArchiveError(
    'USAGE',
    `${flag} ${options.from === undefined ? 'goes with --from' : 'does not go with --from'}`,
  );
}

function timelineOf(text: string): number {
  const timeline = parseTimelineNumber(text);
  if (timeline === undefined) throw new ArchiveError('USAGE', `not the number of a timeline: "${text.slice(0, 100)}"`);
  return timeline;
}

function exitCode(result: { readonly outcome: 'fetched' | 'missing' }, output: Output): number {
  if (output.isJson) output.json(result);
  return result.outcome === 'missing' ? 1 : 0;
}

/** From a server: there may be no config on this host. */
async function fetchFrom(
  url: string,
  options: Options,
  common: Omit<ServerFetchOptions, 'url' | 'token' | 'tls' | 'retry' | 'logger' | 'signal'>,
  command: Command,
): Promise<void> {
  await runPlain(command, async (context) => {
    const { output, logger, signal } = context;
    const [{ fetchFromServer }, { parseDuration }] = await Promise.all([
      import('../../wal-command/fetch-from-server.ts'),
      import('../../config/units.ts'),
    ]);
    const token = await tokenOf(options, context);
    const [ca, cert, key] = await Promise.all([pem(options.ca), pem(options.certificate), pem(options.key)]);
    const result = await fetchFromServer({
      ...common,
      url,
      ...(token !== undefined && { token }),
      tls: { ...(ca !== undefined && { ca }), ...(cert !== undefined && { cert }), ...(key !== undefined && { key }) },
      retry: parseDuration(options.retry ?? '60s'),
      logger,
      signal,
    });
    logger.debug({ file: common.name, ...result }, result.outcome);
    return exitCode(result, output);
  });
}

async function tokenOf(
  { tokenFile, tokenEnv }: Options,
  { env, directory, signal }: PlainContext,
): Promise<ServerFetchOptions['token']> {
  if (tokenFile !== undefined && tokenEnv !== undefined)
    throw new ArchiveError('USAGE', '--token-file and --token-env do not go together');
  const { readSecret } = await import('../../config/secrets.ts');
  const where = { env, directory, signal };
  if (tokenFile !== undefined) return readSecret({ file: tokenFile }, { ...where, what: '--token-file' });
  return tokenEnv === undefined ? undefined : readSecret({ env: tokenEnv }, { ...where, what: '--token-env' });
}

async function pem(path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  const { readFile } = await import('node:fs/promises');
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new ArchiveError('USAGE', `cannot read ${path}: ${errnoOf(error) ?? String(error)}`, { cause: error });
  }
}
