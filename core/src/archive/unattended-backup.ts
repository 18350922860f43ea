import { takeBackup } from '../backup/backup.ts';
import type { EventSink } from '../contracts/hook.ts';
import { extendLocksOf } from './extend-locks.ts';
import type { Workplace } from './workplace.ts';

/** The server takes rates in units of this many bytes. */
const RATE_UNIT = 1024;

/**
 * Takes a base backup as the config says, and gives its id. The repositories are opened for it: what receives waits for a storage in its own
 * way, and a backup does not. Errors: those of `takeBackup`.
 */
export async function unattendedBackup(
  at: Workplace,
  { signal, onEvent }: { readonly signal: AbortSignal; readonly onEvent: EventSink },
): Promise<string> {
  const { config, logger } = at;
  const { checkpoint, partSize, walTimeout, maxRate, label } = config.backup;
  const { writable } = await at.open();
  const { record } = await takeBackup({
    target: await at.target(),
    repositories: writable,
    checkpoint,
    partSize,
    walTimeout,
    ...(maxRate === undefined ? {} : { maxRate: Math.round(maxRate / RATE_UNIT) }),
    ...(label === undefined ? {} : { label }),
    signal,
    logger,
    onEvent,
  });
  const unlocked = await extendLocksOf(writable, { systemId: record.systemId, logger, signal });
  if (unlocked !== undefined) logger.error({ code: unlocked.code }, unlocked.message);
  return record.id;
}
