import { takeBackup } from '../backup/backup.ts';
import { backupFailure } from './backup-failure.ts';
import { backupParts } from './backup-parts.ts';
import { backupSettings } from './backup-settings.ts';
import { extendLocksOf } from './extend-locks.ts';
import type { Telling } from './telling.ts';
import type { Workplace } from './workplace.ts';

/**
 * Takes a base backup as the config says, and gives its id. The repositories are opened for it: what receives waits for a storage in its own
 * way, and a backup does not. Errors: those of `takeBackup`.
 */
export async function unattendedBackup(
  at: Workplace,
  { signal, telling }: { readonly signal: AbortSignal; readonly telling: Telling },
): Promise<string> {
  const { config, logger } = at;
  const { writable, target } = await backupParts(at, telling);
  const result = await takeBackup({
    target,
    repositories: writable,
    ...backupSettings(config),
    signal,
    logger,
    onEvent: telling.emit,
    gate: telling.gate,
  });
  const { id, systemId } = result.record;
  const unlocked = await extendLocksOf(writable, { systemId, logger, signal });
  for (const failure of [backupFailure(result), unlocked])
    if (failure !== undefined) logger.error({ code: failure.code }, failure.message);
  return id;
}
