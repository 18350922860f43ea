import type { Command } from 'commander';
import { ArchiveError } from '../../contracts/errors.ts';
import { examples } from '../help.ts';
import { createLogger } from '../log.ts';
import { jsonText } from '../../documents/json-text.ts';
import { errorText } from '../output.ts';
import { runCommand } from '../run.ts';

export function register(program: Command): void {
  const command = program
    .command('agent')
    .description(
      'keep the archive open for wal-push and wal-fetch, which then take a fraction of the time, until stopped',
    )
    .action(async (_: object, command: Command) =>
      runCommand(command, async ({ loaded, globals, env, directory, logger, signal }) => {
        const uid = process.getuid?.();
        if (uid === undefined)
          throw new ArchiveError('USAGE', 'the agent needs a system that has users and Unix sockets');
        const [{ runAgent }, { loadConfig }] = await Promise.all([
          import('../../agent/agent.ts'),
          import('../../config/load.ts'),
        ]);
        const read = { path: loaded.path, cluster: globals.cluster, env, directory };
        // Paths that requests name are absolute, and nothing may depend on where the agent was started.
        process.chdir('/');
        await runAgent({
          loaded,
          cluster: globals.cluster ?? env['PGARK_CLUSTER'] ?? '',
          load: () => loadConfig(read),
          presenter: {
            json: jsonText,
            error: errorText,
            logger: ({ json, logLevel }, write) => {
              const { level, format } = loaded.config.log;
              return createLogger({
                level: levelOf(logLevel) ?? level,
                format: format === 'auto' ? (json ? 'json' : 'pretty') : format,
                times: true, // PostgreSQL keeps what the command says in its log file
                write,
              });
            },
          },
          env,
          uid,
          logger,
          signal,
        });
      }),
    );
  examples(command, [
    ['pgark --config /etc/pgark/pgark.yaml agent', 'as the user of the server, until SIGINT or SIGTERM'],
  ]);
}

const LEVELS = ['debug', 'info', 'warn', 'error'] as const;

function levelOf(text: string | undefined): (typeof LEVELS)[number] | undefined {
  return LEVELS.find((level) => level === text);
}
