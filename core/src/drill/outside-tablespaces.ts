import { ArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { formatLsn, parseLsn } from '../postgres/lsn.ts';
import type { WalRecord } from '../postgres/wal-record-data.ts';
import type { RestorePlan } from '../restore/plan-types.ts';
import { findRecord } from '../restore/wal-scan.ts';

/**
 * Reads the WAL of a plan and refuses it when replaying it would write outside of the folder of the drill.
 *
 * Tablespaces of the backup are mapped into that folder. One that was created later is not: its record names the folder on the old
 * server, and the replay links and writes to it (PostgreSQL source: `tblspc_redo`). On the host of that server these are its own live
 * files.
 *
 * Errors: `DRILL_INCONCLUSIVE`; those of reading the WAL, which is damaged then.
 */
export async function refuseOutsideTablespaces(
  { backup, systemId, target, goal, wal }: RestorePlan,
  options: CallOptions & { readonly onSegment?: (name: string, number: number) => void },
): Promise<void> {
  let read = 0;
  const isBeyond = (record: WalRecord): boolean =>
    (target.kind === 'time' && record.kind === 'commit' && record.micros > target.micros) ||
    (goal !== undefined && record.lsn > goal.lsn && record.lsn > parseLsn(backup.stopLsn));
  const found = await findRecord(
    wal.pieces,
    {
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      segmentSize: backup.segmentSize,
      systemId,
      from: parseLsn(backup.startLsn),
      onSegment: (name) => options.onSegment?.(name, ++read),
    },
    (record) => (record.kind === 'tablespace' && record.location !== '') || isBeyond(record),
  );
  if (found?.kind !== 'tablespace') return;
  throw new ArchiveError(
    'DRILL_INCONCLUSIVE',
    `tablespace ${found.oid} was created after backup ${backup.id}, at ${formatLsn(found.lsn)}: replaying that would write to ${found.location}`,
    {
      hint: 'Take a new backup, whose tablespaces are all mapped into the folder of the drill, or choose an earlier target.',
    },
  );
}
