import type { BackupOptions } from '../backup/backup.ts';
import type { Config } from '../config/config.ts';

/** How a backup is taken, where it is not as the config says. */
export interface BackupSettings {
  /** For people, kept with the backup. Default: `backup.label` of the config, else `pgark` and the id. */
  readonly label?: string;
  /** `fast` begins at once, `spread` spares the disks of the server. Default: `backup.checkpoint` of the config. */
  readonly checkpoint?: 'fast' | 'spread';
  /** Bytes a second that the server may send. Default: `backup.maxRate` of the config, else without limit. */
  readonly maxRate?: number;
  /** Bytes of a part. Default: `backup.partSize` of the config. */
  readonly partSize?: number;
  /** Milliseconds to wait when no WAL is archived. Default: `backup.walTimeout` of the config. */
  readonly walTimeout?: number;
}

/** The config and the call give bytes, the server takes units of this many. */
const RATE_UNIT = 1024;

/** What a backup is taken with: the word of the call, else that of the config. */
export function backupSettings(
  { backup }: Pick<Config, 'backup'>,
  call: BackupSettings = {},
): Pick<BackupOptions, 'label' | 'checkpoint' | 'maxRate' | 'partSize' | 'walTimeout'> {
  const maxRate = call.maxRate ?? backup.maxRate;
  const label = call.label ?? backup.label;
  return {
    checkpoint: call.checkpoint ?? backup.checkpoint,
    partSize: call.partSize ?? backup.partSize,
    walTimeout: call.walTimeout ?? backup.walTimeout,
    ...(maxRate === undefined ? {} : { maxRate: Math.round(maxRate / RATE_UNIT) }),
    ...(label === undefined ? {} : { label }),
  };
}
