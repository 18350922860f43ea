/** What a plan is made from: what a repository holds, as it was found. */
import type { BackupRecord } from '../repository/backup-record.ts';
import type { Fact } from '../repository/facts.ts';
import type { FoundLease } from '../repository/lease.ts';
import type { TimelineTree } from './timeline-tree.ts';

/** What of a record the plan needs. */
export type PlannedRecord = Pick<
  BackupRecord,
  'id' | 'label' | 'segmentSize' | 'timeline' | 'startLsn' | 'stopTimeline' | 'stopLsn' | 'stopTime' | 'suspect'
> & {
  /** The backup on which an incremental one builds. */
  readonly parent?: string | undefined;
};

/** What can be made out of a record that cannot be read as a whole. */
export type BrokenRecord = Partial<Pick<PlannedRecord, 'timeline' | 'startLsn' | 'segmentSize'>> & {
  /** An id, or `none`. Undefined when not even that can be told: it may build on any older one. */
  readonly parent?: string | undefined;
};

/** One backup as a repository holds it. */
export interface BackupState {
  readonly id: string;
  /** `expired`: its removal has begun. */
  readonly state: 'complete' | 'incomplete' | 'unreadable' | 'expired';
  /** Of a complete one, and of an expired one whose record is still there: then all of it is. */
  readonly record?: PlannedRecord;
  readonly broken?: BrokenRecord;
  readonly facts: readonly Fact[];
  /** Keys of facts that cannot be read. */
  readonly unreadFacts: readonly string[];
  /** Objects that are there, and their bytes. */
  readonly objects: number;
  readonly bytes: number;
  /** When the storage took the newest of them, epoch milliseconds. */
  readonly modified: number;
}

/** The WAL of a timeline, summed up. */
export interface TimelineWal {
  readonly timeline: number;
  /** When the storage took the newest of it, epoch milliseconds: nothing on the timeline is younger. */
  readonly modified: number;
}

/** What a repository holds of one system identifier. */
export interface SystemState {
  readonly systemId: string;
  /** By id. */
  readonly backups: readonly BackupState[];
  readonly wal: readonly TimelineWal[];
  readonly tree: TimelineTree;
  /** Those that hold. */
  readonly leases: readonly FoundLease[];
  /** Its removal as a whole has been asked for and has begun. */
  readonly retired: boolean;
}
