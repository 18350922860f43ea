/**
 * The records of runs under each system identifier that the cluster has had. After `initdb` or `pg_upgrade` it has another one: what was begun
 * under the former is ended under it.
 */
import type { CallOptions } from '../contracts/storage.ts';
import { answersOf } from '../repository/all-answers.ts';
import { failureOf } from '../repository/repository-failure.ts';
import { RunRecords, type RunRecordsOptions } from './run-records.ts';

export class SystemRecords {
  readonly #options: Omit<RunRecordsOptions, 'systemId'>;
  readonly #known = new Map<string, RunRecords>();

  constructor(options: Omit<RunRecordsOptions, 'systemId'>) {
    this.#options = options;
  }

  of(systemId: string): RunRecords {
    const records = this.#known.get(systemId) ?? new RunRecords({ ...this.#options, systemId });
    this.#known.set(systemId, records);
    return records;
  }

  /** Whether the end of a run is still to be written somewhere. */
  get owes(): boolean {
    return [...this.#known.values()].some(({ owes }) => owes);
  }

  /** Writes what could not be written before. It does not throw. */
  async settle(): Promise<void> {
    for (const records of this.#known.values()) if (records.owes) await records.settle();
  }

  /** Those of all other systems that a repository which answers holds something of. Errors: when none answers, theirs; `ABORTED`. */
  async others(systemId: string, options: CallOptions): Promise<readonly RunRecords[]> {
    const { answers, failures } = await answersOf(
      this.#options.repositories,
      async (repository) => {
        await repository.open(options);
        return repository.systemIds(options);
      },
      options,
    );
    const [first, ...more] = failures;
    if (answers.length === 0 && first !== undefined) throw failureOf([first, ...more]);
    const ids = new Set(answers.flatMap(({ value }) => value));
    ids.delete(systemId);
    return [...ids].map((id) => this.of(id));
  }
}
