/** What `pgark status` shows. */
import type { Config } from '../config/config.ts';
import { formatLsn } from '../postgres/lsn.ts';
import type { MapWindow } from '../map/windows.ts';
import { describeWindowEnd } from '../map/windows.ts';
import type { SystemMap } from '../map/recovery-map.ts';
import { gapsOf, newestWindow, type Age, type ClusterStatus } from '../status/cluster-status.ts';
import { perfdata, type Judgement } from '../status/judge.ts';
import type { ReceiverState } from '../status/receiver-state.ts';
import type { ServerState } from '../status/server-state.ts';
import { describeGap } from '../repository/wal-gaps.ts';
import { count } from './backup-view.ts';
import { formatBytes, formatDuration, formatTime } from './format.ts';
import { contentProblems, mapDocument, toText, windowDocument } from './map-view.ts';
import type { Output } from './output.ts';

/** `2h 10m` */
export function age(seconds: number): string {
  return formatDuration(seconds * 1000);
}

/** For programs. Stable: described in `docs/reference/status.md`. */
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
  if (system === undefined || window === undefined || lastBackup === undefined)
    return `${cluster} cannot be restored: ${reasonOf(system)}`;
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

/** One line for a monitoring system. */
export function nagiosLine(status: ClusterStatus, { level, reasons, metrics }: Judgement): string {
  const text = reasons.length === 0 ? canRestoreTo(status) : `${status.cluster}: ${reasons.join('; ')}`;
  // A bar would begin the values.
  return `PGARK ${level.toUpperCase()} - ${text.replaceAll('|', '/')} | ${perfdata(metrics)}`;
}

/** For people. */
export function printStatus(output: Output, status: ClusterStatus, config: Pick<Config, 'repositories'>): void {
  const { system, archived, lastBackup, map, time } = status;
  const lines: (readonly [name: string, value: string])[] = [
    ...receiverLines(status.receiver, time),
    ...serverLines(status.server),
    [
      'archived',
      archived === undefined
        ? 'no segment'
        : `${archived.segment}, taken by the storage on ${formatTime(archived.time)}, ${agoText(archived)}`,
    ],
    ['lag', lagText(status)],
    [
      'backup',
      lastBackup === undefined
        ? 'no good one'
        : `${lastBackup.backup.backup.id}, consistent on ${formatTime(lastBackup.backup.backup.stopTime)}, ${agoText(lastBackup)}`,
    ],
    ...windowLines(system),
    ...(system === undefined ? [] : contentProblems(system).map((text) => ['content', text] as const)),
    ...(system?.gaps.map((gap) => ['lost', `${describeGap(gap)} (repository ${gap.repository})`] as const) ?? []),
    ['verified', verifyText(system)],
    ['drill', drillText(system)],
    ...config.repositories.flatMap(({ name }) => repositoryLines(name, status)),
  ];
  if (map.systems.length > 1)
    lines.push([
      'systems',
      `${map.systems.map(({ systemId }) => systemId).join(', ')}; shown: ${system?.systemId ?? '-'}`,
    ]);
  const width = Math.max(...lines.map(([name]) => name.length));
  for (const [name, value] of lines) output.line(`${name.padEnd(width)}  ${value}`);
  output.line();
  output.line(canRestoreTo(status));
}

function agoText({ ageSeconds, aheadSeconds }: Age): string {
  return ageSeconds === undefined
    ? `which is ${age(aheadSeconds)} AHEAD of this host: clocks differ`
    : `${age(ageSeconds)} ago`;
}

function receiverLines(receiver: ReceiverState, time: number): readonly (readonly [string, string])[] {
  if (receiver.state === 'absent') return [['receiver', 'none has run on this host with this spool']];
  if (receiver.state === 'unreadable') return [['receiver', `unknown: ${receiver.problem}`]];
  const { status, ageSeconds, state } = receiver;
  if (state !== 'running') {
    const how = state === 'stopped' ? 'stopped' : 'STALE: it ended without a word, or stands still';
    return [['receiver', `${how}; its last word is ${age(ageSeconds)} old: ${status.message}`]];
  }
  const { connected, position } = status;
  const since = (text: string): string =>
    `${formatTime(text)}, ${age(Math.round((time - Date.parse(text)) / 1000))} ago`;
  return [
    ['receiver', `${status.state} since ${since(status.since)}: ${status.message} (pid ${status.pid})`],
    ...(connected === undefined
      ? []
      : [['', `connected to ${connected.host} since ${since(connected.since)}`] as const]),
    ...(position === undefined
      ? []
      : [
          [
            '',
            `received ${position.received}, flushed ${position.flushed} of ${position.serverEnd}: ${formatBytes(position.lagBytes)}, ${position.lagSeconds} s behind`,
          ] as const,
        ]),
    ...status.repositories.map(
      ({ name, shipped, waiting }) =>
        [
          '',
          `shipped into ${name}: ${waiting > 0 ? `${count(waiting, 'file')} wait` : shipped === undefined ? 'nothing yet' : `all before ${shipped}`}`,
        ] as const,
    ),
  ];
}

