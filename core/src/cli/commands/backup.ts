import { Option, type Command } from 'commander';
import type { BackupOptions, BackupProgress, BackupResult } from '../../backup/backup.ts';
import type { Logger } from '../../contracts/plugin.ts';
import { backupFailure, printBackup } from '../backup-result.ts';
import { examples } from '../help.ts';
import type { Output } from '../output.ts';
import { runCommand } from '../run.ts';

/** Milliseconds of waiting for WAL after which the operator is told what to start. */
const PATIENCE = 3000;
/** `--max-rate` and the config give bytes, the server takes units of this many. */
const RATE_UNIT = 1024;

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
      runCommand(command, async (context) => {
        const { config, output, logger, signal } = context;
        const { takeBackup } = await import('../../backup/backup.ts');
        const { parseDuration, parseSize } = await import('../../config/units.ts');
        const { BackupProgressText } = await import('../backup-progress.ts');
        const opened = await context.archive();
        const maxRate = flags.maxRate === undefined ? config.backup.maxRate : parseSize(flags.maxRate);
        const label = flags.label ?? config.backup.label;
        const text = new BackupProgressText({ bar: output.isTerminal });
        const told: Promise<void>[] = [];
        const begun = performance.now();
        const options: BackupOptions = {
          target: await opened.target(),
          repositories: opened.writable,
          create: flags.create === true,
          ...(label === undefined ? {} : { label }),
          checkpoint: flags.checkpoint ?? config.backup.checkpoint,
          ...(maxRate === undefined ? {} : { maxRate: Math.round(maxRate / RATE_UNIT) }),
          partSize: flags.partSize === undefined ? config.backup.partSize : parseSize(flags.partSize),
          walTimeout: flags.walTimeout === undefined ? config.backup.walTimeout : parseDuration(flags.walTimeout),
          signal,
          logger,
          onProgress: combine(progressLine(output, text), walAdvice(logger)),
          onEvent: (name, data) => {
            const telling = opened.events.emit(name, data);
            telling.catch(() => undefined); // it is thrown below, when the backup has not failed by itself
            told.push(telling);
          },
        };
        let result: BackupResult;
        try {
          result = await takeBackup(options);
        } finally {
          await Promise.allSettled(told);
        }
        output.progressDone();
        printBackup(output, result, performance.now() - begun);
        await Promise.all(told);
        const { extendLocksOf } = await import('../extend-locks.ts');
        const { systemId } = result.record;
        const unlocked = await extendLocksOf(opened.writable, { systemId, logger, signal, output });
        const failure = backupFailure(result) ?? unlocked;
        if (unlocked !== undefined && failure !== unlocked) logger.error({ code: unlocked.code }, unlocked.message);
        if (failure !== undefined) throw failure;
      }),
    );
  examples(backup, [
    ['pgark backup --label "before the upgrade"', 'begin at once'],
    ['pgark backup --create', 'the first one of a server that archives by archive_command'],
    ['pgark backup --checkpoint spread', 'wait for a gentle checkpoint, which takes minutes'],
    ['pgark backup --max-rate 50MB', 'read at most 50 MB a second from the server'],
  ]);
}

type Listener = (progress: BackupProgress) => void;

function combine(...listeners: readonly Listener[]): Listener {
  return (progress) => {
    for (const listener of listeners) listener(progress);
  };
}

function progressLine(output: Output, text: { update(progress: BackupProgress): void; toString(): string }): Listener {
  let stage: BackupProgress['stage'] | undefined;
  return (progress) => {
    // A new stage is shown at once, also where lines are rare.
    if (progress.stage !== stage && stage !== undefined) output.progressDone();
    stage = progress.stage;
    text.update(progress);
    output.progress(() => text.toString());
  };
}

/** Says once, soon, what a backup waits for: without a receiver it would be silent until the time is up. */
function walAdvice(logger: Logger): Listener {
  let since: number | undefined;
  let said = false;
  return ({ stage, wal }) => {
    if (stage !== 'waiting' || said) return;
    since ??= performance.now();
    if (wal?.awaited === undefined || performance.now() - since < PATIENCE) return;
    said = true;
    logger.warn(
      { segment: wal.awaited },
      `the backup is not complete before ${wal.awaited} is archived. ${wal.advice}`,
    );
  };
}
