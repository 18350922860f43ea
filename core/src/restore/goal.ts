/** Finds where a target lies, and the backup that leads to it. */
import { ArchiveError } from '../contracts/errors.ts';
import { formatLsn, parseLsn } from '../postgres/lsn.ts';
import { segmentNumber } from '../postgres/wal-file.ts';
import type { WalRecord } from '../postgres/wal-record-data.ts';
import type { BackupRecord } from '../repository/backup-record.ts';
import type { PlanContext } from './plan-context.ts';
import { describeTarget, type RecoveryTarget } from './target.ts';
import { formatMoment } from './time-text.ts';
import { walkWal } from './wal-pieces.ts';
import { findRecord } from './wal-scan.ts';

/** A position that the target names or was found at. */
export interface Goal {
  readonly lsn: bigint;
  /** Microseconds since 1970, where the WAL says when that was. */
  readonly micros: bigint | undefined;
}

export interface Resolved {
  readonly backup: BackupRecord;
  readonly goal: Goal | undefined;
  readonly warnings: readonly string[];
}

/**
 * Chooses among backups that lie on the line, oldest stop first, the newest one whose end is not after the target; a transaction or a
 * name is looked for in the WAL. Errors: `RESTORE_UNREACHABLE`, those of reading WAL.
 */
export async function resolveGoal(
  target: RecoveryTarget,
  backups: readonly BackupRecord[],
  context: PlanContext,
): Promise<Resolved> {
  switch (target.kind) {
    case 'latest':
      return { backup: newestOf(backups, target), goal: undefined, warnings: [] };
    case 'immediate': {
      const backup = newestOf(backups, target);
      return { backup, goal: { lsn: parseLsn(backup.stopLsn), micros: undefined }, warnings: [] };
    }
    case 'time': {
      const usable = backups.filter((backup) => BigInt(Date.parse(backup.stopTime)) * 1000n <= target.micros);
      return { backup: newestOf(usable, target, backups), goal: undefined, warnings: [] };
    }
    case 'lsn': {
      const usable = backups.filter((backup) => parseLsn(backup.stopLsn) <= target.lsn);
      return { backup: newestOf(usable, target, backups), goal: { lsn: target.lsn, micros: undefined }, warnings: [] };
    }
    case 'xid':
      return findTransaction(target, backups, context);
    case 'name':
      return findRestorePoint(target, backups, context);
  }
}

/** The last of these; without any, an error that says from where on `all` of them reach. */
function newestOf(
  usable: readonly BackupRecord[],
  target: RecoveryTarget,
  all: readonly BackupRecord[] = usable,
): BackupRecord {
  const newest = usable.at(-1);
  if (newest !== undefined) return newest;
  const [oldest] = all;
  const from =
    oldest === undefined ? '' : `: backup ${oldest.id} is consistent from ${oldest.stopTime} (${oldest.stopLsn}) on`;
  throw new ArchiveError('RESTORE_UNREACHABLE', `no backup ends before the target ${describeTarget(target)}${from}`, {
    hint: 'Choose a target after the end of a backup; "pgark list" shows them.',
    details: { oldest: oldest?.id, stop_time: oldest?.stopTime, stop_lsn: oldest?.stopLsn },
  });
}

