/** The recoverability map for programs. */
import type { Unreadable } from '../map/ends.ts';
import type { RecoveryMap, SystemMap } from '../map/recovery-map.ts';
import { describeWindowEnd, type MapWindow } from '../map/windows.ts';
import { formatLsn } from '../postgres/lsn.ts';
import { formatMoment } from '../restore/time-text.ts';
import type { LastVerify } from '../restore/verify-findings.ts';
import { gapDocument } from './gap-document.ts';

/** Stable: described in `docs/reference/status.md`. */
export function mapDocument(cluster: string, map: RecoveryMap): Readonly<Record<string, unknown>> {
  return {
    cluster,
    systems: map.systems.map(systemDocument),
    repositories: map.repositories.map(({ name, state }) => ({
      name,
      id: state.id,
      listed: new Date(state.listed).toISOString(),
      since: new Date(state.since).toISOString(),
    })),
    failures: map.failures.map(({ repository, error }) => ({ repository, code: error.code, message: error.message })),
  };
}

function systemDocument(system: SystemMap): Readonly<Record<string, unknown>> {
  return {
    systemId: system.systemId,
    segmentSize: system.segmentSize,
    segments: system.segments,
    latestTimeline: system.latest,
    timelines: system.lines.map(({ timeline, historyMissing, problem, windows }) => ({
      timeline,
      historyMissing,
      ...(problem !== undefined && { problem }),
      windows: windows.map(windowDocument),
    })),
    backups: system.backups.map(({ backup, verdict, repositories, verified }) => ({
      id: backup.id,
      ...verdict,
      timeline: backup.stopTimeline,
      stopLsn: backup.stopLsn,
      stopTime: backup.stopTime,
      repositories,
      ...(verified !== undefined && { verified: verifyDocument(verified) }),
    })),
    otherBackups: system.others,
    gaps: system.gaps.map((gap) => gapDocument({ ...gap, systemId: system.systemId })),
    conflicts: system.differences.conflicts.map(({ name, timeline, repositories }) => ({
      name,
      timeline,
      repositories,
    })),
    ...(system.differences.unknown > 0 && { notCompared: system.differences.unknown }),
    ...(system.unreadFacts.length > 0 && { unreadFacts: system.unreadFacts }),
    ...(system.unnamedDamage > 0 && { unnamedDamage: system.unnamedDamage }),
    ...(system.walVerified !== undefined && { walVerified: verifyDocument(system.walVerified) }),
  };
}

export function windowDocument(window: MapWindow): Readonly<Record<string, unknown>> {
  const { backups, from, to, walEnd, end, unreadable } = window;
  return {
    from: { timeline: from.timeline, lsn: formatLsn(from.lsn), time: from.time },
    to: {
      timeline: to.timeline,
      lsn: formatLsn(to.lsn),
      ...(to.time !== undefined && { time: formatMoment(to.time) }),
      timeKnown: to.isTimeKnown,
    },
    ...(walEnd !== undefined && { walEnd: formatLsn(walEnd) }),
    backups,
    end: { ...end, text: describeWindowEnd(window) },
    ...(unreadable !== undefined && { unreadable: unreadableDocument(unreadable) }),
  };
}

function unreadableDocument({
  state,
  segment,
  code,
  message,
  recordedTime,
}: Unreadable): Readonly<Record<string, unknown>> {
  return {
    state,
    segment,
    code,
    message,
    ...(recordedTime !== undefined && { recordedTime: formatMoment(recordedTime) }),
  };
}

function verifyDocument({ time, level, findings }: LastVerify): Readonly<Record<string, unknown>> {
  return { time: new Date(time).toISOString(), level, findings };
}

/** Every moment before this one. */
export function toText({ to, unreadable }: MapWindow): string {
  if (to.time !== undefined) return formatMoment(to.time);
  if (unreadable?.recordedTime !== undefined) return `${formatMoment(unreadable.recordedTime)} as recorded`;
  return to.isTimeKnown ? 'no transaction' : 'unknown';
}
