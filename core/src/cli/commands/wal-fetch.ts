import type { Command } from 'commander';
import { dataDirectories, recoveryMode } from '../../wal-command/data-directory.ts';
import { fetchExitCode } from '../../wal-command/exit-code.ts';
import { repositoryOption } from '../repository-option.ts';
import { examples } from '../help.ts';
import { failWith, runCommand } from '../run.ts';

interface Options {
  readonly systemId?: string;
  readonly until?: string;
  readonly repository: readonly string[];
}

export function register(program: Command): void {
  let terminated = false;
  const command = program
    .command('wal-fetch')
    .description('fetch one WAL file; for restore_command. Exits with 1 only if the archive has no such file')
    .argument('<name>', 'the file that is asked for, %f')
    .argument('<path>', 'where it is wanted, %p')
    .option('--system-id <number>', 'the cluster whose WAL it is (default: that of the data directory)')
    .option('--until <segment>', 'give no segment after this one: the archive has a hole there')
    .addOption(repositoryOption())
    .action(async (name: string, path: string, options: Options, command: Command) => {
      process.once('SIGTERM', () => {
        terminated = true;
      });
      const directories = dataDirectories(path, process.cwd());
      await runCommand(command, async ({ config, archive, output, logger, signal }) => {
        const [{ walFetch }, opened] = await Promise.all([
          import('../../wal-command/fetch.ts'),
          archive({ repositories: options.repository, retry: { deadline: 0 } }), // walFetch tries again in its own way
        ]);
        const result = await walFetch({
          name,
          path,
          repositories: opened.repositories,
          spool: config.receive.spool,
          dataDirectories: directories,
          mode: recoveryMode(directories),
          retry: config.restore.walRetry,
          logger,
          signal,
          ...(options.systemId && { systemId: options.systemId }),
          ...(options.until && { until: options.until }),
        });
        logger.debug({ file: name, ...result }, result.outcome);
        if (output.isJson) output.json(result);
        return result.outcome === 'missing' ? 1 : 0;
      });
    });
  failWith(command, (error) =>
    fetchExitCode(error, recoveryMode(dataDirectories(command.args[1], process.cwd())), terminated),
  );
  examples(command, [
    [`restore_command = 'pgark --config /etc/pgark/pgark.yaml wal-fetch "%f" "%p"'`, 'in postgresql.auto.conf'],
    ['pgark wal-fetch 000000010000000A000000FE /tmp/segment', 'by hand, to look at a file'],
  ]);
}
