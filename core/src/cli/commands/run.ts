import type { Command } from 'commander';
import type { Config } from '../../config/config.ts';
import type { Logger } from '../../contracts/plugin.ts';
import type { Metrics } from '../../daemon/metrics/metrics.ts';
import type { RunningDaemon } from '../../daemon/open.ts';
import type { Service } from '../../daemon/service.ts';
import { surviveFaults } from '../faults.ts';
import { examples } from '../help.ts';
import { createLogger } from '../log.ts';
import { ownCommand } from '../own-command.ts';
import { runPlain, toArchiveError, type PlainContext } from '../run.ts';

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
      'systemctl reload pgark',
      'read the config anew: only clusters whose section has changed are begun anew; without systemd, SIGHUP',
    ],
  ]);
}

/** Milliseconds that the end may take beside shipping, when everything hangs: the waits of `Pace` together. */
const REST = 75_000;

async function run({ globals, output, env, directory, signal }: PlainContext): Promise<void> {
  // Both from the first moment: without them the one signal, and a log that nobody reads any more, would end the process.
  let isStale = false;
  let reload = (): void => void (isStale = true);
  process.on('SIGHUP', () => reload());
  process.stderr.on('error', () => undefined);
  const [{ openDaemon }, { Service, statusLine }, { ServiceManager }, { loadSections }] = await Promise.all([
    import('../../daemon/open.ts'),
    import('../../daemon/service.ts'),
    import('../../daemon/service-manager.ts'),
    import('../../config/load.ts'),
  ]);
  const cluster = globals.cluster ?? (env['PGARK_CLUSTER'] || undefined);
  const load = (): ReturnType<typeof loadSections> => loadSections({ path: globals.config, cluster, env, directory });
  const sections = await load();
  const [first] = sections.flatMap((section) => ('loaded' in section ? [section.loaded] : []));
  const loggerOf = async ({ log }: Pick<Config, 'log'>): Promise<Logger> =>
    createLogger({
      level: globals.logLevel ?? log.level,
      format: log.format === 'auto' ? (output.isJson ? 'json' : 'pretty') : log.format,
      times: !output.isTerminal,
      write: (text) => output.write(text),
    });
  const logger = await loggerOf(first?.config ?? { log: { level: 'info', format: 'auto' } });
  let metrics: Metrics | undefined;
  const daemon = await openDaemon({
    load,
    command: ownCommand(),
    http: async (opened) => {
      if (opened.config.listen === undefined) return undefined;
      const [{ serveHttp }, { mountedPage }, { Metrics }] = await Promise.all([
        import('../../daemon/http/serve-http.ts'),
        import('../../daemon/page/mounted-page.ts'),
        import('../../daemon/metrics/metrics.ts'),
      ]);
      // Once, whatever a reload does to the address: what is counted must not begin anew.
      metrics ??= new Metrics(opened);
      const secrets = { env, directory: first?.directory ?? directory };
      return serveHttp({ daemon: opened, secrets, logger, page: mountedPage(opened, secrets), metrics });
    },
    logger,
    loggerOf: async (config) => (sections.length === 1 ? loggerOf(config) : named(await loggerOf(config), config)),
  });
  surviveFaults((error) => daemon.fault(error));
  const manager = ServiceManager.of(env, logger);
  const service = manager && new Service({ daemon, manager, logger });
  service?.begin();
  reload = () => void reloadNow(daemon, service, logger);
  if (isStale) reload();
  void daemon.ready.then(() => logger.info({}, statusLine(daemon)));
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
  const { drain } = daemon.config;
  logger.info({}, `stopping: WAL that was received is shipped within ${drain / 1000} s`);
  service?.stopping(drain + REST);
  await daemon.close();
  metrics?.close();
  await service?.close();
}

async function reloadNow(daemon: RunningDaemon, service: Service | undefined, logger: Logger): Promise<void> {
  if (isDraining(daemon)) return;
  service?.reloading();
  try {
    const { begun, ended, restarted, unchanged, failed } = await daemon.reload();
    logger.info({ begun, ended, restarted, unchanged: unchanged.length, failed }, 'the config was read anew');
    if (!isDraining(daemon))
      service?.reloaded(failed.length === 0 ? undefined : `nothing new for ${failed.join(', ')}`);
  } catch (error) {
    const { code, message } = toArchiveError(error);
    logger.error({ code }, `the config stays as it was: ${message}`);
    if (!isDraining(daemon)) service?.reloaded(message);
  }
}

/** Then systemd must not be told that it is ready again. */
const isDraining = ({ state }: RunningDaemon): boolean => state === 'draining';

/** A log whose every line names the cluster. */
function named(logger: Logger, { cluster }: Config): Logger {
  return {
    debug: (fields, message) => logger.debug({ cluster, ...fields }, message),
    info: (fields, message) => logger.info({ cluster, ...fields }, message),
    warn: (fields, message) => logger.warn({ cluster, ...fields }, message),
    error: (fields, message) => logger.error({ cluster, ...fields }, message),
  };
}
