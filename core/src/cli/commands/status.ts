import type { Command } from 'commander';
import { examples } from '../help.ts';
import { listingText } from '../listing-text.ts';
import { repositoryOption } from '../repository-option.ts';
import { failWith, runCommand, type CommandContext } from '../run.ts';

interface StatusFlags {
  readonly repository: readonly string[];
  readonly fresh: boolean;
  readonly nagios: boolean;
  readonly server: boolean;
}

/** What plugins of monitoring systems end with when they could not look. */
const UNKNOWN = 3;

export function register(program: Command): void {
  const status = program
    .command('status')
    .description('show what the cluster can be restored to and what says so: receiver, server, WAL, backups, gaps')
    .addOption(repositoryOption())
    .option('--fresh', 'list everything, without what is remembered of earlier listings', false)
    .option('--no-server', 'do not ask the server')
    .option('--nagios', 'one line and the exit code of a monitoring plugin, by the thresholds of the config', false)
    .action(async (flags: StatusFlags, command: Command) => {
      if (flags.nagios) failWith(command, () => UNKNOWN);
      return runCommand(command, (context) => run(flags, context));
    });
  examples(status, [
    ['pgark status', 'the evidence, and what the archive can be restored to'],
    ['pgark status --json', 'for programs; the fields are in docs/reference/status.md'],
    ['pgark status --nagios', 'for Nagios, Icinga and their kin: 0 ok, 1 warning, 2 critical, 3 unknown'],
    ['pgark status --no-server', 'on a host that does not reach the server'],
  ]);
}

async function run({ repository, fresh, nagios, server }: StatusFlags, context: CommandContext): Promise<number> {
  const { config, output, archive } = context;
  const [{ statusDocument }, { age }, { nagiosLine, printStatus }, { LEVELS }] = await Promise.all([
    import('../../documents/status-document.ts'),
    import('../../documents/status-text.ts'),
    import('../status-view.ts'),
    import('../../status/judge.ts'),
  ]);
  const opened = await archive();
  const { status, judgement, failure } = await opened.status({
    repositories: repository,
    fresh,
    server,
    age,
    onProgress: (progress) => output.progress(() => listingText(progress)),
  });
  output.progressDone();
  if (nagios) {
    output.line(nagiosLine(status, judgement));
    return LEVELS[judgement.level];
  }
  if (output.isJson) output.json(statusDocument(status, judgement));
  else printStatus(output, status, config);
  if (failure !== undefined) throw failure;
  return 0;
}
