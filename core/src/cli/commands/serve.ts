import { Option, type Command } from 'commander';
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
        flags.printRestoreCommand === undefined
          ? serve(flags, context)
          : print(flags, flags.printRestoreCommand, context),
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

async function serve(flags: Flags, { logger, signal, config, output, archive }: CommandContext): Promise<void> {
  const opened = await archive();
  const server = await opened.serve({
    repositories: flags.repository,
    ...(flags.listen === undefined ? {} : { listen: flags.listen }),
  });
  const reload = (): void =>
    void server
      .reload()
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

async function print(
  flags: Flags,
  client: NonNullable<Flags['printRestoreCommand']>,
  { output, archive }: CommandContext,
): Promise<void> {
  const { settingValue } = await import('../../restore/quoting.ts');
  const opened = await archive();
  const restoreCommand = await opened.clientCommand({
    client,
    repositories: flags.repository,
    ...(flags.url === undefined ? {} : { url: flags.url }),
    ...(flags.systemId === undefined ? {} : { systemId: flags.systemId }),
    ...(flags.tokenFile === undefined ? {} : { tokenFile: flags.tokenFile }),
    ...(flags.ca === undefined ? {} : { ca: flags.ca }),
    ...(flags.certificate === undefined ? {} : { certificate: flags.certificate }),
    ...(flags.key === undefined ? {} : { key: flags.key }),
  });
  if (output.isJson) output.json({ restoreCommand });
  else output.line(`restore_command = ${settingValue(restoreCommand)}`);
}
