/** Backups for programs. */
import type { FoundPin } from '../archive/backup-pins.ts';
import type { ListedBackup } from '../archive/list.ts';
import type { ShownBackup } from '../archive/show.ts';
import type { SegmentRun } from '../backup/required-wal.ts';
import { segmentName } from '../postgres/wal-file.ts';
import type { BackupRecord } from '../repository/backup-record.ts';
import { gapDocument } from './gap-document.ts';

/** Bytes of a backup as stored: parts, manifest and file list. */
export function storedSize(backup: BackupRecord): number {
  const parts = backup.parts.reduce((sum, part) => sum + part.storedSize, 0);
  return parts + backup.manifest.storedSize + backup.fileList.storedSize;
}

/** A backup of a list. */
export function listedDocument(backup: ListedBackup): Readonly<Record<string, unknown>> {
  const { id, state, systemId, repository, verified, drill, pin } = backup;
  const place = { id, state, repository, systemId };
  if (backup.state === 'complete') {
    const { record } = backup;
    return {
      ...place,
      storedSize: storedSize(record),
      record,
      gaps: backup.gaps.map(gapDocument),
      verified,
      drill,
      ...(pin === undefined ? {} : { pin: pinDocument(pin) }),
    };
  }
  if (backup.state === 'unreadable')
    return { ...place, error: { code: backup.error.code, message: backup.error.message }, verified };
  return place;
}

/** One backup, with the WAL that it needs. */
export function shownDocument(shown: ShownBackup): Readonly<Record<string, unknown>> {
  const { record, repository, wal, gaps, pins, verified, drills } = shown;
  const names = (runs: readonly SegmentRun[]): readonly unknown[] =>
    runs.map((run) => ({ from: firstOf(run, record), to: lastOf(run, record) }));
  return {
    ...record,
    repository,
    storedSize: storedSize(record),
    wal: { required: names(wal.required.runs), missing: names(wal.missing) },
    repositories: wal.holders.map((holder) => ({ name: holder.repository, missing: names(holder.missing) })),
    gaps: gaps.map(gapDocument),
    pins: pins.map(pinDocument),
    verified,
    drills,
  };
}

export function firstOf(run: SegmentRun, { segmentSize }: BackupRecord): string {
  return segmentName(run.timeline, run.first, segmentSize);
}

export function lastOf(run: SegmentRun, { segmentSize }: BackupRecord): string {
  return segmentName(run.timeline, run.last, segmentSize);
}

/** What keeps a backup. */
function pinDocument({ repository, reason, until }: FoundPin): Readonly<Record<string, unknown>> {
  return { repository, reason, ...(until === undefined ? {} : { until: new Date(until).toISOString() }) };
}
