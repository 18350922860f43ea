import type { Command } from 'commander';
import { ArchiveError } from '../../contracts/errors.ts';
import type { EventSink } from '../../contracts/hook.ts';
import { parseLsn } from '../../postgres/lsn.ts';
import { examples } from '../help.ts';
import { runCommand } from '../run.ts';

interface ReceiveFlags {
  readonly slot?: string;
  readonly until?: string;
  readonly ship: boolean;
  readonly acceptTimeline?: string;
}

export function register(program: Command): void {
  const command = program
    .command('receive')
    .description('stream WAL from the server into the spool and ship it into the repositories, until stopped')
    .option('--slot <name>', 'replication slot, and application name for synchronous_standby_names')
    .option('--until <lsn>', 'stop once WAL up to here is durable in the spool')
    .option('--no-ship', 'leave the WAL in the spool')
    .option(
      '--accept-timeline <number>',
      'go on although the history of the server, now on this timeline, has diverged',
    )
    .action(async (flags: ReceiveFlags, command: Command) =>
      runCommand(command, async (context) => {
        const { output, logger, signal } = context;
        const config = { ...context.config.receive, ...(flags.slot !== undefined && { slot: flags.slot }) };
        const until = flags.until === undefined ? undefined : parseLsn(flags.until);
        const acceptTimeline = flags.acceptTimeline === undefined ? undefined : timelineOf(flags.acceptTimeline);
        const { receive } = await import('../../receive/receive.ts');
        // Shipping waits in its own way, so that one outage is one message and the operator sees the state.
        const archive = await context.archive({ retry: { deadline: 0 } });
        const told = new Set<Promise<void>>();
        const onEvent: EventSink = (event, data) => {
          if (output.isJson) output.line(JSON.stringify({ event, time: new Date().toISOString(), ...data }));
          const telling = archive.events
            .emit(event, data)
            .catch((error: unknown) => {
              // A hook cannot veto WAL: receiving goes on whatever its policy says.
              logger.error({ event, error }, `a hook with the policy "fail" was not told of ${event}`);
            })
            .finally(() => told.delete(telling));
          told.add(telling);
        };
        try {
          const { unshipped } = await receive({
            cluster: context.config.cluster,
            target: await archive.target({ applicationName: config.slot }),
            repositories: flags.ship ? archive.writable : [],
            config,
            ...(until !== undefined && { until }),
            ...(acceptTimeline !== undefined && { acceptTimeline }),
            takeBackup: async (signal) => {
              const { unattendedBackup } = await import('../unattended-backup.ts');
              return unattendedBackup(context.loaded, { signal, logger, onEvent });
            },
            logger,
            signal,
            onEvent,
          });
          if (unshipped > 0) logger.warn({ unshipped }, 'files stay in the spool; the next run ships them');
        } finally {
          await Promise.all(told);
        }
      }),
    );
  examples(command, [
    [
      'pgark receive',
      'run until SIGINT or SIGTERM, which flush, report and ship before the end; a second one ends at once',
    ],
    ['pgark --json receive', 'each change of state as one line of JSON on stdout'],
    ['pgark receive --until 1/A0000000', 'stop behind a known position'],
  ]);
}

function timelineOf(text: string): number {
  const timeline = Number(text);
  if (Number.isInteger(timeline) && timeline > 0 && timeline < 2 ** 32) return timeline;
  throw new ArchiveError('USAGE', `not a timeline: "${text}"`);
}
