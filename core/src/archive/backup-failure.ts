import type { BackupOutcome, BackupResult } from '../backup/backup.ts';
import { ArchiveError } from '../contracts/errors.ts';
import type { BackupRecord } from '../repository/backup-record.ts';

type Failed = Extract<BackupOutcome, { readonly error: ArchiveError }>;

/** What a backup falls short of although there is a backup: damage in it, or a repository that does not have it; damage comes first. */
export function backupFailure({ record, repositories }: BackupResult): ArchiveError | undefined {
  const [has] = repositories.filter((outcome) => 'record' in outcome);
  const failed = repositories.filter((outcome): outcome is Failed => 'error' in outcome);
  const behind = has === undefined || failed.length === 0 ? undefined : behindError(record.id, has.name, failed);
  return record.suspect === undefined ? behind : suspectError(record, behind);
}

function behindError(id: string, from: string, failed: readonly Failed[]): ArchiveError {
  const why = failed.map(({ name, error }) => `${name} does not have it: ${error.message}`).join('; ');
  const commands = failed.map(({ name }) => `"pgark copy --from ${from} --to ${name} --backup ${id}"`);
  return new ArchiveError('REPOSITORY_BEHIND', `backup ${id} is not in every repository: ${why}`, {
    hint: `What the others have is complete. Mend what failed, then run ${commands.join(' and ')}.`,
    details: {
      id,
      repositories: failed.map(({ name, error: { code, message } }) => ({ name, code, message })),
    },
  });
}

function suspectError(record: BackupRecord, behind: ArchiveError | undefined): ArchiveError {
  const files = record.suspect?.files ?? [];
  const named = files.length === 0 ? '' : `: ${files.slice(0, 5).join(', ')}${files.length > 5 ? ', ...' : ''}`;
  const error = new ArchiveError('BACKUP_SUSPECT', `the server found damaged pages${named}`, {
    details: { id: record.id, files },
  });
  if (behind === undefined) return error;
  return new ArchiveError(error.code, `${error.message}; ${behind.message}`, {
    hint: `${error.hint} ${behind.hint}`,
    details: { ...behind.details, ...error.details },
  });
}
