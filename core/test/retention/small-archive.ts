/** Archives in memory with a clock of their own, and backups in them that are as small as they can be. */
import { MemoryStorage } from '@pgark/storage-memory';
import { ArchiveError } from '../../src/contracts/errors.ts';
import type { Storage } from '../../src/contracts/storage.ts';
import { formatLsn } from '../../src/postgres/lsn.ts';
import { historyName, segmentName } from '../../src/postgres/wal-file.ts';
import { backupsPrefix, newBackupId } from '../../src/repository/layout.ts';
import { putBytes } from '../../src/repository/objects.ts';
import { Repository } from '../../src/repository/repository.ts';
import { SAMPLE_FACTS } from '../repository/sample-record.ts';

export const SYSTEM = '7710493345181022616';
export const SEGMENT_SIZE: number = 1 << 20;
export const DAY = 86_400_000;
export const HOUR = 3_600_000;

export class Clock {
  time: number = Date.parse('2026-11-21T12:00:00Z');
  readonly now = (): number => this.time;
}

export function repositoryOn(storage: Storage, name = 'primary'): Repository {
  return new Repository({
    cluster: 'main',
    name,
    storage,
    codecs: [],
    codecFor: (suffix) => Promise.reject(new ArchiveError('CODEC_UNKNOWN', `no codec for .${suffix}`)),
  });
}

export async function smallArchive(clock: Clock): Promise<{ repository: Repository; storage: MemoryStorage }> {
  const storage = new MemoryStorage({ now: clock.now });
  const repository = repositoryOn(storage);
  await repository.open({ create: true });
  return { repository, storage };
}

export const lsnIn = (segment: number, offset = 0x28): string =>
  formatLsn(BigInt(segment) * BigInt(SEGMENT_SIZE) + BigInt(offset));

export const walName = (timeline: number, segment: number): string =>
  segmentName(timeline, BigInt(segment), SEGMENT_SIZE);

export interface SmallBackup {
  readonly systemId?: string;
  readonly id?: string;
  /** When it stopped, epoch milliseconds. */
  readonly time: number;
  readonly timeline?: number;
  readonly from: number;
  readonly to?: number;
  readonly stopTimeline?: number;
  readonly parent?: string | undefined;
  readonly label?: string;
  /** Left out: it has no record. */
  readonly commit?: boolean;
  readonly parts?: number;
  readonly retainUntil?: Date;
}

/** Puts the objects of a backup in their order: parts, manifest, list, record. Gives its id. */
export async function putBackup(repository: Repository, backup: SmallBackup): Promise<string> {
  const { systemId = SYSTEM, time, timeline = 1, from, to = from, parent, label = 'nightly', parts = 2 } = backup;
  const id = backup.id ?? newBackupId(new Date(time));
  const prefix = `${backupsPrefix('main', systemId)}${id}/`;
  const object = (name: string): Record<string, unknown> => ({
    name,
    plainSize: 4,
    storedSize: 4,
    storedSha256: '0'.repeat(64),
  });
  const names = [...Array.from({ length: parts }, (_, at) => `base/000${at}.tar`), 'backup_manifest', 'files.json'];
  const { storage } = repository;
  for (const name of names) await storage.put(prefix + name, body('part'), lock(backup));
  if (backup.commit === false) return id;
  const record = {
    ...SAMPLE_FACTS,
    id,
    systemId,
    label,
    segmentSize: SEGMENT_SIZE,
    timeline,
    startLsn: lsnIn(from),
    stopTimeline: backup.stopTimeline ?? timeline,
    stopLsn: lsnIn(to, 0x158),
    startTime: new Date(time).toISOString(),
    stopTime: new Date(time).toISOString(),
    dataSize: 4,
    parts: names.slice(0, parts).map((name, number) => ({ ...object(name), archive: 'base', number, entries: 1 })),
    manifest: object('backup_manifest'),
    fileList: object('files.json'),
    ...(parent === undefined ? {} : { parent }),
  };
  await storage.put(`${prefix}backup.json`, body(JSON.stringify(record)), lock(backup));
  return id;
}

function lock({ retainUntil }: SmallBackup): { readonly ifAbsent: true; readonly retainUntil?: Date } {
  return { ifAbsent: true, ...(retainUntil === undefined ? {} : { retainUntil }) };
}

export async function* body(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}

export async function putWal(
  repository: Repository,
  timeline: number,
  segments: readonly number[],
  systemId = SYSTEM,
): Promise<void> {
  for (const segment of segments)
    await repository.wal(systemId).push(walName(timeline, segment), { bytes: Buffer.from(`${timeline}/${segment}`) });
}

/** The history of a timeline, from its ancestors with the segment in which each ends. */
export async function putHistory(
  repository: Repository,
  timeline: number,
  ancestors: readonly (readonly [timeline: number, segment: number])[],
  systemId = SYSTEM,
): Promise<void> {
  const text = ancestors.map(([from, segment]) => `${from}\t${lsnIn(segment, 0x80)}\tno recovery target\n`).join('');
  await repository.wal(systemId).push(historyName(timeline), { bytes: Buffer.from(text) });
}

/** Keys below the cluster, without that of the marker, leases and digests. */
export async function keysIn(storage: Storage): Promise<readonly string[]> {
  const keys: string[] = [];
  for await (const { key } of storage.list('main/'))
    if (key !== 'main/pgark.json' && !key.includes('/leases/')) keys.push(key);
  return keys;
}

/** Segments of a timeline that are there. */
export async function segmentsIn(repository: Repository, timeline = 1, systemId = SYSTEM): Promise<readonly number[]> {
  const found: number[] = [];
  for await (const { file } of repository.wal(systemId).segments(timeline, { segmentSize: SEGMENT_SIZE }))
    if (file.kind === 'segment') found.push(file.log * 4096 + file.index);
  return found;
}

export const range = (from: number, to: number): readonly number[] =>
  Array.from({ length: to - from + 1 }, (_, at) => from + at);

/** Puts an object that is none of pgark's forms. */
export async function putObject(storage: Storage, key: string, text = 'x'): Promise<void> {
  await putBytes(storage, key, Buffer.from(text));
}
