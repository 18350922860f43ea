import type { BackupProgress, BackupResult } from '../backup/backup.ts';
import { takeBackup } from '../backup/backup.ts';
import type { ArchiveError } from '../contracts/errors.ts';
import type { Logger } from '../contracts/plugin.ts';
import { backupFailure } from './backup-failure.ts';
import { backupParts } from './backup-parts.ts';
import { backupSettings, type BackupSettings } from './backup-settings.ts';
import type { LongCall, Outcome } from './call.ts';
import { extendLocksOf, type LockProgress } from './extend-locks.ts';
import { errorOf, tellingOf } from './telling.ts';
import type { Workplace } from './workplace.ts';

/** Milliseconds of waiting for WAL after which the log says what to start. */
const PATIENCE = 3000;

export interface BackupCall extends LongCall<BackupProgress | LockProgress>, BackupSettings {
  /** Makes the archive where there is none, for the first backup of a server with `archive_command`. Default false. */
  readonly create?: boolean;
}

/** A backup that is there, in one repository at least. */
export interface BackupDone extends BackupResult, Outcome {
  /** How long it took. */
  readonly milliseconds: number;
}

/** See `Archive.backup`. */
export async function backup(at: Workplace, call: BackupCall): Promise<BackupDone> {
  const { config, logger, signal } = at;
  const telling = tellingOf(await at.hooks(), { onEvent: call.onEvent, signal });
  const { writable, target } = await backupParts(at, telling);
  const advise = walAdvice(logger);
  const begun = performance.now();
  const result = await takeBackup({
    target,
    repositories: writable,
    create: call.create === true,
    ...backupSettings(config, call),
    signal,
    logger,
    onProgress: (progress) => {
      call.onProgress?.(progress);
      advise(progress);
    },
    onEvent: telling.emit,
    gate: telling.gate,
  });
  const milliseconds = performance.now() - begun;
  const unlocked = await extended(at, writable, { result, call });
  const [failure, ...others] = [backupFailure(result), unlocked].filter((error) => error !== undefined);
  for (const { code, message } of others) logger.error({ code }, message);
  return { ...result, milliseconds, failure };
}

/** The backup is there, whatever becomes of the locks of older objects: also an abort is no more than a failure. */
async function extended(
  { logger, signal }: Workplace,
  repositories: Parameters<typeof extendLocksOf>[0],
  { result, call }: { readonly result: BackupResult; readonly call: BackupCall },
): Promise<ArchiveError | undefined> {
  const { onProgress } = call;
  try {
    const options = { systemId: result.record.systemId, logger, signal };
    return await extendLocksOf(repositories, { ...options, ...(onProgress === undefined ? {} : { onProgress }) });
  } catch (error) {
    return errorOf(error);
  }
}

/** Says once, soon, what a backup waits for: without a receiver it would be silent until the time is up. */
function walAdvice(logger: Logger): (progress: BackupProgress) => void {
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
