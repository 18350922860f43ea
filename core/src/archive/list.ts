import { ArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import type { BackupEntry } from '../repository/backups.ts';
import type { RepositoryFailure } from '../repository/repository-failure.ts';
import { gapsInTheWayOf } from '../repository/wal-gaps.ts';
import { findDrills, type LastDrill } from './backup-drills.ts';
import { findGaps, type FoundGap } from './backup-gaps.ts';
import { findPins, pinOn, type FoundPin } from './backup-pins.ts';
import { findVerified, type Verified } from './backup-verified.ts';
import { failureAmong, findBackups, showingOptions } from './backups.ts';
import type { ChosenRepositories, Outcome } from './call.ts';
import { warnOfDropped } from './dropped-warning.ts';
import type { Workplace } from './workplace.ts';

export interface BackupsCall extends CallOptions, ChosenRepositories {
  /** Reads storages with versions as they were at this moment. */
  readonly asOf?: Date;
}

/** A backup in one repository, and what is on record of it there. */
export type ListedBackup = BackupEntry & {
  readonly repository: string;
  readonly systemId: string;
  readonly verified: Verified | undefined;
  readonly drill: LastDrill;
  readonly pin: FoundPin | undefined;
  /** WAL that is lost behind it: it can be restored up to the first of them. */
  readonly gaps: readonly FoundGap[];
};

/** `failure`: of a repository that could not be read, else that there is no complete backup. */
export interface BackupList extends Outcome {
  /** In the order of the repositories, then by age. */
  readonly backups: readonly ListedBackup[];
  /** All that keep a backup from being rolled forward to the end. */
  readonly gaps: readonly FoundGap[];
  readonly failures: readonly RepositoryFailure[];
}

/** See `Archive.backups`. */
export async function backups(at: Workplace, call: BackupsCall): Promise<BackupList> {
  const { config, logger, signal } = at;
  warnOfDropped(config, logger);
  const { asOf, repositories: names = [] } = call;
  const { repositories } = await at.open({
    ...showingOptions(config),
    repositories: names,
    ...(asOf === undefined ? {} : { asOf }),
  });
  const found = await findBackups(repositories, { signal });
  const { gaps, failures: withoutGaps } = await findGaps(repositories, found, { signal });
  const { pins, failures: withoutPins } = await findPins(repositories, found, { signal });
  const verified = await findVerified(found.backups, { signal });
  const drills = await findDrills(repositories, found, { signal });
  const listed = found.backups.map((backup): ListedBackup => {
    const { repository, systemId, ...entry } = backup;
    const own = gaps.filter((gap) => gap.repository === repository.name && gap.systemId === systemId);
    return {
      ...entry,
      repository: repository.name,
      systemId,
      verified: verified.get(backup),
      drill: drills.of(backup),
      pin: pinOn(backup, pins),
      gaps: entry.state === 'complete' ? gapsInTheWayOf(entry.record, own) : [],
    };
  });
  const failures = [...found.failures, ...withoutGaps, ...withoutPins, ...drills.failures];
  return { backups: listed, gaps, failures, failure: failureAmong(failures) ?? noneComplete(listed, config.cluster) };
}

function noneComplete(listed: readonly ListedBackup[], cluster: string): ArchiveError | undefined {
  if (listed.some(({ state }) => state === 'complete')) return undefined;
  const which = listed.length === 0 ? 'are no backups' : 'is no complete backup';
  return new ArchiveError('BACKUP_NOT_FOUND', `there ${which} of cluster "${cluster}"`, {
    hint: 'Take one with "pgark backup".',
  });
}
