/** What the repositories hold, and what can be restored from them. */
import type { BackupList, ListedBackup } from '../../archive/list.ts';
import type { StatusDone } from '../../archive/status.ts';
import type { Config } from '../../config/config.ts';
import type { SystemMap } from '../../map/recovery-map.ts';
import { gapsOf, newestWindow } from '../../status/cluster-status.ts';
import { LEVELS } from '../../status/judge.ts';
import type { Look } from '../daemon.ts';
import { factReadings } from './fact-readings.ts';
import { oneOf, reading, seconds, type Reading } from './reading.ts';
import { KINDS } from './work-readings.ts';

/** What a look has seen of the archive. */
export function* archiveReadings({ status: done, backups }: Look, config: Config): Generator<Reading> {
  const names = config.repositories.map(({ name }) => name);
  const silent = new Set(
    [...(done?.status.map.failures ?? []), ...(backups?.failures ?? [])].map(({ repository }) => repository),
  );
  const read = new Set(done?.status.map.repositories.map(({ name }) => name));
  for (const repository of names)
    if (read.has(repository) || silent.has(repository))
      yield* reading('pgark_repository_up', !silent.has(repository), { repository });
  if (done !== undefined) {
    yield* oneOf('pgark_status', 'level', Object.keys(LEVELS), done.judgement.level);
    yield* recoveryReadings(done);
    yield* factReadings(done, names);
  }
  if (backups === undefined) return;
  for (const repository of names.filter((name) => !silent.has(name))) yield* backupReadings(repository, backups, done);
}

/** From the config alone, whatever can be looked at. */
export function* configReadings({ status, retention, schedule, repositories }: Config): Generator<Reading> {
  const thresholds = [
    ['backup', 'warning', status.backupWarning],
    ['backup', 'critical', status.backupCritical],
    ['wal', 'warning', status.walWarning],
    ['wal', 'critical', status.walCritical],
  ] as const;
  for (const [subject, level, milliseconds] of thresholds)
    yield* reading('pgark_status_threshold_seconds', seconds(milliseconds), { subject, level });
  for (const kind of KINDS)
    yield* reading('pgark_schedule_jobs', schedule.filter((job) => job.do === kind).length, { kind });
  for (const { name: repository, readOnly } of repositories)
    yield* reading('pgark_repository_writable', !readOnly, { repository });
  yield* reading('pgark_retention_window_seconds', seconds(retention?.window));
}

function* recoveryReadings({ status: { map, system } }: StatusDone): Generator<Reading> {
  if (map.repositories.length === 0) return;
  const window = system && newestWindow(system);
  yield* reading('pgark_recovery_window_start_timestamp_seconds', seconds(window?.from.time));
  if (window?.to.time !== undefined)
    yield* reading('pgark_recovery_window_end_timestamp_seconds', Number(window.to.time) / 1e6);
  // A repository that cannot be read may hold what is missing.
  if (map.failures.length > 0) return;
  const line = system?.lines.find(({ timeline }) => timeline === system.latest);
  yield* reading('pgark_recovery_windows', line?.windows.length ?? 0);
  const gaps = system === undefined ? [] : gapsOf(system);
  for (const kind of ['between', 'end'] as const)
    yield* reading('pgark_wal_gaps', gaps.filter((gap) => gap.kind === kind).length, { kind });
  yield* reading('pgark_wal_gap_segments', system === undefined ? 0 : lostSegments(system));
}

/** A gap that several repositories have on record is one. */
function lostSegments({ gaps, segmentSize }: SystemMap): number {
  const sizes = new Map(gaps.map(({ toTimeline, from, to }) => [`${toTimeline} ${from} ${to}`, to - from]));
  return Number([...sizes.values()].reduce((sum, size) => sum + size, 0n) / BigInt(segmentSize));
}

type Complete = Extract<ListedBackup, { readonly state: 'complete' }>;

const STATES = ['restorable', 'suspect', 'damaged', 'no-wal', 'incomplete', 'unreadable', 'unknown'] as const;

function* backupReadings(
  repository: string,
  { backups }: BackupList,
  done: StatusDone | undefined,
): Generator<Reading> {
  const listed = backups.filter((backup) => backup.repository === repository && backup.state !== 'expired');
  const states = listed.map((backup) => stateOf(backup, done));
  for (const state of STATES)
    yield* reading('pgark_repository_backups', states.filter((one) => one === state).length, { repository, state });
  const complete = listed.filter((backup): backup is Complete => backup.state === 'complete');
  const bytes = complete.reduce((sum, backup) => sum + storedSize(backup), 0);
  yield* reading('pgark_repository_backup_bytes', bytes, { repository });

  const good = listed
    .filter(
      (backup, at): backup is Complete =>
        ['restorable', 'unknown'].includes(states[at] ?? '') && backup.state === 'complete',
    )
    .toSorted((one, other) => Date.parse(one.record.stopTime) - Date.parse(other.record.stopTime));
  yield* reading('pgark_backup_oldest_timestamp_seconds', seconds(good[0]?.record.stopTime), { repository });
  for (const type of new Set(good.map(({ record }) => record.kind))) {
    const newest = good.findLast(({ record }) => record.kind === type);
    if (newest === undefined) continue;
    const { startTime, stopTime, dataSize } = newest.record;
    const labels = { repository, type };
    yield* reading('pgark_backup_last_success_timestamp_seconds', seconds(stopTime), labels);
    yield* reading('pgark_backup_duration_seconds', seconds(Date.parse(stopTime) - Date.parse(startTime)), labels);
    yield* reading('pgark_backup_size_bytes', dataSize, { ...labels, kind: 'raw' });
    yield* reading('pgark_backup_size_bytes', storedSize(newest), { ...labels, kind: 'stored' });
  }
}

function storedSize({ record }: Complete): number {
  return [...record.parts, record.manifest, record.fileList].reduce((sum, object) => sum + object.storedSize, 0);
}

/** What can be made of it by all that is known; `unknown` when the map does not have it. */
function stateOf(backup: ListedBackup, done: StatusDone | undefined): (typeof STATES)[number] | 'expired' {
  if (backup.state !== 'complete') return backup.state;
  if (backup.record.suspect !== undefined) return 'suspect';
  const system = done?.status.map.systems.find(({ systemId }) => systemId === backup.systemId);
  return system?.backups.find((mapped) => mapped.backup.id === backup.id)?.verdict.state ?? 'unknown';
}
