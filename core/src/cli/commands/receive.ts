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
      runCommand(command, async ({ output, archive }) => {
        const until = flags.until === undefined ? undefined : parseLsn(flags.until);
        const acceptTimeline = flags.acceptTimeline === undefined ? undefined : timelineOf(flags.acceptTimeline);
        const onEvent: EventSink = (event, data) =>
          output.line(JSON.stringify({ event, time: new Date().toISOString(), ...data }));
        const opened = await archive();
        await opened.receive({
          ship: flags.ship,
          ...(flags.slot !== undefined && { slot: flags.slot }),
          ...(until !== undefined && { until }),
          ...(acceptTimeline !== undefined && { acceptTimeline }),
          ...(output.isJson && { onEvent }),
        });
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
