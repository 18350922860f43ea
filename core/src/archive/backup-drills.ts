/** The last drills of backups, for the operations that show them. */
import type { CallOptions } from '../contracts/storage.ts';
import { DRILL_FACT, type DrillRecord } from '../drill/drill-result.ts';
import { answersOf } from '../repository/all-answers.ts';
import type { RepositoryFailure } from '../repository/repository-failure.ts';
import type { FoundBackup, FoundBackups } from './backups.ts';
import type { Repository } from '../repository/repository.ts';

/** The last drill with a verdict; undefined without one, `unknown` when its repository could not say. */
export type LastDrill = DrillRecord | 'unknown' | undefined;

export interface FoundDrills {
  /** Of a backup in the repository that it was found in. */
  of(backup: FoundBackup): LastDrill;
  /** Repositories that could not say. */
  readonly failures: readonly RepositoryFailure[];
}

/** Reads what drills have recorded. Those repositories that failed before are not asked again. */
export async function findDrills(
  repositories: readonly Repository[],
  { backups, failures }: FoundBackups,
  options: CallOptions,
): Promise<FoundDrills> {
  const readable = repositories.filter(({ name }) => !failures.some(({ repository }) => repository === name));
  const records = new Map<string, DrillRecord>();
  const key = (repository: string, systemId: string, id: string): string => `${repository} ${systemId} ${id}`;
  const { failures: silent } = await answersOf(
    readable,
    async (repository) => {
      const own = backups.filter((backup) => backup.repository === repository);
      for (const systemId of new Set(own.map((backup) => backup.systemId))) {
        const verdict = ({ data }: { readonly data: Readonly<Record<string, unknown>> }): boolean =>
          data['outcome'] === 'proven' || data['outcome'] === 'failed';
        const facts = await repository.facts(systemId).newestOfEach(DRILL_FACT, verdict, options);
        for (const [id, { data }] of facts)
          records.set(key(repository.name, systemId, id), data as unknown as DrillRecord);
      }
    },
    options,
  );
  return {
    of: ({ repository, systemId, id }) =>
      records.get(key(repository.name, systemId, id)) ??
      (silent.some((failure) => failure.repository === repository.name) ? 'unknown' : undefined),
    failures: silent,
  };
}
