/** Whether a recovery can end with a promotion: the server then looks for a timeline that is not taken. */
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { historyName } from '../postgres/wal-file.ts';
import type { WalReader } from '../repository/wal.ts';
import { isFaultOfWal } from './wal-pieces.ts';

export interface PromotionProblem {
  readonly error: ArchiveError;
  readonly message: string;
  readonly hint: string;
}

/**
 * The server asks for the history of each timeline behind the one that it recovered along, one after the other, until there is none (PostgreSQL
 * source: `findNewestTimeLine`). One that is there and cannot be given is neither there nor missing: the server ends. So it does where the history
 * of a timeline is not there of which, or of a later one, there is WAL: `pgark wal-fetch` does not let it take a timeline that is taken. Gives the
 * first such one. Errors: those of the storage.
 */
export async function promotionProblem(
  archive: WalReader,
  timeline: number,
  options: CallOptions,
): Promise<PromotionProblem | undefined> {
  for (let probed = timeline + 1; ; probed++) {
    try {
      if ((await archive.history(probed, options)) === undefined)
        return overlooked(timeline, probed, await archive.timelines(options));
    } catch (error) {
      if (!isArchiveError(error) || !isFaultOfWal(error)) throw error;
      const what = `${historyName(probed)} is archived and cannot be used (${error.message})`;
      return {
        error,
        message: `${what}: a server that is restored along timeline ${timeline} could not be promoted`,
        hint: 'Bring the history file back from a copy of the archive or a server, or restore with --target-action pause and copy what you need.',
      };
    }
  }
}

function overlooked(timeline: number, probed: number, timelines: readonly number[]): PromotionProblem | undefined {
  const taken = timelines.find((one) => one >= probed);
  if (taken === undefined) return undefined;
  const what = `${historyName(probed)} is not archived, although there is WAL of timeline ${taken}`;
  return {
    error: new ArchiveError('WAL_GAP', what),
    message: `${what}: a server that is restored along timeline ${timeline} could not be promoted`,
    hint: `Archive the file with "pgark wal-push" from a server that has it, or restore with --target-action pause and copy what you need.`,
  };
}
