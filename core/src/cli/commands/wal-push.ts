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
      await runCommand(command, async ({ archive, config, output, logger, signal }) => {
        const [{ pushOrLetGo }, { DroppedSegments }, opened] = await Promise.all([
          import('../../wal-command/let-go.ts'),
          import('../../wal-command/dropped-segments.ts'),
          archive({ retry: { deadline: 0 } }),
        ]);
        const { writable: repositories, events } = opened;
        const { systemId, timeout } = options;
        const result = await pushOrLetGo({
          path,
          name,
          repositories,
          timeout,
          signal,
          logger,
          policy: config.push,
          dropped: new DroppedSegments(config.receive.spool, config.cluster, config.push),
          onGap: (gap) => events.emit('wal.gap', gap),
          ...(systemId !== undefined && { systemId }),
        }).catch((error: unknown) => {
          // The result of those that have the file comes first.
          if (isArchiveError(error, 'REPOSITORY_BEHIND') && output.isJson) output.json(error.details);
          throw error;
        });
        logger.debug({ file: name, outcome: result.outcome }, result.outcome === 'dropped' ? 'let go' : 'archived');
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
