/** The state of a cluster for programs. */
import type { SystemMap } from '../map/recovery-map.ts';
import type { MapWindow } from '../map/windows.ts';
import { formatLsn } from '../postgres/lsn.ts';
import { gapsOf, newestWindow, type Age, type ClusterStatus } from '../status/cluster-status.ts';
import type { Judgement } from '../status/judge.ts';
import { count, formatTime } from './format.ts';
import { mapDocument, toText, windowDocument } from './map-document.ts';

/** Stable: described in `docs/reference/status.md`. */
export function statusDocument(status: ClusterStatus, judgement: Judgement): Readonly<Record<string, unknown>> {
  const { cluster, time, receiver, server, system, archived, lastBackup, lag, map } = status;
  const window = system && newestWindow(system);
  const drill = system?.drills[0];
  return {
    cluster,
    time: new Date(time).toISOString(),
    level: judgement.level,
    reasons: judgement.reasons,
    canRestoreTo: canRestoreTo(status),
    ...(window !== undefined && { newestWindow: windowDocument(window) }),
    receiver,
    server,
    lag,
    ...(archived !== undefined && {
      archived: {
        segment: archived.segment,
        timeline: archived.timeline,
        time: new Date(archived.time).toISOString(),
        ...ageDocument(archived),
      },
    }),
    ...(lastBackup !== undefined && {
      lastBackup: {
        id: lastBackup.backup.backup.id,
        stopTime: lastBackup.backup.backup.stopTime,
        stopLsn: lastBackup.backup.backup.stopLsn,
        ...ageDocument(lastBackup),
      },
    }),
    ...(system?.walVerified !== undefined && {
      walVerified: { ...system.walVerified, time: new Date(system.walVerified.time).toISOString() },
    }),
    ...(drill !== undefined && { lastDrill: { time: new Date(drill.time).toISOString(), ...drill.data } }),
    map: mapDocument(cluster, map),
  };
}

function ageDocument({ ageSeconds, aheadSeconds }: Age): Readonly<Record<string, number>> {
  return ageSeconds === undefined ? { aheadSeconds } : { ageSeconds };
}

/** The one line that counts. */
export function canRestoreTo(status: ClusterStatus): string {
  const { cluster, system, map, lastBackup } = status;
  if (map.repositories.length === 0) return `${cluster}: unknown, no repository could be read`;
  const window = system && newestWindow(system);
  if (system === undefined || window === undefined || lastBackup === undefined) {
    if (map.failures.length === 0) return `${cluster} cannot be restored: ${reasonOf(system)}`;
    // What was not read may hold it.
    const unread = [...new Set(map.failures.map(({ repository }) => repository))].join(', ');
    return `${cluster}: unknown, not all could be read of ${unread}; in what was read: ${reasonOf(system)}`;
  }
  const gaps = gapsOf(system).filter(({ kind }) => kind === 'between').length;
  const holes = gaps === 0 ? '' : `, with ${count(gaps, 'hole')} before it`;
  return `${cluster} can restore to ${rangeText(window)} on timeline ${window.to.timeline}${holes} (evidence: ${evidence(window, system)})`;
}

function reasonOf(system: SystemMap | undefined): string {
  if (system === undefined) return 'nothing is archived';
  if (system.backups.length === 0) return 'there is no complete backup';
  const line = system.lines.find(({ timeline }) => timeline === system.latest);
  if (line?.problem !== undefined) return `timeline ${line.timeline}: ${line.problem}`;
  const [last] = system.backups.toReversed();
  if (last !== undefined && last.verdict.state !== 'restorable')
    return `backup ${last.backup.id}: ${last.verdict.problem}`;
  return `no backup leads to timeline ${system.latest}`;
}

function rangeText(window: MapWindow): string {
  const { from, to, walEnd } = window;
  // Where the end is damaged, moments before the damage can be reached all the same.
  if (to.time !== undefined && walEnd === undefined)
    return `any moment from ${formatTime(from.time)} to before ${toText(window)}`;
  if (to.time !== undefined)
    return `any moment from ${formatTime(from.time)} to before ${toText(window)}, and to the end of its WAL at ${endText(window)},`;
  if (to.isTimeKnown) return `the end of its WAL at ${endText(window)}, in which no transaction ended,`;
  return `any position from ${formatLsn(from.lsn)} to ${formatLsn(to.lsn)}`;
}

function endText({ walEnd, to }: MapWindow): string {
  return formatLsn(walEnd ?? to.lsn);
}

function evidence({ backups, unreadable }: MapWindow, { backups: all, walVerified }: SystemMap): string {
  const id = backups.at(-1) ?? '';
  const verified = all.find(({ backup }) => backup.id === id)?.verified;
  const read = unreadable === undefined ? 'the last records were read' : `its end was not read (${unreadable.code})`;
  const checked = (what: string, at: typeof walVerified): string =>
    at === undefined ? `${what} never verified` : `${what} verified ${formatTime(at.time)} (${at.level})`;
  return `backup ${id}, ${checked('itself', verified)}; all segments listed, ${read}; ${checked('WAL', walVerified)}`;
}
