import { ArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import type { BackupRecord } from '../repository/backup-record.ts';
import type { RepositoryFailure } from '../repository/repository-failure.ts';
import { gapsInTheWayOf } from '../repository/wal-gaps.ts';
import { findDrills, type LastDrill } from './backup-drills.ts';
import { findGaps, type FoundGap } from './backup-gaps.ts';
import { findPins, type FoundPin } from './backup-pins.ts';
import { findVerified, type Verified } from './backup-verified.ts';
import { lookAtWal, type BackupWal } from './backup-wal.ts';
import { chooseBackup, failureAmong, findBackups, showingOptions } from './backups.ts';
import type { Outcome } from './call.ts';
import { warnOfDropped } from './dropped-warning.ts';
import type { Workplace } from './workplace.ts';

export interface ShowCall extends CallOptions {
  /** Reads storages with versions as they were at this moment. */
  readonly asOf?: Date;
}

/** `failure`: of a repository that could not be read, else that WAL of the backup is missing. */
export interface ShownBackup extends Outcome {
  readonly record: BackupRecord;
  /** The first that has it complete. */
  readonly repository: string;
  readonly wal: BackupWal;
  readonly gaps: readonly FoundGap[];
  readonly pins: readonly FoundPin[];
  /** Of each copy. */
  readonly verified: readonly { readonly repository: string; readonly last: Verified }[];
  readonly drills: readonly { readonly repository: string; readonly last: LastDrill }[];
  readonly failures: readonly RepositoryFailure[];
}

/** See `Archive.show`. */
export async function show(at: Workplace, id: string, call: ShowCall): Promise<ShownBackup> {
  const { config, logger, signal } = at;
  warnOfDropped(config, logger);
  const { asOf } = call;
  const { repositories } = await at.open({ ...showingOptions(config), ...(asOf === undefined ? {} : { asOf }) });
  const found = await findBackups(repositories, { signal });
  const backup = chooseBackup(found, id);
  if (backup.state === 'unreadable') throw backup.error;
  if (backup.state === 'incomplete') {
    throw new ArchiveError('BACKUP_NOT_FOUND', `backup ${backup.id} is incomplete: nothing is known of it`, {
      hint: 'It runs still, or it was interrupted; only a complete one can be restored.',
    });
  }
  if (backup.state === 'expired') {
    throw new ArchiveError('BACKUP_NOT_FOUND', `backup ${backup.id} is being removed by "pgark expire"`, {
      hint: 'The next "pgark expire --confirm" finishes that; see "pgark list" for others.',
    });
  }
  const { record, repository } = backup;
  const wal = await lookAtWal(record, repositories, found, { signal });
  const known = await findGaps(repositories, found, { signal });
  const own = known.gaps.filter(({ systemId }) => systemId === record.systemId);
  const pinned = await findPins(repositories, found, { signal });
  const copies = found.backups.filter((one) => one.id === record.id && one.state === 'complete');
  const verified = await findVerified(copies, { signal });
  const proofs = await findDrills(repositories, { ...found, backups: copies }, { signal });
  const failures = [...wal.failures, ...known.failures, ...pinned.failures, ...proofs.failures];
  return {
    record,
    repository: repository.name,
    wal,
    gaps: gapsInTheWayOf(record, own),
    pins: pinned.pins.filter((pin) => pin.id === record.id && pin.systemId === record.systemId),
    verified: [...verified].map(([copy, last]) => ({ repository: copy.repository.name, last })),
    drills: copies.map((copy) => ({ repository: copy.repository.name, last: proofs.of(copy) })),
    failures,
    failure: failureAmong(failures) ?? lacksWal(record, wal),
  };
}

function lacksWal({ id }: BackupRecord, { missing }: BackupWal): ArchiveError | undefined {
  if (missing.length === 0) return undefined;
  return new ArchiveError('WAL_NOT_FOUND', `backup ${id} cannot be restored: its WAL is not all archived`, {
    hint: 'See which is missing above; another backup may be whole, see "pgark list".',
  });
}
