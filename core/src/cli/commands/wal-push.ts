import { Option, type Command } from 'commander';
import { isArchiveError } from '../../contracts/errors.ts';
import { HIGHEST_PUSH_CODE, pushExitCode } from '../../wal-command/exit-code.ts';
import { agentSocketOption } from '../agent-option.ts';
import { examples } from '../help.ts';
import { failWith, runCommand } from '../run.ts';
import { seconds } from '../seconds.ts';

interface Options {
  readonly systemId?: string;
  readonly timeout: number;
}

export function register(program: Command): void {
  const command = program
    .command('wal-push')
    .description('archive one WAL file; for archive_command')
    .argument('<path>', 'the file, %p')
    .argument('<name>', 'its name, %f')
    .option('--system-id <number>', 'the cluster whose WAL it must be (default: what the file says)')
    .addOption(
      new Option('--timeout <seconds>', 'give up after this time; PostgreSQL tries again')
        .argParser(seconds)
        .default(60_000, '60'),
    )
    .addOption(agentSocketOption())
    .action(async (path: string, name: string, options: Options, command: Command) => {
      staySmall();
      await runCommand(command, async ({ archive, output }) => {
        const { systemId, timeout } = options;
        const opened = await archive();
        const call = { path, name, timeout, ...(systemId !== undefined && { systemId }) };
        const result = await opened.walPush(call).catch((error: unknown) => {
          // The result of those that have the file comes first.
          if (isArchiveError(error, 'REPOSITORY_BEHIND') && output.isJson) output.json(error.details);
          throw error;
        });
        if (output.isJson) output.json(result);
      });
    });
  failWith(command, pushExitCode);
  examples(command, [
    [`archive_command = 'pgark --config /etc/pgark/pgark.yaml wal-push "%p" "%f"'`, 'in postgresql.conf'],
  ]);
}

/** Whatever ends the process, it ends with a code that PostgreSQL counts as a failure of the command. */
function staySmall(): void {
  for (const signal of ['SIGHUP', 'SIGQUIT'] as const) process.on(signal, () => process.exit(1));
  process.once('exit', (code) => {
    if (code > HIGHEST_PUSH_CODE) process.exitCode = 1;
  });
}
