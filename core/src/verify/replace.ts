/** What all healing has in common: objects are written once, so a damaged one has to go before a good one can come. */
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import type { Repository } from '../repository/repository.ts';

export interface HealOptions extends CallOptions {
  /** The one that was verified. */
  readonly repository: Repository;
  /** Where good copies may be, in the order in which they are asked. */
  readonly others: readonly Repository[];
  /** Objects at once. */
  readonly concurrency: number;
}

/** What became of one finding. */
export interface HealOutcome {
  readonly key: string;
  /** The repository that the good copy is from; undefined when it was not healed. */
  readonly from: string | undefined;
  /** Why not, and what would help. */
  readonly reason: string | undefined;
}

/** Takes a damaged object away. Errors: `STORAGE_DENIED` says what is needed, also where a retention lock holds it. */
export async function removeDamaged(repository: Repository, keys: readonly string[], call: CallOptions): Promise<void> {
  const hint =
    'Give pgark, for this one run, credentials that may delete, or remove the object yourself and run it again.';
  let retained: readonly string[];
  try {
    ({ retained } = await repository.storage.remove(keys, call));
  } catch (error) {
    if (!isArchiveError(error, 'STORAGE_DENIED')) throw error;
    throw new ArchiveError(
      'STORAGE_DENIED',
      `objects are written once, so ${keys.join(', ')} must be removed before a good copy can take its place, and the storage refuses that: ${error.message}`,
      { hint, cause: error },
    );
  }
  if (retained.length === 0) return;
  throw new ArchiveError(
    'STORAGE_DENIED',
    `${retained.join(', ')} cannot be replaced: a retention lock holds it, damaged as it is, until it ends`,
    { hint: 'Restore from the other repository meanwhile.' },
  );
}
