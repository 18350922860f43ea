/**
 * Tablespaces that the WAL of a restore creates. Those of the backup are mapped; these are made anew by the replay, in the folder that they had on
 * the old server, wherever that is (PostgreSQL source: `tblspc_redo`).
 */
import { readdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import { ArchiveError, errnoOf, isArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { formatLsn, parseLsn } from '../postgres/lsn.ts';
import type { WalRecord, WalTablespace } from '../postgres/wal-record-data.ts';
import { segmentNumber } from '../postgres/wal-file.ts';
import type { BackupRecord } from '../repository/backup-record.ts';
import type { Goal } from './goal.ts';
import type { PlanProblem, PlanTablespace } from './plan-types.ts';
import type { RecoveryTarget } from './target.ts';
import { isFaultOfWal, type WalPiece } from './wal-pieces.ts';
import { findRecord, type WalFrontier } from './wal-scan.ts';

export interface FindTablespacesOptions extends CallOptions {
  readonly systemId: string;
  readonly backup: BackupRecord;
  readonly target: RecoveryTarget;
  readonly goal: Goal | undefined;
  /** Where to begin; default the start of the backup. */
  readonly from?: bigint;
  /** Reads no further than the first record that begins here or later. Default: to the target. */
  readonly until?: bigint;
  /** Told of each one outside of the data directory; true is enough. */
  readonly onFound: (tablespace: WalTablespace) => boolean | void;
  readonly onSegment?: (name: string) => void;
}

/** Reads WAL up to the target for tablespaces that it creates. Errors: those of reading it, which is damaged then. */
export async function findNewTablespaces(
  pieces: readonly WalPiece[],
  { backup, target, goal, from = parseLsn(backup.startLsn), onFound, ...options }: FindTablespacesOptions,
): Promise<void> {
  const isBeyond = (record: WalRecord): boolean =>
    (target.kind === 'time' && record.kind === 'commit' && record.micros > target.micros) ||
    (goal !== undefined && record.lsn > goal.lsn && record.lsn > parseLsn(backup.stopLsn));
  const { segmentSize } = backup;
  const first = segmentNumber(from, segmentSize);
  await findRecord(
    pieces.filter(({ number }) => number >= first),
    { ...options, segmentSize, from },
    (record) => {
      if (isBeyond(record)) return true;
      return record.kind === 'tablespace' && record.location !== '' && onFound(record) === true;
    },
  );
}

export interface OutsideFoldersOptions extends Omit<FindTablespacesOptions, 'from' | 'until' | 'onFound'> {
  readonly pieces: readonly WalPiece[];
  /** Backups that lie on the line, oldest stop first. */
  readonly onLine: readonly BackupRecord[];
  /** Those of the backup, mapped. */
  readonly tablespaces: readonly PlanTablespace[];
  /** What was read of the end of the pieces already. */
  readonly frontier: WalFrontier | undefined;
}

/** What a recovery would write outside of the folders of its plan. */
export interface OutsideFolders {
  readonly problems: readonly PlanProblem[];
  readonly warnings: readonly string[];
}

/**
 * Looks for tablespaces that the recovery creates, and at the folders where they would be on this host. One that holds files of a cluster is a
 * problem: the replay would write into them, and on the host of the old server they are its own. One that is not there ends the recovery
 * until somebody makes it.
 *
 * WAL between backups with the same tablespaces is not read. Errors: those of the storage. WAL that is damaged ends the look, as it ends the
 * recovery.
 */
export async function outsideFolders(options: OutsideFoldersOptions): Promise<OutsideFolders> {
  const from = beginOf(options);
  if (from === undefined) return { problems: [], warnings: [] };
  const found: WalTablespace[] = [];
  const warnings: string[] = [];
  const { pieces, onLine: _, tablespaces, frontier, ...search } = options;
  const read = frontier?.hasRecord === true ? pieces.at(-frontier.segments) : undefined;
  const until = read && read.number * BigInt(options.backup.segmentSize);
  const onFound = (one: WalTablespace): void => void found.push(one);
  try {
    if (until === undefined || from < until)
      await findNewTablespaces(pieces, { ...search, from, ...(until !== undefined && { until }), onFound });
    for (const known of frontier?.tablespaces ?? [])
      if (known.location !== '' && known.lsn >= from && !found.some(({ lsn }) => lsn === known.lsn)) onFound(known);
  } catch (error) {
    if (!isArchiveError(error) || !isFaultOfWal(error)) throw error;
    warnings.push(`which tablespaces are created in the WAL is known up to its damage only: ${error.message}`);
  }
  const problems: PlanProblem[] = [];
  for (const { oid, lsn, location } of found) {
    const own = tablespaces.find((tablespace) => tablespace.oid === String(oid));
    if (own?.to === resolve(location)) continue; // the restore itself fills it, and has looked at it
    const what = `tablespace ${oid} is created at ${formatLsn(lsn)}, after the start of backup ${options.backup.id}: the recovery makes it anew in ${location}`;
    const state = await stateOf(location);
    if (state.kind === 'used')
      problems.push({
        code: 'RESTORE_TARGET_IN_USE',
        message: `${what}, where ${state.what}`,
        hint: `Choose a target before ${formatLsn(lsn)} or a backup from after it, whose tablespaces can be mapped, or restore on another host. Where no cluster needs that folder any more, use --allow-new-tablespaces.`,
      });
    else if (state.kind === 'absent')
      warnings.push(`${what}, and ends there unless you make that folder for the user of the server before`);
    else warnings.push(`${what}, ${state.what}`);
  }
  return { problems, warnings };
}

/** Milliseconds that a clock may be wrong: a backup that began so much behind the target began behind it. */
const SKEW = 300_000;

/** Where tablespaces may be created first that no later backup shows; undefined when there is no such place before the target. */
function beginOf({ backup, onLine, target, goal }: OutsideFoldersOptions): bigint | undefined {
  let from = parseLsn(backup.startLsn);
  for (const record of onLine.filter(({ startLsn }) => parseLsn(startLsn) > parseLsn(backup.stopLsn))) {
    if (!isSame(record, backup)) return from;
    const { startLsn, startTime } = record;
    const isBehind =
      (goal !== undefined && parseLsn(startLsn) > goal.lsn) ||
      (target.kind === 'time' && BigInt(Date.parse(startTime) - SKEW) * 1000n > target.micros);
    if (isBehind) return undefined;
    from = parseLsn(startLsn);
  }
  return from;
}

function isSame(one: BackupRecord, other: BackupRecord): boolean {
  const text = ({ tablespaces }: BackupRecord): string =>
    tablespaces
      .map(({ oid, location }) => `${oid} ${location}`)
      .sort()
      .join('\n');
  return text(one) === text(other);
}

type FolderState = { readonly kind: 'absent' } | { readonly kind: 'free' | 'used'; readonly what: string };

async function stateOf(location: string): Promise<FolderState> {
  let names: readonly string[];
  try {
    names = await readdir(location);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT') return { kind: 'absent' };
    if (errno === undefined) throw new ArchiveError('INTERNAL', `looking into ${location} failed`, { cause: error });
    return { kind: 'used', what: `nobody could look (${errno})` };
  }
  // PostgreSQL gives each version a folder in a tablespace, `PG_15_202209061`.
  const held = names.filter((name) => /^PG_\d+_\d+$/.test(name));
  if (held.length > 0) return { kind: 'used', what: `${held.join(', ')} of a cluster is` };
  return { kind: 'free', what: names.length === 0 ? 'which is empty' : 'which holds files, but none of a tablespace' };
}
