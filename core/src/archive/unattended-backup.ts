import { takeBackup } from '../backup/backup.ts';
import { backupParts } from './backup-parts.ts';
import { extendLocksOf } from './extend-locks.ts';
import type { Telling } from './telling.ts';
import type { Workplace } from './workplace.ts';

/** The server takes rates in units of this many bytes. */
const RATE_UNIT = 1024;

/**
 * Takes a base backup as the config says, and gives its id. The repositories are opened for it: what receives waits for a storage in its own
 * way, and a backup does not. Errors: those of `takeBackup`.
 */
export async function unattendedBackup(
  at: Workplace,
  { signal, telling }: { readonly signal: AbortSignal; readonly telling: Telling },
): Promise<string> {
  const { config, logger } = at;
  const { checkpoint, partSize, walTimeout, maxRate, label } = config.backup;
  const { writable, target } = await backupParts(at, telling);
  const { record } = await takeBackup({
    target,
    repositories: writable,
    checkpoint,
    partSize,
    walTimeout,
    ...(maxRate === undefined ? {} : { maxRate: Math.round(maxRate / RATE_UNIT) }),
    ...(label === undefined ? {} : { label }),
    signal,
    logger,
    onEvent: telling.emit,
    gate: telling.gate,
  });
  const unlocked = await extendLocksOf(writable, { systemId: record.systemId, logger, signal });
  if (unlocked !== undefined) logger.error({ code: unlocked.code }, unlocked.message);
  return record.id;
}
