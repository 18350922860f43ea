import type { Command } from 'commander';
import { examples } from '../help.ts';
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

async function run({ repository, fresh, nagios, server: ask }: StatusFlags, context: CommandContext): Promise<number> {
  const { config, loaded, output, signal } = context;
  const [
    { drawFor },
    { age, nagiosLine, printStatus, statusDocument },
    { clusterStatus },
    { judge, LEVELS },
    { readReceiverState },
    { readServerState },
    { throwFailures },
    { targetOf },
  ] = await Promise.all([
    import('../map-options.ts'),
    import('../status-view.ts'),
    import('../../status/cluster-status.ts'),
    import('../../status/judge.ts'),
    import('../../status/receiver-state.ts'),
    import('../../status/server-state.ts'),
    import('../backups.ts'),
    import('../../archive.ts'),
  ]);
  const { slot, spool } = config.receive;
  const [receiver, server, map] = await Promise.all([
    readReceiverState(spool, config.cluster),
    ask
      ? readServerState(() => targetOf(loaded, { signal }), slot, { signal })
      : { state: 'unknown' as const, problem: 'it was not asked' },
    drawFor(context, { repositories: repository, fresh }),
  ]);
  const status = clusterStatus({ config, time: Date.now(), receiver, server, map });
  const judgement = judge(status, config.status, age);
  if (nagios) {
    output.line(nagiosLine(status, judgement));
    return LEVELS[judgement.level];
  }
  if (output.isJson) output.json(statusDocument(status, judgement));
  else printStatus(output, status, config);
  throwFailures(map.failures);
  return 0;
}
