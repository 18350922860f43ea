import { openArchive } from '../archive.ts';
import { takeBackup } from '../backup/backup.ts';
import type { LoadedConfig } from '../config/load.ts';
import type { EventSink } from '../contracts/hook.ts';
import type { Logger } from '../contracts/plugin.ts';
import { extendLocksOf } from './extend-locks.ts';

/** The server takes rates in units of this many bytes. */
const RATE_UNIT = 1024;

/**
 * Takes a base backup as the config says, and gives its id. The archive is opened for it: what receives waits for a storage in its own way,
 * and a backup does not. Errors: those of `takeBackup`.
 */
export async function unattendedBackup(
  loaded: LoadedConfig,
  { signal, logger, onEvent }: { readonly signal: AbortSignal; readonly logger: Logger; readonly onEvent: EventSink },
): Promise<string> {
  const { checkpoint, partSize, walTimeout, maxRate, label } = loaded.config.backup;
  const opened = await openArchive(loaded, { logger, signal });
  try {
    const { record } = await takeBackup({
      target: await opened.target(),
      repositories: opened.writable,
      checkpoint,
      partSize,
      walTimeout,
      ...(maxRate === undefined ? {} : { maxRate: Math.round(maxRate / RATE_UNIT) }),
      ...(label === undefined ? {} : { label }),
      signal,
      logger,
      onEvent,
    });
    const unlocked = await extendLocksOf(opened.writable, { systemId: record.systemId, logger, signal });
    if (unlocked !== undefined) logger.error({ code: unlocked.code }, unlocked.message);
    return record.id;
  } finally {
    await opened.close();
  }
}
