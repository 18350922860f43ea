/** The gaps that are on record, for the commands that show backups. */
import type { CallOptions } from '../contracts/storage.ts';
import { answersOf } from '../repository/all-answers.ts';
import type { RepositoryFailure } from '../repository/repository-failure.ts';
import type { Repository } from '../repository/repository.ts';
import { gapsInTheWayOf, openGaps, type RecordedGap } from '../repository/wal-gaps.ts';
import type { FoundBackups } from './backups.ts';

/** A gap that is still one, and the repository that has it. */
export interface FoundGap extends RecordedGap {
  readonly repository: string;
  readonly systemId: string;
}

export interface FoundGaps {
  readonly gaps: readonly FoundGap[];
  /** Repositories that could not say: what they have on record is not known. */
  readonly failures: readonly RepositoryFailure[];
}

/** What keeps a backup from being rolled forward, in any of the repositories. Those that failed before are not asked again. */
export async function findGaps(
  repositories: readonly Repository[],
  { backups, failures }: FoundBackups,
  options: CallOptions,
): Promise<FoundGaps> {
  const readable = repositories.filter(({ name }) => !failures.some(({ repository }) => repository === name));
  const { answers, failures: silent } = await answersOf(
    readable,
    async (repository) => {
      const found: FoundGap[] = [];
      const own = backups.filter((backup) => backup.repository === repository);
      for (const systemId of new Set(own.map((backup) => backup.systemId))) {
        const records = own.flatMap((one) =>
          one.state === 'complete' && one.systemId === systemId ? [one.record] : [],
        );
        const gaps = await openGaps(repository, systemId, { ...options, segmentSize: records[0]?.segmentSize });
        const harmful = gaps.filter((gap) => records.some((record) => gapsInTheWayOf(record, [gap]).length > 0));
        found.push(...harmful.map((gap) => ({ ...gap, repository: repository.name, systemId })));
      }
      return found;
    },
    options,
  );
  return { gaps: answers.flatMap(({ value }) => value), failures: silent };
}
