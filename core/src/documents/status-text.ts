/** A status in words. */
import type { Config } from '../config/config.ts';
import { formatLsn } from '../postgres/lsn.ts';
import { describeWindowEnd } from '../map/windows.ts';
import type { SystemMap } from '../map/recovery-map.ts';
import type { Age, ClusterStatus } from '../status/cluster-status.ts';
import type { ReceiverState } from '../status/receiver-state.ts';
import type { ServerState } from '../status/server-state.ts';
import { describeGap } from '../repository/wal-gaps.ts';
import { count, formatBytes, formatDuration, formatTime } from './format.ts';
import { toText } from './map-document.ts';
import { contentProblems } from './map-text.ts';

/** `2h 10m` */
export function age(seconds: number): string {
  return formatDuration(seconds * 1000);
}

/** Names and what there is to say of each; an empty name goes on with the one before. */
export function statusLines(
  status: ClusterStatus,
  config: Pick<Config, 'repositories'>,
): readonly (readonly [name: string, value: string])[] {
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
  return lines;
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
