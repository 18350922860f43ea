/** The WAL that a backup needs, in each repository that has the backup and in all together. */
import { missingSegments, requiredWalOf, type RequiredWal, type SegmentRun } from '../backup/required-wal.ts';
import { ArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { answersOf } from '../repository/all-answers.ts';
import type { BackupRecord } from '../repository/backup-record.ts';
import type { RepositoryFailure } from '../repository/repository-failure.ts';
import type { Repository } from '../repository/repository.ts';
import type { WalReader } from '../repository/wal.ts';
import { walReader } from '../repository/wal-union.ts';
import { failureAmong, type FoundBackups } from './backups.ts';

export interface BackupWal {
  /** What makes the backup consistent. */
  readonly required: RequiredWal;
  /** What of it none of the repositories has that could be read. */
  readonly missing: readonly SegmentRun[];
  /** The repositories that have the backup complete, in their order, and what of its WAL each lacks by itself. */
  readonly holders: readonly { readonly repository: string; readonly missing: readonly SegmentRun[] }[];
  /** Whether the config has more than one repository. */
  readonly isShared: boolean;
  /** Repositories that could not be read. */
  readonly failures: readonly RepositoryFailure[];
}

/**
 * Looks which WAL of a backup there is. Of several repositories those that fail are left out; `found` says which have failed already.
 * Errors: `WAL_NOT_FOUND` without a history file that the backup needs, `WAL_CONFLICT`, those of the repositories when none can be read.
 */
export async function lookAtWal(
  record: BackupRecord,
  repositories: readonly [Repository, ...Repository[]],
  { backups, failures }: FoundBackups,
  options: CallOptions,
): Promise<BackupWal> {
  const { systemId } = record;
  const holds = ({ name }: Repository): boolean =>
    backups.some(({ id, state, repository }) => id === record.id && state === 'complete' && repository.name === name);
  if (repositories.length === 1) {
    const wal = repositories[0].wal(systemId);
    const required = await requiredWalOf(record, wal, options);
    const missing = await missingOf(required, wal, record, options);
    const holders = [{ repository: repositories[0].name, missing }];
    return { required, missing, holders, isShared: false, failures };
  }
  const readable = repositories.filter(({ name }) => !failures.some(({ repository }) => repository === name));
  const required = await requiredWalOf(record, union(readable, systemId, failures), options);
  const looked = await answersOf(
    readable,
    (repository) => missingOf(required, repository.wal(systemId), record, options),
    options,
  );
  const failed = [...failures, ...looked.failures];
  const together = union(
    looked.answers.map(({ member }) => member),
    systemId,
    failed,
  );
  return {
    required,
    missing: await missingOf(required, together, record, options),
    holders: looked.answers.flatMap(({ member, value }) =>
      holds(member) ? [{ repository: member.name, missing: value }] : [],
    ),
    isShared: true,
    failures: failed,
  };
}

function union(
  [first, ...more]: readonly Repository[],
  systemId: string,
  failures: readonly RepositoryFailure[],
): WalReader {
  if (first !== undefined) return walReader([first, ...more], systemId);
  throw failureAmong(failures) ?? new ArchiveError('INTERNAL', 'no repository was asked for WAL');
}

async function missingOf(
  required: RequiredWal,
  wal: WalReader,
  { segmentSize }: BackupRecord,
  options: CallOptions,
): Promise<readonly SegmentRun[]> {
  const missing: SegmentRun[] = [];
  for (const run of required.runs) missing.push(...(await missingSegments(wal, run, segmentSize, options)));
  return missing;
}
