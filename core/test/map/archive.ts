/** Small archives to draw maps of. */
import { expect } from 'vitest';
import { MapCache } from '../../src/map/map-cache.ts';
import { drawMap, type SystemMap } from '../../src/map/recovery-map.ts';
import { describeWindowEnd } from '../../src/map/windows.ts';
import { formatLsn } from '../../src/postgres/lsn.ts';
import { parseWalFileName, segmentName } from '../../src/postgres/wal-file.ts';
import type { BackupRecord } from '../../src/repository/backup-record.ts';
import { walKey, walPrefix } from '../../src/repository/layout.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { WalWriter, MB } from '../postgres-formats/wal-writer.ts';
import { commit, insert } from '../postgres-formats/wal-cases.ts';
import { memoryRepository, pluginContext } from '../repository/repository.ts';

export const SYSTEM = '7710493345181022616';

/** Real WAL of segment number `number`: some records, and a commit. */
export function segment(number: number, timeline = 1): Buffer {
  const writer = new WalWriter(BigInt(number) * BigInt(MB));
  writer.timeline = timeline;
  writer.record(insert(100));
  writer.record(commit(7));
  writer.skipSegment();
  return writer.bytes();
}

export async function push(repository: Repository, numbers: readonly number[], timeline = 1): Promise<void> {
  for (const number of numbers)
    await repository.wal(SYSTEM).push(segmentName(timeline, BigInt(number), MB), { bytes: segment(number, timeline) });
}

/** Puts segments there that nobody reads: in the middle of a window. */
export async function plant(repository: Repository, numbers: readonly number[]): Promise<void> {
  for (const number of numbers) {
    const file = parseWalFileName(segmentName(1, BigInt(number), MB));
    if (file === undefined) throw new Error('no name of a segment');
    const key = walPrefix('main', SYSTEM) + walKey(file, '0'.repeat(32), []);
    await repository.storage.put(key, Readable('x'), { ifAbsent: true });
  }
}

/** A backup whose own WAL is one segment. */
export async function backup(
  repository: Repository,
  number: number,
  { timeline = 1, hour = number } = {},
): Promise<string> {
  const catalog = repository.backups(SYSTEM);
  const id = `20260101T${String(hour).padStart(2, '0')}0000Z-0001`;
  const object = async (name: string): Promise<BackupRecord['manifest']> => catalog.putObject(id, name, Readable(name));
  const start = BigInt(number * MB);
  await catalog.commit({
    format: 1,
    id,
    kind: 'full',
    cluster: 'main',
    systemId: SYSTEM,
    serverVersion: 180000,
    segmentSize: MB,
    timeline,
    startLsn: formatLsn(start + 40n),
    stopTimeline: timeline,
    stopLsn: formatLsn(start + 60n),
    startTime: `2026-01-01T${String(hour).padStart(2, '0')}:00:00.000Z`,
    stopTime: `2026-01-01T${String(hour).padStart(2, '0')}:10:00.000Z`,
    nextXid: '100',
    dataChecksums: true,
    host: 'db:5432',
    fromStandby: false,
    label: '',
    tool: '0',
    tablespaces: [],
    codecs: [],
    files: 1,
    dataSize: 1,
    parts: [{ ...(await object('base/0000.tar')), archive: 'base', number: 0, entries: 1 }],
    manifest: await object('backup_manifest'),
    fileList: await object('files.json'),
  });
  return id;
}

export async function* Readable(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}

export async function draw(
  repository: Repository | readonly [Repository, ...Repository[]],
  cache: MapCache = nothing(),
): Promise<SystemMap> {
  const all = 'cluster' in repository ? ([repository] as const) : repository;
  const map = await drawMap(all, { list: (one) => cache.list(one) });
  expect(map.failures).toEqual([]);
  const [system] = map.systems;
  if (system === undefined || map.systems.length > 1) throw new Error('there is not one system');
  return system;
}

function nothing(): MapCache {
  return new MapCache({ folder: undefined, age: 0, logger: pluginContext.logger });
}

/** The windows of a line as segments: where they begin, where they end, and why. */
export function shown(system: SystemMap, timeline = 1): readonly string[] {
  const line = system.lines.find((one) => one.timeline === timeline);
  return (line?.windows ?? []).map(
    (window) => `${window.from.lsn / BigInt(MB)}-${window.to.lsn / BigInt(MB)} ${describeWindowEnd(window)}`,
  );
}

export async function repository(name = 'memory'): Promise<Repository> {
  const made = await memoryRepository({ compressed: false, name });
  await made.open({ create: true });
  return made;
}

export const name = (number: number, timeline = 1): string => segmentName(timeline, BigInt(number), MB);
