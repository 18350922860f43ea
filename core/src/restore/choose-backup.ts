/** Which backups can lead to a target. */
import { ArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { parseLsn } from '../postgres/lsn.ts';
import type { BackupRecord } from '../repository/backup-record.ts';
import type { BackupEntry } from '../repository/backups.ts';
import { allAnswers } from '../repository/all-answers.ts';
import type { Repository } from '../repository/repository.ts';
import { isSameBackup, type BackupCopy } from './backup-source.ts';
import { rangeOf, type Lineage } from './lineage.ts';

/** The backups of one cluster. */
export interface Candidates {
  readonly systemId: string;
  /** Complete ones, oldest stop first; one that several repositories hold is one. */
  readonly records: readonly BackupRecord[];
  /** By id, the copies of each of them, in the order of the repositories. */
  readonly copies: ReadonlyMap<string, readonly BackupCopy[]>;
  /** Backups that cannot be used, and why. */
  readonly warnings: readonly string[];
  /** Repositories that answered that they hold nothing of this cluster. */
  readonly empty: readonly string[];
}

export type FindOptions = CallOptions & {
  readonly systemId?: string | undefined;
  readonly backup?: string | undefined;
};

/** A backup as one of the repositories has it. */
interface Found {
  readonly repository: Repository;
  readonly entry: BackupEntry;
}

/**
 * Lists the complete backups of the cluster that is meant: the named one, that of the named backup, or the only one that has any.
 * Errors: `BACKUP_NOT_FOUND`, `USAGE` when several clusters have backups.
 */
export async function findBackups(
  repositories: readonly [Repository, ...Repository[]],
  options: FindOptions,
): Promise<Candidates> {
  const { backup } = options;
  const held = await entriesOf(repositories, options);
  const systems = [...new Set(held.flatMap(({ entries }) => [...entries.keys()]))];
  const found = systems
    .map((systemId) => ({
      systemId,
      entries: held.flatMap(({ repository, entries }) =>
        (entries.get(systemId) ?? []).map((entry): Found => ({ repository, entry })),
      ),
    }))
    .filter(({ entries }) =>
      entries.some(({ entry }) => (backup === undefined ? isComplete(entry) : entry.id === backup)),
    );
  const [only] = found;
  if (only === undefined) {
    if (backup !== undefined) throw new ArchiveError('BACKUP_NOT_FOUND', `there is no backup ${backup}`);
    const names = repositories.map(({ name }) => name).join(', ');
    const where = repositories.length === 1 ? `repository ${names} has no` : `none of the repositories ${names} has a`;
    throw new ArchiveError('BACKUP_NOT_FOUND', `${where} complete backup of "${repositories[0].cluster}"`, {
      hint: 'Take one with "pgark backup"; one that was interrupted cannot be restored.',
    });
  }
  if (found.length > 1)
    throw new ArchiveError('USAGE', `the archive holds backups of several clusters under this name`, {
      hint: `Choose one with --system-id: ${found.map(newest).join('; ')}.`,
    });
  const { systemId, entries } = only;
  const { copies, warnings } = copiesOf(entries);
  const records = [...copies.values()].flatMap(([copy]) => (copy === undefined ? [] : [copy.record]));
  const several = repositories.length > 1;
  return {
    systemId,
    records: records.sort((one, other) => (parseLsn(one.stopLsn) < parseLsn(other.stopLsn) ? -1 : 1)),
    copies,
    warnings: [
      ...entries.flatMap(({ repository, entry }) => {
        if (entry.state !== 'unreadable' && entry.state !== 'expired') return [];
        const why = entry.state === 'expired' ? 'it is being removed by "pgark expire"' : entry.error.message;
        return [`backup ${entry.id}${several ? ` in repository ${repository.name}` : ''} is passed over: ${why}`];
      }),
      ...warnings,
    ],
    empty: held.filter(({ entries: own }) => !own.has(systemId)).map(({ repository }) => repository.name),
  };
}

/** The backups that each repository has, by cluster. */
async function entriesOf(
  repositories: readonly [Repository, ...Repository[]],
  options: FindOptions,
): Promise<
  readonly { readonly repository: Repository; readonly entries: ReadonlyMap<string, readonly BackupEntry[]> }[]
> {
  const { systemId: named, signal } = options;
  const cancel = signal === undefined ? {} : { signal };
  const alone = repositories.length === 1;
  const look = async (repository: Repository): Promise<ReadonlyMap<string, readonly BackupEntry[]>> => {
    // Of several, one that holds nothing of the cluster must be told from one that has none of its backups.
    const held = alone && named !== undefined ? [named] : await repository.systemIds(cancel);
    const entries = new Map<string, readonly BackupEntry[]>();
    for (const systemId of held)
      if (named === undefined || systemId === named)
        entries.set(systemId, await repository.backups(systemId).list(cancel));
    return entries;
  };
  if (alone) return [{ repository: repositories[0], entries: await look(repositories[0]) }];
  const answers = await allAnswers(repositories, look, cancel);
  return answers.map(({ member, value }) => ({ repository: member, entries: value }));
}

/** The complete backups of these entries by id. What has the id of another one, but is not it, is told and left out. */
function copiesOf(entries: readonly Found[]): {
  readonly copies: ReadonlyMap<string, readonly BackupCopy[]>;
  readonly warnings: readonly string[];
} {
  const copies = new Map<string, readonly BackupCopy[]>();
  const warnings: string[] = [];
  for (const { repository, entry } of entries) {
    if (!isComplete(entry)) continue;
    const { id, record } = entry;
    const known = copies.get(id) ?? [];
    const [first] = known;
    if (first === undefined || isSameBackup(first.record, record)) copies.set(id, [...known, { repository, record }]);
    else
      warnings.push(
        `backup ${id} in repository ${repository.name} is passed over: it is another one than in repository ${first.repository.name}`,
      );
  }
  return { copies, warnings };
}

function isComplete(entry: BackupEntry): entry is Extract<BackupEntry, { readonly state: 'complete' }> {
  return entry.state === 'complete';
}

function newest({ systemId, entries }: { readonly systemId: string; readonly entries: readonly Found[] }): string {
  const times = entries.flatMap(({ entry }) => (isComplete(entry) ? [entry.record.stopTime] : [])).sort();
  return `${systemId} (newest backup ${times.at(-1) ?? 'unknown'})`;
}

/**
 * Whether the backup's end lies on the line, so that the line's WAL continues it. Where nothing is known of the line's ancestors the backup must
 * have begun on it: PostgreSQL does not take a control file of another timeline.
 */
export function isOnLine(
  record: Pick<BackupRecord, 'timeline' | 'stopTimeline' | 'stopLsn'>,
  lineage: Lineage,
): boolean {
  const hasBegun = lineage.ranges.some(({ timeline }) => timeline === record.timeline);
  return hasBegun && rangeOf(lineage, record.stopTimeline, parseLsn(record.stopLsn)) !== undefined;
}