function serverLines(server: ServerState): readonly (readonly [string, string])[] {
  if (server.state === 'unknown') return [['server', `unknown: ${server.problem}`]];
  const { host, inRecovery, timeline, walEnd, slot, stream } = server;
  const kept = slot?.keptBytes === undefined ? '' : `, keeps ${formatBytes(slot.keptBytes)} of WAL`;
  const why = slot?.invalidation === undefined ? '' : `, INVALID: ${slot.invalidation}`;
  return [
    ['server', `${host}, ${inRecovery ? 'a standby' : 'primary'} on timeline ${timeline}, WAL up to ${walEnd}`],
    [
      'slot',
      slot === undefined
        ? 'there is none of this name'
        : `${slot.active ? 'active' : 'not active'}${slot.restartLsn === undefined ? '' : ` at ${slot.restartLsn}`}${kept}${why}`,
    ],
    ...(stream === undefined
      ? []
      : [
          [
            '',
            stream.state === undefined
              ? 'streams; where to and how far is shown to members of pg_monitor only'
              : `streams to ${stream.client ?? 'this host'}: ${stream.state}, flushed ${stream.flushed ?? '-'}`,
          ] as const,
        ]),
  ];
}

function lagText({ lag }: ClusterStatus): string {
  if (lag.bytes === undefined) return 'unknown: neither server nor receiver says how far the WAL goes';
  if (lag.bytes === 0) return 'none: all of the server’s WAL is archived';
  return `${formatBytes(lag.bytes)} are not in a storage yet${lag.seconds === undefined ? '' : `, for ${age(lag.seconds)} at most`}`;
}

function windowLines(system: SystemMap | undefined): readonly (readonly [string, string])[] {
  if (system === undefined) return [];
  return system.lines.flatMap(({ timeline, windows, problem }) => [
    ...(problem === undefined ? [] : [['window', `none on timeline ${timeline}: ${problem}`] as const]),
    ...windows.map(
      (window) =>
        [
          'window',
          `timeline ${timeline}: ${formatTime(window.from.time)} to ${toText(window)}, ${formatLsn(window.from.lsn)} to ${formatLsn(window.to.lsn)}; ${describeWindowEnd(window)}`,
        ] as const,
    ),
  ]);
}

function verifyText(system: SystemMap | undefined): string {
  const wal = system?.walVerified;
  const newest = (system?.backups ?? [])
    .flatMap(({ backup, verified }) => (verified === undefined ? [] : [{ id: backup.id, ...verified }]))
    .reduce<
      { readonly id: string; readonly time: number; readonly level: string; readonly findings: number } | undefined
    >((best, one) => (best === undefined || one.time > best.time ? one : best), undefined);
  const shown = [
    ...(newest === undefined
      ? []
      : [`backup ${newest.id} on ${formatTime(newest.time)} (${newest.level}, ${count(newest.findings, 'finding')})`]),
    ...(wal === undefined ? [] : [`WAL on ${formatTime(wal.time)} (${wal.level}, ${count(wal.findings, 'finding')})`]),
  ];
  return shown.length === 0 ? 'never' : shown.join('; ');
}

function drillText(system: SystemMap | undefined): string {
  const drill = system?.drills[0];
  if (drill === undefined) return 'never';
  const { outcome } = drill.data;
  return `${formatTime(drill.time)}: ${typeof outcome === 'string' ? outcome : 'of a version that says nothing here'}`;
}

function repositoryLines(name: string, { map }: ClusterStatus): readonly (readonly [string, string])[] {
  const failure = map.failures.find(({ repository }) => repository === name);
  if (failure !== undefined) return [['repository', `${name} could not be read: ${failure.error.message}`]];
  const read = map.repositories.find((repository) => repository.name === name);
  if (read === undefined) return [];
  const { listed, since, systems } = read.state;
  const segments = systems.reduce((sum, { wal }) => sum + wal.segments, 0);
  const backups = systems.reduce(
    (sum, system) => sum + system.backups.filter(({ state }) => state === 'complete').length,
    0,
  );
  const older = since === listed ? '' : `, older WAL on ${formatTime(since)}`;
  return [
    [
      'repository',
      `${name}: ${count(segments, 'segment')}, ${count(backups, 'backup')}; listed on ${formatTime(listed)}${older}`,
    ],
  ];
}
