import { storedSize } from './backup-document.ts';
import type { BackupRecord } from '../repository/backup-record.ts';

/** How many times smaller the backup is stored than it is, `23.1`. */
export function formatRatio(backup: BackupRecord): string {
  const stored = storedSize(backup);
  return stored === 0 ? '-' : (backup.dataSize / stored).toFixed(1);
}
