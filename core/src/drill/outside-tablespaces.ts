import { ArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { formatLsn } from '../postgres/lsn.ts';
import type { WalTablespace } from '../postgres/wal-record-data.ts';
import { findNewTablespaces } from '../restore/new-tablespaces.ts';
import type { RestorePlan } from '../restore/plan-types.ts';

/**
 * Reads the WAL of a plan and refuses it when replaying it would write outside of the folder of the drill.
 *
 * Tablespaces of the backup are mapped into that folder. One that was created later is not: its record names the folder on the old
 * server, and the replay links and writes to it. On the host of that server these are its own live files.
 *
 * Errors: `DRILL_INCONCLUSIVE`; those of reading the WAL, which is damaged then.
 */
export async function refuseOutsideTablespaces(
  { backup, systemId, target, goal, wal }: RestorePlan,
  options: CallOptions & { readonly onSegment?: (name: string, number: number) => void },
): Promise<void> {
  let read = 0;
  const found: WalTablespace[] = [];
  await findNewTablespaces(wal.pieces, {
    ...(options.signal === undefined ? {} : { signal: options.signal }),
    systemId,
    backup,
    target,
    goal,
    onFound: (one) => found.push(one) > 0,
    onSegment: (name) => options.onSegment?.(name, ++read),
  });
  const [first] = found;
  if (first === undefined) return;
  throw new ArchiveError(
    'DRILL_INCONCLUSIVE',
    `tablespace ${first.oid} was created after backup ${backup.id}, at ${formatLsn(first.lsn)}: replaying that would write to ${first.location}`,
    {
      hint: 'Take a new backup, whose tablespaces are all mapped into the folder of the drill, or choose an earlier target.',
    },
  );
}
