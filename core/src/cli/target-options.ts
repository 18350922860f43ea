/** The options that say up to where a recovery goes. */
import type { Command } from 'commander';
import type { RecoveryTarget, TargetInput } from '../restore/target.ts';

export interface TargetFlags {
  readonly target?: string;
  readonly targetTime?: string;
  readonly targetLsn?: string;
  readonly targetXid?: string;
  readonly targetName?: string;
  readonly targetTimeline: string;
  readonly exclusive?: boolean;
}

export function addTargetOptions(command: Command): Command {
  return command
    .option('--target-time <time>', 'up to a moment: "2026-11-21 06:00:00+02", "5 minutes ago"')
    .option('--target-lsn <lsn>', 'up to a position in the WAL')
    .option('--target-xid <id>', 'up to the end of a transaction')
    .option('--target-name <name>', 'up to a restore point, as made by pg_create_restore_point()')
    .option('--target <word>', 'latest: all that the archive has (default); immediate: the end of the backup')
    .option('--target-timeline <timeline>', 'a number, latest, or current (that of the backup)', 'latest')
    .option('--exclusive', 'end just before the target time, LSN or transaction');
}

export function targetOfFlags(flags: TargetFlags): TargetInput {
  return {
    time: flags.targetTime,
    lsn: flags.targetLsn,
    xid: flags.targetXid,
    name: flags.targetName,
    target: flags.target,
    exclusive: flags.exclusive,
  };
}

/** Errors: `USAGE`. */
export async function parsedTarget(input: TargetInput): Promise<RecoveryTarget> {
  const { parseTarget } = await import('../restore/target.ts');
  return parseTarget(input);
}
