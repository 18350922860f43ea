/** What a restore is going to do, before it does anything. */
import type { ErrorCode } from '../contracts/errors.ts';
import type { BackupRecord } from '../repository/backup-record.ts';
import type { TimelineRange } from '../postgres/timeline.ts';
import type { BackupCopy } from './backup-source.ts';
import type { RestoreSources } from './sources.ts';
import type { RecoveryTarget, TargetAction } from './target.ts';
import type { WalGap, WalPiece } from './wal-pieces.ts';

/** Why the target cannot be reached, or why nobody can tell. */
export interface PlanProblem {
  /** `RESTORE_UNREACHABLE`; or that of a repository which could not be read, when what is wanted may be there. */
  readonly code: ErrorCode;
  readonly message: string;
  /** What would do instead. */
  readonly hint: string;
}

/** A folder that is written to. */
export interface PlanFolder {
  /** Absolute. */
  readonly path: string;
  /** Bytes of the backup that go there. */
  readonly needed: number;
  /** Bytes that are free on its file system; undefined when that could not be found out. */
  readonly free: number | undefined;
}

/** Where a tablespace goes. */
export interface PlanTablespace {
  readonly oid: string;
  /** As it was on the server; relative for one inside the data directory. */
  readonly from: string;
  /** Absolute; undefined for one inside the data directory. */
  readonly to: string | undefined;
}

/** The WAL that the recovery reads. */
export interface PlanWal {
  /** Segments from the start of the backup up to the target, or to the end of the archive when the target says no position. */
  readonly pieces: readonly WalPiece[];
  /** What they take in the storage. */
  readonly storedBytes: number;
  /** Where the archive's WAL ends, if it was looked for: end of the last record. */
  readonly end: bigint | undefined;
  /** Time of the last transaction in it, microseconds since 1970. */
  readonly lastTransaction: bigint | undefined;
  /** The hole at which the WAL ends; what the target needs may lie before it. */
  readonly gap: WalGap | undefined;
  /** Something in it or behind it cannot be used, or was found damaged: a server that reads ahead would fail before the target. */
  readonly isDoubtful: boolean;
}

export interface RestorePlan {
  readonly cluster: string;
  readonly systemId: string;
  /** The repositories that answered: what the plan was made from, and what the restore reads. */
  readonly sources: RestoreSources;
  readonly backup: BackupRecord;
  /** The backup in each repository that has it, in the order of reading. */
  readonly copies: readonly BackupCopy[];
  readonly target: RecoveryTarget;
  readonly action: TargetAction;
  readonly standby: boolean;
  /** The timeline that the recovery follows. */
  readonly timeline: number;
  /** The archive has no history of this timeline: it can be followed as the backup's own only. */
  readonly historyMissing: boolean;
  /** From the backup's timeline on, oldest first. */
  readonly path: readonly TimelineRange[];
  /** Where the target was found, for a transaction or a name; where it is, for an LSN. */
  readonly goal: { readonly lsn: bigint; readonly micros: bigint | undefined } | undefined;
  readonly wal: PlanWal;
  /** The target folder first. Empty when none was named. */
  readonly folders: readonly PlanFolder[];
  readonly tablespaces: readonly PlanTablespace[];
  /** Empty when the target can be reached for certain. */
  readonly problems: readonly PlanProblem[];
  readonly warnings: readonly string[];
}
