/** What `pgark map` shows. */
import { formatLsn } from '../postgres/lsn.ts';
import { describeGap } from '../repository/wal-gaps.ts';
import type { LastVerify } from '../restore/verify-findings.ts';
import { formatMoment } from '../restore/time-text.ts';
import type { Unreadable } from '../map/ends.ts';
import type { MappedLine, RecoveryMap, SystemMap } from '../map/recovery-map.ts';
import { describeWindowEnd, type MapWindow } from '../map/windows.ts';
import { count } from './backup-view.ts';
import { gapDocument } from './gap-document.ts';
import { formatTime } from './format.ts';
import type { Output } from './output.ts';

/** For programs. Stable: described in `docs/reference/status.md`. */
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

export function systemDocument(system: SystemMap): Readonly<Record<string, unknown>> {
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

/** For people. */
export function printMap(output: Output, cluster: string, map: RecoveryMap): void {
  if (map.systems.length === 0 && map.failures.length === 0)
    output.line(`the archive of "${cluster}" holds nothing yet`);
  for (const [at, system] of map.systems.entries()) {
    if (at > 0) output.line();
    printSystem(output, cluster, system);
  }
  for (const { name, state } of map.repositories) {
    const older =
      state.since === state.listed ? '' : `, what is older on ${formatTime(state.since)} (--fresh lists it now)`;
    output.line(`repository ${name} was listed on ${formatTime(state.listed)}${older}`);
  }
}

function printSystem(output: Output, cluster: string, system: SystemMap): void {
  const { backups, lines } = system;
  const segments = count(system.segments, 'segment');
  output.line(`${cluster}, system ${system.systemId}: ${segments}, ${count(backups.length, 'backup')}`);
  const rows = lines.flatMap((line) => line.windows.map((window) => ({ line, window })));
  if (rows.length > 0) {
    output.table(rows, [
      {
        title: 'TIMELINE',
        value: ({ line }) => `${line.timeline}${line.timeline === system.latest ? ' (latest)' : ''}`,
      },
      { title: 'FROM', value: ({ window }) => formatTime(window.from.time) },
      { title: 'TO', value: ({ window }) => toText(window) },
      { title: 'FROM LSN', value: ({ window }) => formatLsn(window.from.lsn) },
      { title: 'TO LSN', value: ({ window }) => formatLsn(window.to.lsn) },
      { title: 'BACKUPS', value: ({ window }) => window.backups.length },
      { title: 'ENDS', value: ({ window }) => describeWindowEnd(window) },
    ]);
  } else output.line('nothing can be restored');
  for (const line of lines) for (const text of lineTexts(line)) output.line(text);
  for (const { backup, verdict } of backups) {
    if (verdict.state !== 'restorable')
      output.line(`backup ${backup.id} is ${STATES[verdict.state]}: ${verdict.problem}`);
  }
  for (const { id, repository, problem } of system.others)
    output.line(`backup ${id} in repository ${repository}: ${problem}`);
  for (const text of contentProblems(system)) output.line(text);
  for (const gap of system.gaps) output.line(`WAL was lost from ${describeGap(gap)} (repository ${gap.repository})`);
  output.line(evidenceOf(system));
}

/** What is known to be wrong with the content of the WAL, or is not known, beside what ends the windows. */
export function contentProblems({
  differences: { conflicts, unknown },
  unnamedDamage,
  unreadFacts,
}: Pick<SystemMap, 'differences' | 'unnamedDamage' | 'unreadFacts'>): readonly string[] {
  const [first, ...more] = conflicts;
  const others = more.length === 0 ? '' : `, and ${count(more.length, 'more file')}`;
  return [
    ...(first === undefined
      ? []
      : [`repositories ${first.repositories.join(' and ')} hold different contents of ${first.name}${others}`]),
    ...(unknown === 0
      ? []
      : [`whether the repositories hold the same is not known of up to ${count(unknown, 'segment')}`]),
    ...(unnamedDamage === 0
      ? []
      : [
          `a verification found ${count(unnamedDamage, 'more object')} of the WAL damaged than it names: windows may end earlier`,
        ]),
    ...unreadFacts.map((key) => `${key} is not as it was written: what it says is not known`),
  ];
}

const STATES = { suspect: 'suspect', damaged: 'damaged', 'no-wal': 'not restorable' } as const;

/** Every moment before this one. */
export function toText({ to, unreadable }: MapWindow): string {
  if (to.time !== undefined) return formatMoment(to.time);
  if (unreadable?.recordedTime !== undefined) return `${formatMoment(unreadable.recordedTime)} as recorded`;
  return to.isTimeKnown ? 'no transaction' : 'unknown';
}

function lineTexts({ timeline, problem, historyMissing }: MappedLine): readonly string[] {
  if (problem !== undefined) return [`timeline ${timeline}: ${problem}`];
  if (!historyMissing) return [];
  return [`timeline ${timeline}: its history is not archived, backups of earlier timelines do not lead to it`];
}

/** What is known, and how: objects that were listed are there, whether they are whole only reading tells. */
export function evidenceOf({ backups, walVerified }: SystemMap): string {
  const wal =
    walVerified === undefined
      ? 'the WAL was never verified'
      : `the WAL was verified on ${formatTime(walVerified.time)} (${walVerified.level})`;
  const verified = backups.filter((one) => one.verified !== undefined).length;
  return `evidence: objects listed with their sizes, ends of windows read; ${wal}; ${verified} of ${count(backups.length, 'backup')} verified`;
}
