/** What the commands show of a backup. */
import type { BackupRecord } from '../repository/backup-record.ts';

/** Bytes of a backup as stored: parts, manifest and file list. */
export function storedSize(backup: BackupRecord): number {
  const parts = backup.parts.reduce((sum, part) => sum + part.storedSize, 0);
  return parts + backup.manifest.storedSize + backup.fileList.storedSize;
}

/** How many times smaller the backup is stored than it is, `23.1`. */
export function formatRatio(backup: BackupRecord): string {
  const stored = storedSize(backup);
  return stored === 0 ? '-' : (backup.dataSize / stored).toFixed(1);
}

/** `1 file`, `2 files` */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