async function findTransaction(
  target: Extract<RecoveryTarget, { readonly kind: 'xid' }>,
  backups: readonly BackupRecord[],
  context: PlanContext,
): Promise<Resolved> {
  const newest = backups.at(-1);
  const [oldest] = backups;
  if (newest === undefined || oldest === undefined)
    return { backup: newestOf([], target), goal: undefined, warnings: [] };
  const xid = fullXid(target.xid, BigInt(newest.nextXid));
  // A transaction that began before the backup may still have ended after it: then the search begins at the oldest.
  const first = backups.findLast((backup) => BigInt(backup.nextXid) <= xid) ?? oldest;
  const short = Number(xid & 0xffffffffn);
  const record = await search(first, context, {
    what: `transaction ${target.xid}`,
    wanted: (candidate) => (candidate.kind === 'commit' || candidate.kind === 'abort') && candidate.xid === short,
  });
  if (record === undefined)
    throw new ArchiveError(
      'RESTORE_UNREACHABLE',
      `transaction ${target.xid} does not end in the WAL from ${first.startLsn} of backup ${first.id} on`,
      {
        hint: 'It was read-only, ended before the backup, or had not ended when the WAL does. Restore to a time instead.',
      },
    );
  const { kind, lsn, micros } = record as Extract<WalRecord, { readonly kind: 'commit' | 'abort' }>;
  const backup = newestOf(
    backups.filter((candidate) => parseLsn(candidate.stopLsn) <= lsn),
    target,
    backups,
  );
  const warnings = kind === 'abort' ? [`transaction ${target.xid} was rolled back, at ${formatMoment(micros)}`] : [];
  return { backup, goal: { lsn, micros }, warnings };
}

/** A 32-bit id, as `xmin` shows it, means the nearest full one, as it does for PostgreSQL. */
function fullXid(xid: bigint, near: bigint): bigint {
  return xid > 0xffffffffn ? xid : near + BigInt.asIntN(32, xid - near);
}

async function findRestorePoint(
  target: Extract<RecoveryTarget, { readonly kind: 'name' }>,
  backups: readonly BackupRecord[],
  context: PlanContext,
): Promise<Resolved> {
  // From the newest backup backwards; what lies after a newer backup has been searched already.
  let until: bigint | undefined;
  for (const backup of backups.toReversed()) {
    const record = await search(backup, context, {
      what: `restore point "${target.name}"`,
      until,
      wanted: (candidate) => candidate.kind === 'restore-point' && candidate.name === target.name,
    });
    const stop = parseLsn(backup.stopLsn);
    // PostgreSQL stops at the first point of the name, even while the backup is not consistent yet, and then fails.
    if (record !== undefined && record.lsn >= stop) {
      const { lsn, micros } = record as Extract<WalRecord, { readonly kind: 'restore-point' }>;
      return { backup, goal: { lsn, micros }, warnings: [] };
    }
    until = stop;
  }
  const [oldest] = backups;
  throw new ArchiveError(
    'RESTORE_UNREACHABLE',
    `there is no restore point "${target.name}" in the WAL after the end of backup ${oldest?.id ?? ''}`,
    { hint: 'Restore points are made by pg_create_restore_point(), and lie on one timeline: see --target-timeline.' },
  );
}

interface Search {
  readonly what: string;
  readonly wanted: (record: WalRecord) => boolean;
  /** Not beyond the segment of this LSN. */
  readonly until?: bigint | undefined;
}

async function search(
  backup: BackupRecord,
  context: PlanContext,
  { what, wanted, until }: Search,
): Promise<WalRecord | undefined> {
  const { archive, lineage, systemId, onProgress } = context;
  const { segmentSize } = backup;
  const start = parseLsn(backup.startLsn);
  const run = await walkWal(archive, lineage, { ...context, start, segmentSize });
  const last = until === undefined ? undefined : segmentNumber(until, segmentSize);
  const pieces = run.pieces.filter(({ number }) => last === undefined || number <= last);
  // What is not found may be in what cannot be used.
  const unseen = run.fault !== undefined && (last === undefined || (pieces.at(-1)?.number ?? -1n) < last);
  let read = 0;
  onProgress(`looking for ${what} from ${formatLsn(start)} on`);
  const found = await findRecord(
    pieces,
    {
      ...context,
      segmentSize,
      systemId,
      from: start,
      onSegment: (name) => onProgress(`looking for ${what}: ${name}, ${++read} of ${pieces.length} segments`),
    },
    wanted,
  );
  if (found === undefined && unseen) throw run.fault;
  return found;
}
