/** The pins that hold, for the operations that show backups. */
import type { CallOptions } from '../contracts/storage.ts';
import { answersOf } from '../repository/all-answers.ts';
import type { Fact } from '../repository/facts.ts';
import type { RepositoryFailure } from '../repository/repository-failure.ts';
import type { Repository } from '../repository/repository.ts';
import { pinOf, type Pin } from '../retention/backup-facts.ts';
import type { FoundBackup, FoundBackups } from './backups.ts';

/** A pin, and where it holds. */
export interface FoundPin extends Pin {
  readonly repository: string;
  readonly systemId: string;
  /** Of the backup. */
  readonly id: string;
}

/** The pins in every repository; those that failed before are not asked again. */
export async function findPins(
  repositories: readonly Repository[],
  { backups, failures }: FoundBackups,
  options: CallOptions,
): Promise<{ readonly pins: readonly FoundPin[]; readonly failures: readonly RepositoryFailure[] }> {
  const now = Date.now();
  const readable = repositories.filter(({ name }) => !failures.some(({ repository }) => repository === name));
  const { answers, failures: silent } = await answersOf(
    readable,
    async (repository) => {
      const own = backups.filter((backup) => backup.repository === repository);
      const found: FoundPin[] = [];
      for (const systemId of new Set(own.map((backup) => backup.systemId))) {
        const store = repository.facts(systemId);
        const facts = new Map<string, Fact[]>();
        for await (const name of store.names(options))
          if (name.kind === 'pin' || name.kind === 'unpin')
            facts.set(name.subject, [...(facts.get(name.subject) ?? []), await store.read(name, options)]);
        for (const [id, of] of facts) {
          const pin = pinOf(of, now);
          if (pin !== undefined) found.push({ ...pin, repository: repository.name, systemId, id });
        }
      }
      return found;
    },
    options,
  );
  return { pins: answers.flatMap(({ value }) => value), failures: silent };
}

/** The pin of a backup in its repository. */
export function pinOn({ id, systemId, repository }: FoundBackup, pins: readonly FoundPin[]): FoundPin | undefined {
  return pins.find((pin) => pin.id === id && pin.systemId === systemId && pin.repository === repository.name);
}
