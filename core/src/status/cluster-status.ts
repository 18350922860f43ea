/** The state of one cluster: evidence, and what it comes to. */
import type { Config } from '../config/config.ts';
import { parseLsn } from '../postgres/lsn.ts';
import type { RecoveryMap, MappedBackup, SystemMap } from '../map/recovery-map.ts';
import type { MapWindow } from '../map/windows.ts';
import type { ReceiverState } from './receiver-state.ts';
import type { ServerState } from './server-state.ts';

export interface ClusterStatus {
  readonly cluster: string;
  /** Epoch milliseconds. */
  readonly time: number;
  readonly receiver: ReceiverState;
  readonly server: ServerState;
  readonly map: RecoveryMap;
  /** The system that counts: that of the server, else that with the newest backup; undefined when there is none. */
  readonly system: SystemMap | undefined;
  readonly archived: Archived | undefined;
  readonly lastBackup: ({ readonly backup: MappedBackup } & Age) | undefined;
  readonly lag: ArchiveLag;
}

/** How long ago something was by the clock of this host, which may not be that by which it was noted. */
export interface Age {
  /** Undefined for what seems to come from the future: clocks differ, and how old it is nobody can say. */
  readonly ageSeconds: number | undefined;
  /** How far in the future it seems to lie; 0 for what does not. */
  readonly aheadSeconds: number;
}

/** The last whole segment that is archived, of the timeline that the server is on. */
export interface Archived extends Age {
  readonly segment: string;
  readonly timeline: number;
  /** When the storage took it, epoch milliseconds. */
  readonly time: number;
}

/** How far the archive is behind the server. */
export interface ArchiveLag {
  /** Bytes of the server's WAL that no storage has; undefined when the server could not be asked and no receiver runs. */
  readonly bytes: number | undefined;
  /** For how long at most; 0 when it has all. */
  readonly seconds: number | undefined;
}

export interface ClusterParts {
  readonly config: Pick<Config, 'cluster'>;
  readonly time: number;
  readonly receiver: ReceiverState;
  readonly server: ServerState;
  readonly map: RecoveryMap;
}

/** Puts together what was found out. */
export function clusterStatus({ config, time, receiver, server, map }: ClusterParts): ClusterStatus {
  const system = systemOf(map, server);
  const timeline = timelineOf(server, receiver);
  const archived = archivedOf(system, timeline, time);
  const good = system?.backups.filter(({ verdict }) => verdict.state === 'restorable') ?? [];
  const backup = good.reduce<MappedBackup | undefined>(
    (best, one) => (best === undefined || one.backup.stopTime > best.backup.stopTime ? one : best),
    undefined,
  );
  return {
    cluster: config.cluster,
    time,
    receiver,
    server,
    map,
    system,
    archived,
    lastBackup: backup && { backup, ...ageOf(Date.parse(backup.backup.stopTime), time) },
    lag: lagOf({ system, archived, receiver, server }, timeline),
  };
}

function systemOf({ systems }: RecoveryMap, server: ServerState): SystemMap | undefined {
  if (server.state === 'answered') return systems.find(({ systemId }) => systemId === server.systemId);
  const newest = (system: SystemMap): string =>
    system.backups.reduce((best, { backup }) => (backup.stopTime > best ? backup.stopTime : best), '');
  return systems.reduce<SystemMap | undefined>(
    (best, one) => (best === undefined || newest(one) > newest(best) ? one : best),
    undefined,
  );
}

/** The timeline that WAL is written on now; undefined when nobody says. */
function timelineOf(server: ServerState, receiver: ReceiverState): number | undefined {
  if (server.state === 'answered') return server.timeline;
  return receiver.state === 'running' ? receiver.status.position?.timeline : undefined;
}

/**
 * The newest timeline that has whole segments, up to the one that WAL is written on: what a clone or a former primary archives on another one
 * says nothing of this server.
 */
