/** How far WAL is held: by this run, else in the spool, else in the archive. */
import type { SlotState } from '../postgres/replication/connection.ts';
import type { ArchiveEnds } from './messages.ts';
import type { ReceiverReports } from './receiver-reports.ts';
import type { Spool, WalPosition } from './spool.ts';
import { holdings, isOvertaken, precedes, type Holdings, type ServerState } from './start-position.ts';

export interface HeldWalOptions {
  /** Where the next stream of this run begins; undefined until it has received, or stepped over a gap. */
  readonly position: WalPosition | undefined;
  readonly spool: Spool;
  readonly slot: SlotState;
  /** The slot was made by this run and not used since: where it is says nothing of another receiver. */
  readonly isSlotNew: boolean;
  /** The server lacks WAL: the archive is asked too, and its furthest end counts. */
  readonly furthest: boolean;
  readonly reports: ReceiverReports;
}

/** `own`: that it is held by this run or the spool. */
export interface HeldWal {
  readonly held: Holdings;
  readonly own: boolean;
}

/** Asks the archive where run and spool do not say enough. Errors: those of asking. */
export async function heldWal(server: ServerState, options: HeldWalOptions): Promise<HeldWal> {
  const { position, spool, slot, isSlotNew, furthest, reports } = options;
  const { systemId, segmentSize, lineage } = server;
  const mine =
    position === undefined
      ? holdings(spool.positions(systemId, segmentSize), lineage)
      : { position, newestTimeline: position.timeline };
  const overtaken = !isSlotNew && isOvertaken(mine.position, slot, server);
  const own = mine.position !== undefined && !overtaken;
  if (own && !furthest) return { held: mine, own };
  const question = { kind: 'archive', systemId, segmentSize, lineage, furthest } as const;
  const ends = (await reports.ask({ ...question, optional: overtaken && !furthest })) as ArchiveEnds | undefined;
  if (ends === undefined) {
    reports.note('warn', 'no repository says how far the archive is: going on from what the spool holds');
    return { held: mine, own };
  }
  const archive = holdings(ends, lineage);
  if (mine.position === undefined) {
    const newestTimeline = Math.max(mine.newestTimeline, archive.newestTimeline);
    return { held: { ...archive, newestTimeline }, own };
  }
  const further = archive.position !== undefined && precedes(mine.position, archive.position, lineage);
  return { held: further ? archive : mine, own };
}
