/** The runs of a line as windows: stretches in which each position and moment can be restored. */
import { parseLsn } from '../postgres/lsn.ts';
import type { EndReader, EndOfWal, ReadRun, Unreadable } from './ends.ts';
import { describeEnd, type BackupRun, type RunEnd } from './runs.ts';

/**
 * What can be restored without a hole along one line. Its first position is the end of its first backup; later ones in it lead to the same
 * end.
 */
export interface MapWindow {
  /** Ids of the backups that lead into it, oldest first. */
  readonly backups: readonly string[];
  readonly from: { readonly timeline: number; readonly lsn: bigint; readonly time: string };
  readonly to: {
    readonly timeline: number;
    /** The last LSN that can be a target; less than `from.lsn` when only the end of the backup can. */
    readonly lsn: bigint;
    /** Every moment before this one can be a target: the end of the last transaction, microseconds since 1970. */
    readonly time: bigint | undefined;
    /** Whether `time` is known: without it and yet known there is no transaction in the window. */
    readonly isTimeKnown: boolean;
  };
  /** The end of the last record, as far as it was read. */
  readonly walEnd: bigint | undefined;
  /** Why it ends there. */
  readonly end: RunEnd;
  /** What of its end could not be read. */
  readonly unreadable: Unreadable | undefined;
}

/** Joins the runs of the usable backups of one line; those that are not consistent make none. Errors: `ABORTED`. */
export async function windowsOf(runs: readonly BackupRun[], reader: EndReader): Promise<readonly MapWindow[]> {
  const windows: { readonly key: string; window: MapWindow }[] = [];
  for (const run of runs.filter(({ consistent }) => consistent)) {
    const read = await reader.read(run);
    if (read === undefined || !isConsistent(read)) continue;
    const { last } = read.run;
    const key = `${last?.timeline} ${last?.number}`;
    const before = windows.at(-1);
    if (before?.key === key) {
      const { window } = before;
      before.window = { ...window, backups: [...window.backups, run.backup.id] };
    } else windows.push({ key, window: windowOf(read) });
  }
  return windows.map(({ window }) => window);
}

/** Whether the backup's own WAL is there, after the unfinished end turned out to be none. */
function isConsistent({ run }: ReadRun): boolean {
  const { last, backup } = run;
  return last !== undefined && last.number >= (parseLsn(backup.stopLsn) - 1n) / BigInt(backup.segmentSize);
}

function windowOf({ run, end, beyond }: ReadRun): MapWindow {
  const { backup, last } = run;
  const start = (last?.number ?? 0n) * BigInt(backup.segmentSize);
  const timeline = last?.timeline ?? backup.stopTimeline;
  const from = { timeline: backup.stopTimeline, lsn: parseLsn(backup.stopLsn), time: backup.stopTime };
  const unreadable = end.state === 'unreadable' ? end : beyond;
  return {
    backups: [backup.id],
    from,
    to: { timeline, ...targetsOf(end, start) },
    walEnd: end.state === 'read' ? end.end : undefined,
    end: run.end,
    unreadable,
  };
}

/** A position before the last segment needs no look at records: there is one after it. */
function targetsOf(end: EndOfWal, start: bigint): Omit<MapWindow['to'], 'timeline'> {
  if (end.state === 'unreadable')
    return { lsn: start - 1n, time: end.soundTime, isTimeKnown: end.soundTime !== undefined };
  return { lsn: end.lastRecord, time: end.lastTransaction, isTimeKnown: true };
}

/** Codes that are about this host, not about the archive. */
const OWN: ReadonlySet<string> = new Set(['CODEC_KEY', 'CODEC_UNKNOWN']);

/** Why a window ends, for people. */
export function describeWindowEnd({ end, unreadable }: Pick<MapWindow, 'end' | 'unreadable'>): string {
  if (unreadable === undefined) return describeEnd(end);
  const { segment, code, message } = unreadable;
  if (OWN.has(code)) return `${describeEnd(end)}; ${segment} cannot be opened here (${message})`;
  const then = end.kind === 'end-of-archive' ? '' : `; then ${describeEnd(end)}`;
  return `${segment} cannot be used: ${message}${then}`;
}
