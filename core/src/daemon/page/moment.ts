/** What a restore to a moment takes, by what a look has in memory. The plan itself says it exactly; this says it at once. */
import type { MappedBackup, MappedLine, SystemMap } from '../../map/recovery-map.ts';
import type { MapWindow } from '../../map/windows.ts';
import { parseLsn } from '../../postgres/lsn.ts';

export type MomentAnswer =
  | {
      readonly kind: 'restorable';
      readonly timeline: number;
      /** Whether a restore follows this timeline when none is named. */
      readonly isLatest: boolean;
      readonly backup: MappedBackup;
      /** Bytes of WAL that are replayed, at least and at most: nobody has looked where in it the moment lies. */
      readonly wal: { readonly least: bigint; readonly most: bigint };
    }
  /** Epoch milliseconds: the nearest moments that can be restored. */
  | { readonly kind: 'unreachable'; readonly before: number | undefined; readonly after: number | undefined }
  /** The WAL that holds it could not be read to its end. */
  | { readonly kind: 'unknown'; readonly problem: string };

/** What leads to a moment, epoch milliseconds. A restore follows the latest timeline; another one only where that does not lead there. */
export function momentOf(system: SystemMap, time: number): MomentAnswer {
  const latest = system.lines.filter(({ timeline }) => timeline === system.latest);
  const others = system.lines.filter(({ timeline }) => timeline !== system.latest).toReversed();
  for (const line of [...latest, ...others]) {
    const window = line.windows.find((one) => holds(one, time));
    const answer = window && restorable(system, line, window, time);
    if (answer !== undefined) return answer;
  }
  const unread = latest
    .flatMap(({ windows }) => windows)
    .findLast(({ to, from }) => !to.isTimeKnown && Date.parse(from.time) <= time);
  if (unread !== undefined) return { kind: 'unknown', problem: unread.unreadable?.message ?? 'its end was not read' };
  return { kind: 'unreachable', ...nearest(latest, time) };
}

/** Whether a recovery to this moment finds a transaction behind it, at which it knows that it has arrived. */
function holds({ from, to }: MapWindow, time: number): boolean {
  return Date.parse(from.time) <= time && to.time !== undefined && BigInt(time) * 1000n < to.time;
}

function restorable(
  { backups, latest }: SystemMap,
  { timeline }: MappedLine,
  window: MapWindow,
  time: number,
): MomentAnswer | undefined {
  const own = new Set(window.backups);
  const led = backups.filter(({ backup }) => own.has(backup.id));
  const at = led.findLastIndex(({ backup }) => Date.parse(backup.stopTime) <= time);
  const chosen = led[at];
  if (chosen === undefined) return undefined;
  const start = parseLsn(chosen.backup.startLsn);
  const next = led[at + 1]?.backup;
  const end = next === undefined ? (window.walEnd ?? window.to.lsn) : parseLsn(next.stopLsn);
  const least = parseLsn(chosen.backup.stopLsn) - start;
  const most = end - start;
  return {
    kind: 'restorable',
    timeline,
    isLatest: timeline === latest,
    backup: chosen,
    wal: { least, most: most > least ? most : least },
  };
}

function nearest(
  lines: readonly MappedLine[],
  time: number,
): { readonly before: number | undefined; readonly after: number | undefined } {
  const windows = lines.flatMap((line) => line.windows);
  // The last whole millisecond before the end, which itself is no target.
  const ends = windows.flatMap(({ to }) => (to.time === undefined ? [] : [Number((to.time - 1n) / 1000n)]));
  const starts = windows.map(({ from }) => Date.parse(from.time));
  return { before: ends.findLast((end) => end <= time), after: starts.find((start) => start > time) };
}
