import type { Command } from 'commander';
import type { Config } from '../../config/config.ts';
import type { Logger } from '../../contracts/plugin.ts';
import { surviveFaults } from '../faults.ts';
import { examples } from '../help.ts';
import { createLogger } from '../log.ts';
import { ownCommand } from '../own-command.ts';
import { runPlain, type PlainContext } from '../run.ts';

export function register(program: Command): void {
  const command = program
    .command('run')
    .description('do everything that the config asks for, for all of its clusters, until stopped')
    .action(async (_: object, command: Command) => runPlain(command, run));
  examples(command, [
    [
      'pgark --config /etc/pgark/pgark.yaml run',
      'run until SIGINT or SIGTERM, which ship what was received before the end; a second one ends at once',
    ],
    ['pgark --cluster billing run', 'one cluster of a config with several'],
    ['pgark --json run', 'the log as one line of JSON for each event'],
    [
      'kill -HUP "$(pgrep -f "pgark.* run")"',
      'read the config anew: only clusters whose section has changed are begun anew',
    ],
  ]);
}

async function run({ globals, output, env, directory, signal }: PlainContext): Promise<void> {
  const [{ openDaemon }, { loadSections }] = await Promise.all([
    import('../../daemon/open.ts'),
    import('../../config/load.ts'),
  ]);
  const cluster = globals.cluster ?? (env['PGARK_CLUSTER'] || undefined);
  const load = (): ReturnType<typeof loadSections> => loadSections({ path: globals.config, cluster, env, directory });
  const sections = await load();
  const [first] = sections.flatMap((section) => ('loaded' in section ? [section.loaded.config] : []));
  const loggerOf = async ({ log }: Pick<Config, 'log'>): Promise<Logger> =>
    createLogger({
      level: globals.logLevel ?? log.level,
      format: log.format === 'auto' ? (output.isJson ? 'json' : 'pretty') : log.format,
      times: !output.isTerminal,
      write: (text) => output.write(text),
    });
  const logger = await loggerOf(first ?? { log: { level: 'info', format: 'auto' } });
  const daemon = await openDaemon({
    load,
    command: ownCommand(),
    logger,
    loggerOf: async (config) => (sections.length === 1 ? loggerOf(config) : named(await loggerOf(config), config)),
  });
  surviveFaults((error) => daemon.fault(error));
  // Whoever reads the log may go away; that must not end what receives.
  process.stderr.on('error', () => undefined);
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
  await daemon.close();
}

/** A log whose every line names the cluster. */
function named(logger: Logger, { cluster }: Config): Logger {
  return {
    debug: (fields, message) => logger.debug({ cluster, ...fields }, message),
    info: (fields, message) => logger.info({ cluster, ...fields }, message),
    warn: (fields, message) => logger.warn({ cluster, ...fields }, message),
    error: (fields, message) => logger.error({ cluster, ...fields }, message),
  };
}
