import { Option, type Command } from 'commander';
import type { BackupCall } from '../../archive/backup.ts';
import type { BackupProgress } from '../../backup/backup.ts';
import { lockingText } from '../backup-progress.ts';
import { printBackup } from '../backup-result.ts';
import { examples } from '../help.ts';
import type { Output } from '../output.ts';
import { runCommand } from '../run.ts';

interface BackupFlags {
  readonly create?: boolean;
  readonly label?: string;
  readonly checkpoint?: 'fast' | 'spread';
  readonly maxRate?: string;
  readonly partSize?: string;
  readonly walTimeout?: string;
}

export function register(program: Command): void {
  const backup = program
    .command('backup')
    .description('take a base backup of the server into the repositories')
    .option('--create', 'make the archive where there is none: for the first backup of a server with archive_command')
    .option('--label <text>', 'kept with the backup (default: "pgark" and its id)')
    .addOption(
      new Option(
        '--checkpoint <mode>',
        'fast begins at once, spread spares the disks of the server (default: fast)',
      ).choices(['fast', 'spread']),
    )
    .option('--max-rate <size>', 'bytes a second that the server may send, as in 50MB (default: no limit)')
    .option('--part-size <size>', 'size of the parts that the backup is stored in (default: 256MiB)')
    .option('--wal-timeout <duration>', 'how long to wait when no WAL is archived (default: 5m)')
    .action(async (flags: BackupFlags, command: Command) =>
      runCommand(command, async ({ output, archive }) => {
        const { parseDuration, parseSize } = await import('../../config/units.ts');
        const { BackupProgressText } = await import('../backup-progress.ts');
        const text = new BackupProgressText({ bar: output.isTerminal });
        const { label, checkpoint, maxRate, partSize, walTimeout } = flags;
        const opened = await archive();
        const done = await opened.backup({
          create: flags.create === true,
          ...(label === undefined ? {} : { label }),
          ...(checkpoint === undefined ? {} : { checkpoint }),
          ...(maxRate === undefined ? {} : { maxRate: parseSize(maxRate) }),
          ...(partSize === undefined ? {} : { partSize: parseSize(partSize) }),
          ...(walTimeout === undefined ? {} : { walTimeout: parseDuration(walTimeout) }),
          onProgress: progressLine(output, text),
        });
        output.progressDone();
        printBackup(output, done, done.milliseconds);
        if (done.failure !== undefined) throw done.failure;
      }),
    );
  examples(backup, [
    ['pgark backup --label "before the upgrade"', 'begin at once'],
    ['pgark backup --create', 'the first one of a server that archives by archive_command'],
    ['pgark backup --checkpoint spread', 'wait for a gentle checkpoint, which takes minutes'],
    ['pgark backup --max-rate 50MB', 'read at most 50 MB a second from the server'],
  ]);
}

type Progress = Parameters<NonNullable<BackupCall['onProgress']>>[0];

function progressLine(
  output: Output,
  text: { update(progress: BackupProgress): void; toString(): string },
): (progress: Progress) => void {
  let stage: Progress['stage'] | undefined;
  return (progress) => {
    // A new stage is shown at once, also where lines are rare.
    if (progress.stage !== stage && stage !== undefined) output.progressDone();
    stage = progress.stage;
    if (progress.stage === 'locking') return output.progress(() => lockingText(progress));
    text.update(progress);
    output.progress(() => text.toString());
  };
}