function newestTimeline(
  system: SystemMap | undefined,
  timeline: number | undefined,
): SystemMap['wal']['timelines'][number] | undefined {
  return system?.wal.timelines.findLast(
    (one) => one.last !== undefined && (timeline === undefined || one.timeline <= timeline),
  );
}

function archivedOf(system: SystemMap | undefined, timeline: number | undefined, time: number): Archived | undefined {
  const found = newestTimeline(system, timeline);
  if (found?.last === undefined) return undefined;
  const { name, modified } = found.last;
  return { segment: name, timeline: found.timeline, time: modified, ...ageOf(modified, time) };
}

/** The window that reaches furthest on the line that a restore follows. */
export function newestWindow(system: SystemMap): MapWindow | undefined {
  return system.lines.find(({ timeline }) => timeline === system.latest)?.windows.at(-1);
}

/** The end of the WAL that is archived of a timeline, without a look at records: a whole segment, or what was read. */
function archivedEnd(system: SystemMap, timeline: number | undefined): bigint {
  const line = system.lines.find((one) => one.timeline === (timeline ?? system.latest));
  const read = line?.windows.at(-1)?.walEnd ?? 0n;
  const last = newestTimeline(system, timeline)?.runs.at(-1)?.last;
  const whole = last === undefined ? 0n : (last + 1n) * BigInt(system.segmentSize);
  return read > whole ? read : whole;
}

function lagOf(
  { system, archived, receiver, server }: Pick<ClusterStatus, 'system' | 'archived' | 'receiver' | 'server'>,
  timeline: number | undefined,
): ArchiveLag {
  const position = receiver.state === 'running' ? receiver.status.position : undefined;
  const ends = [
    ...(server.state === 'answered' ? [parseLsn(server.walEnd)] : []),
    ...(position === undefined ? [] : [parseLsn(position.serverEnd)]),
  ];
  if (ends.length === 0) return { bytes: undefined, seconds: undefined };
  const end = ends.reduce((most, one) => (one > most ? one : most));
  const has = system === undefined ? 0n : archivedEnd(system, timeline);
  if (has >= end) return { bytes: 0, seconds: 0 };
  return { bytes: Number(end - has), seconds: archived?.ageSeconds };
}

/** Milliseconds that the clocks of two hosts may differ without a word. */
const SKEW = 300_000;

function ageOf(time: number, now: number): Age {
  const seconds = Math.round((now - time) / 1000);
  if (now - time < -SKEW) return { ageSeconds: undefined, aheadSeconds: -seconds };
  return { ageSeconds: Math.max(0, seconds), aheadSeconds: 0 };
}

/** What cannot be restored on the line that a restore follows: between windows, and behind the last one. */
export interface StatusGap {
  /** Between two windows, or at the end of all. */
  readonly kind: 'between' | 'end';
  readonly window: MapWindow;
}

export function gapsOf(system: SystemMap): readonly StatusGap[] {
  const windows = system.lines.find(({ timeline }) => timeline === system.latest)?.windows ?? [];
  return windows.flatMap((window, at): readonly StatusGap[] => {
    if (at < windows.length - 1) return [{ kind: 'between', window }];
    const ends = window.end.kind === 'end-of-archive' && (window.unreadable === undefined || isOwn(window));
    return ends && !isLostBehind(system, window) ? [] : [{ kind: 'end', window }];
  });
}

/** Whether WAL behind the window is on record as lost: that nothing has come after it yet does not make it the end. */
function isLostBehind({ gaps, latest }: SystemMap, { to, walEnd = to.lsn }: MapWindow): boolean {
  return gaps.some((gap) => gap.to > walEnd && (gap.toTimeline === to.timeline || gap.toTimeline >= latest));
}

/** That the end cannot be read here says nothing about the archive. */
function isOwn({ unreadable }: MapWindow): boolean {
  return unreadable?.code === 'CODEC_KEY' || unreadable?.code === 'CODEC_UNKNOWN';
}
