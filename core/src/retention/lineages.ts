/** Which backups belong together: those that lie on one line of timelines, judged by one count. */
import { parseLsn } from '../postgres/lsn.ts';
import type { PlannedRecord, SystemState } from './state.ts';

/** The backups of one line of timelines, ordered by their position on it, never by name or time. */
export interface Lineage {
  readonly systemId: string;
  /** With which the line ends. */
  readonly timeline: number;
  /** Those that belong to no livelier line, oldest first; none for a timeline that has only begun. */
  readonly own: readonly PlannedRecord[];
  /** These, and those of the line that newer ones share. */
  readonly onLine: readonly PlannedRecord[];
  /** No WAL and no backup of it is younger, epoch milliseconds. */
  readonly end: number;
}

/**
 * Divides the backups of a system: each belongs to the liveliest timeline on whose line it lies, so that after a promotion the backups from
 * before go on counting, and one that the former primary took behind the fork counts for itself. Liveliest is the one to which something came
 * last, and not the one with the highest number: a clone that archived by mistake has taken nobody's place.
 */
export function lineagesOf(system: SystemState, records: readonly PlannedRecord[]): readonly Lineage[] {
  const { systemId, tree, wal } = system;
  const ends = new Map(wal.map(({ timeline, modified }) => [timeline, modified]));
  for (const record of records)
    ends.set(record.stopTimeline, Math.max(ends.get(record.stopTimeline) ?? -Infinity, stopOf(record)));
  const timelines = [...ends].sort(([one, first], [other, second]) => second - first || other - one);
  const left = new Set(records);
  const lineages: Lineage[] = [];
  for (const [timeline, stored] of timelines) {
    const onLine = records
      .filter((record) => tree.isOn(timeline, { timeline: record.stopTimeline, lsn: parseLsn(record.stopLsn) }))
      .sort(byPosition);
    const own = onLine.filter((record) => left.delete(record));
    // One that went over into a line that is there already has nothing of its own. One that has just begun beside it has no backup yet, and
    // needs the last ones from before its fork.
    const went = lineages.some((other) => tree.ancestors(other.timeline)?.includes(timeline) === true);
    if (onLine.length === 0 || (own.length === 0 && went)) continue;
    const end = Math.max(stored, ...own.map(stopOf));
    lineages.push({ systemId, timeline, own, onLine, end });
  }
  return lineages;
}

/** Along a line positions only grow. */
function byPosition(one: PlannedRecord, other: PlannedRecord): number {
  const [first, second] = [parseLsn(one.stopLsn), parseLsn(other.stopLsn)];
  if (first !== second) return first < second ? -1 : 1;
  return stopOf(one) - stopOf(other);
}

/** From when on a backup can be restored to, epoch milliseconds. */
export function stopOf({ stopTime }: Pick<PlannedRecord, 'stopTime'>): number {
  return Date.parse(stopTime);
}

/** Milliseconds without anything new after which a line may have ended; a server that is only idle, or away, is not taken for gone. */
const SILENCE = 7 * 86_400_000;

/**
 * Whether another line has taken the place of this one: nothing has come to this one for a week, and the other has as many whole backups as the
 * policy wants, all of them from afterwards.
 */
export function isSuperseded(
  lineage: Lineage,
  all: readonly Lineage[],
  { wanted, now }: { readonly wanted: number; readonly now: number },
): boolean {
  if (lineage.end > now - SILENCE) return false;
  return all.some(
    (other) =>
      other !== lineage &&
      other.own.filter((record) => record.suspect === undefined && stopOf(record) > lineage.end).length >= wanted,
  );
}
