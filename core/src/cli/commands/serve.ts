import { Option, type Command } from 'commander';
import { ArchiveError } from '../../contracts/errors.ts';
import type { Secret } from '../../contracts/secret.ts';
import { examples } from '../help.ts';
import { repositoryOption } from '../repository-option.ts';
import { runCommand, type CommandContext } from '../run.ts';

interface Flags {
  readonly listen?: string;
  readonly repository: readonly string[];
  readonly printRestoreCommand?: 'curl' | 'pgark';
  readonly url?: string;
  readonly systemId?: string;
  readonly tokenFile?: string;
  readonly ca?: string;
  readonly certificate?: string;
  readonly key?: string;
}

export function register(program: Command): void {
  const command = program
    .command('serve')
    .description('give WAL over HTTP to hosts that have no access to the storage, until stopped')
    .option('--listen <address>', 'address and port instead of serve.listen of the config')
    .addOption(repositoryOption())
    .addOption(
      new Option(
        '--print-restore-command <client>',
        'print the restore_command for a host that asks this server, and end',
      ).choices(['curl', 'pgark']),
    )
    .option('--url <url>', 'how that host reaches this one (default: from serve.listen)')
    .option('--system-id <number>', 'the cluster that it restores (default: the only one in the archive)')
    .option('--token-file <file>', 'where that host has the token (default: /etc/pgark/serve.token)')
    .option('--ca <file>', 'where it has the CA of the server (default: what it trusts anyway)')
    .option('--certificate <file>', 'where it has its client certificate')
    .option('--key <file>', 'where it has the key of that')
    .action(async (flags: Flags, command: Command) =>
      runCommand(command, async (context) =>
        flags.printRestoreCommand === undefined ? serve(flags, context) : print(flags, context),
      ),
    );
  examples(command, [
    ['pgark serve', 'run until SIGINT or SIGTERM, which lets downloads end; SIGHUP reads token and certificates anew'],
    [
      'pgark serve --print-restore-command curl --url https://archive:8732 --ca /etc/pgark/ca.crt',
      'for postgresql.auto.conf of a host without pgark',
    ],
  ]);
}

async function serve(flags: Flags, context: CommandContext): Promise<void> {
  const { logger, signal, config, output } = context;
  const { serveWal } = await import('../../server/wal-server.ts');
  // Who asks tries again, and knows for how long.
  const archive = await context.archive({ repositories: flags.repository, retry: { deadline: 0 } });
  const token = await readToken(context);
  const server = await serveWal({
    repositories: archive.repositories,
    spool: config.receive.spool,
    config: { ...config.serve, ...(flags.listen !== undefined && { listen: flags.listen }) },
    ...(token !== undefined && { token }),
    logger,
  });
  const reload = (): void =>
    void readToken(context)
      .then((fresh) => server.reload(fresh === undefined ? {} : { token: fresh }))
      .then(() => logger.info({}, 'token and certificates were read anew'))
      .catch((error: unknown) => logger.error({ error }, 'token and certificates stay as they were'));
  process.on('SIGHUP', reload);
  if (output.isJson) output.line(JSON.stringify({ event: 'serve.listening', url: server.url }));
  logger.info({ cluster: config.cluster }, `serving WAL at ${server.url}`);
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
  logger.info({}, 'stopping; downloads under way may end');
  await server.close();
  process.off('SIGHUP', reload);
}

async function readToken({ config, loaded }: CommandContext): Promise<Secret | undefined> {
  const { token } = config.serve;
  if (token === undefined) return undefined;
  const { readSecret } = await import('../../config/secrets.ts');
  return readSecret(token, { env: loaded.env, directory: loaded.directory, what: 'serve.token' });
}

async function print(flags: Flags, context: CommandContext): Promise<void> {
  const { config, output, signal } = context;
  const [{ curlClientCommand, pgarkClientCommand }, { settingValue }, { parseServerUrl, clusterPath }] =
    await Promise.all([
      import('../../server/client-command.ts'),
      import('../../restore/quoting.ts'),
      import('../../wal-command/wal-address.ts'),
    ]);
  const url = (flags.url ?? `${config.serve.tls === undefined ? 'http' : 'https'}://${config.serve.listen}`).replace(
    /\/$/,
    '',
  );
  if (flags.url === undefined && /^(?:0\.0\.0\.0|\[::\]):/.test(config.serve.listen))
    throw new ArchiveError('USAGE', `serve.listen is ${config.serve.listen}, which names no host`, {
      hint: 'Say with --url how the other host reaches this one, for example https://archive:8732.',
    });
  parseServerUrl(url + clusterPath(config.cluster));
  const systemId = flags.systemId ?? (await onlySystemId(flags, context, signal));
  const tokenFile = flags.tokenFile ?? (config.serve.token === undefined ? undefined : '/etc/pgark/serve.token');
  const make = flags.printRestoreCommand === 'curl' ? curlClientCommand : pgarkClientCommand;
  const restoreCommand = make({
    url,
    cluster: config.cluster,
    systemId,
    ...(tokenFile !== undefined && flags.certificate === undefined && { tokenFile }),
    ...(flags.ca !== undefined && { ca: flags.ca }),
    ...(flags.certificate !== undefined && { certificate: flags.certificate }),
    ...(flags.key !== undefined && { key: flags.key }),
  });
  if (output.isJson) output.json({ restoreCommand });
  else output.line(`restore_command = ${settingValue(restoreCommand)}`);
}

async function onlySystemId(flags: Flags, context: CommandContext, signal: AbortSignal): Promise<string> {
  const { repositories } = await context.archive({ repositories: flags.repository });
  const { allAnswers } = await import('../../repository/all-answers.ts');
  const found = await allAnswers(
    repositories,
    async (repository) => {
      await repository.open({ signal });
      return repository.systemIds({ signal });
    },
    { signal },
  );
  const known = [...new Set(found.flatMap(({ value }) => value))];
  const [only] = known;
  if (only !== undefined && known.length === 1) return only;
  throw new ArchiveError(
    'USAGE',
    `the archive holds ${known.length === 0 ? 'no WAL yet' : `several clusters: ${known.join(', ')}`}`,
    {
      hint: 'Name the one that is restored with --system-id.',
    },
  );
}
