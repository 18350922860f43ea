import type { ConnectionTarget } from '../postgres/target.ts';
import { newBackupId } from '../repository/layout.ts';
import { errorOf, type Telling } from './telling.ts';
import type { Opened, Workplace } from './workplace.ts';

/**
 * What a backup needs. What keeps it from being begun is told as its failure: nobody sees a backup from cron but by its events. Errors: those of
 * `Workplace.open` and `Workplace.target`.
 */
export async function backupParts(
  at: Workplace,
  { emit }: Telling,
): Promise<{ readonly writable: Opened['writable']; readonly target: ConnectionTarget }> {
  try {
    const { writable } = await at.open();
    return { writable, target: await at.target() };
  } catch (error) {
    const { code, message } = errorOf(error);
    emit('backup.failed', { id: newBackupId(new Date()), code, message });
    throw error;
  }
}
