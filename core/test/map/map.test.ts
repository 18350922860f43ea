import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MapCache } from '../../src/map/map-cache.ts';
import { drawMap, type SystemMap } from '../../src/map/recovery-map.ts';
import { describeWindowEnd } from '../../src/map/windows.ts';
import { formatLsn } from '../../src/postgres/lsn.ts';
import { historyName, parseWalFileName, segmentName } from '../../src/postgres/wal-file.ts';
import type { BackupRecord } from '../../src/repository/backup-record.ts';
import { walKey, walPrefix } from '../../src/repository/layout.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { WalWriter, MB } from '../postgres-formats/wal-writer.ts';
import { commit, insert } from '../postgres-formats/wal-cases.ts';
import { memoryRepository, pluginContext } from '../repository/repository.ts';

const SYSTEM = '7710493345181022616';
let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'pgark-map-'))));
afterEach(() => rmSync(folder, { recursive: true }));

/** Real WAL of segment number `number`: some records, and a commit. */
function segment(number: number, timeline = 1): Buffer {
  const writer = new WalWriter(BigInt(number) * BigInt(MB));
  writer.timeline = timeline;
  writer.record(insert(100));
  writer.record(commit(7));
  writer.skipSegment();
  return writer.bytes();
}

async function push(repository: Repository, numbers: readonly number[], timeline = 1): Promise<void> {
  for (const number of numbers)
    await repository.wal(SYSTEM).push(segmentName(timeline, BigInt(number), MB), { bytes: segment(number, timeline) });
}

/** Puts segments there that nobody reads: in the middle of a window. */
async function plant(repository: Repository, numbers: readonly number[]): Promise<void> {
  for (const number of numbers) {
    const file = parseWalFileName(segmentName(1, BigInt(number), MB));
    if (file === undefined) throw new Error('no name of a segment');
    const key = walPrefix('main', SYSTEM) + walKey(file, '0'.repeat(32), []);
    await repository.storage.put(key, Readable('x'), { ifAbsent: true });
  }
}

/** A backup whose own WAL is one segment. */
async function backup(repository: Repository, number: number, { timeline = 1, hour = number } = {}): Promise<string> {
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

async function* Readable(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}

async function draw(repository: Repository, cache: MapCache = nothing()): Promise<SystemMap> {
  const map = await drawMap([repository], { list: (one) => cache.list(one) });
  expect(map.failures).toEqual([]);
  const [system] = map.systems;
  if (system === undefined || map.systems.length > 1) throw new Error('there is not one system');
  return system;
}

function nothing(): MapCache {
  return new MapCache({ folder: undefined, age: 0, logger: pluginContext.logger });
}

/** The windows of a line as segments: where they begin, where they end, and why. */
function shown(system: SystemMap, timeline = 1): readonly string[] {
  const line = system.lines.find((one) => one.timeline === timeline);
  return (line?.windows ?? []).map(
    (window) => `${window.from.lsn / BigInt(MB)}-${window.to.lsn / BigInt(MB)} ${describeWindowEnd(window)}`,
  );
}

async function repository(): Promise<Repository> {
  const made = await memoryRepository({ compressed: false });
  await made.open({ create: true });
  return made;
}

const name = (number: number, timeline = 1): string => segmentName(timeline, BigInt(number), MB);

test('windows end at holes, conflicts and the end of the archive, and later backups begin new ones', async () => {
  const archive = await repository();
  await push(archive, [1, 2, 3, 6, 7, 8]);
  const first = await backup(archive, 1);
  const second = await backup(archive, 2);
  const third = await backup(archive, 6);
  const lost = await backup(archive, 4);
  const system = await draw(archive);
  expect(shown(system)).toEqual([`1-3 ${name(4)} to ${name(5)} are missing`, '6-8 end of the archive']);
  expect(system.lines[0]?.windows.map(({ backups }) => backups)).toEqual([[first, second], [third]]);
  expect(system.backups.find(({ backup: one }) => one.id === lost)?.verdict.state).toBe('no-wal');

  const wal = archive.wal(SYSTEM);
  const found = await wal.find(name(7));
  await archive.storage.put(`${found?.key.replace(/-[0-9a-f]{32}/, `-${'0'.repeat(32)}`)}`, Readable('x'), {
    ifAbsent: true,
  });
  expect(shown(await draw(archive))).toEqual([
    `1-3 ${name(4)} to ${name(5)} are missing`,
    `6-6 ${name(7)} is archived with two contents`,
  ]);
});

test('a line of timelines takes the segment of the fork from the newer one; without its history only its own backups lead on', async () => {
  const archive = await repository();
  await push(archive, [1, 2, 3, 4]);
  await push(archive, [3, 4, 5], 2);
  await backup(archive, 1);
  await backup(archive, 4, { timeline: 2 });
  await archive
    .wal(SYSTEM)
    .push(historyName(2), { bytes: Buffer.from(`1\t${formatLsn(BigInt(3 * MB + 500))}\tno reason\n`) });
  const system = await draw(archive);
  expect(system.latest).toBe(2);
  expect(shown(system, 1)).toEqual(['1-4 end of the archive']);
  expect(shown(system, 2)).toEqual(['1-5 end of the archive']);
  const history = await archive.wal(SYSTEM).find(historyName(2));
  await archive.storage.remove([history?.key ?? '']);
  expect(shown(await draw(archive), 2)).toEqual(['4-5 end of the archive']);
});

test('a history that cannot be read stands in the way of every promotion before it', async () => {
  const archive = await repository();
  await push(archive, [1, 2]);
  await backup(archive, 1);
  const key = `${walPrefix('main', SYSTEM)}00000002/00000002.history-${'0'.repeat(32)}`;
  await archive.storage.put(key, Readable('altered'), { ifAbsent: true });
  const [first, second] = (await draw(archive)).lines;
  expect(first).toMatchObject({
    timeline: 1,
    windows: [],
    problem: expect.stringContaining('could not be promoted') as string,
  });
  expect(second).toMatchObject({
    timeline: 2,
    windows: [],
    problem: expect.stringContaining('its history cannot be used') as string,
  });
});

test('a backup without one of its objects, and what a verification found damaged, are not restorable', async () => {
  const archive = await repository();
  await push(archive, [1, 2, 3, 4]);
  await backup(archive, 1);
  const second = await backup(archive, 2);
  const catalog = archive.backups(SYSTEM);
  await archive.storage.remove([catalog.objectKey(second, 'base/0000.tar')]);
  const system = await draw(archive);
  expect(system.backups.map(({ verdict }) => verdict.state)).toEqual(['restorable', 'damaged']);
  expect(shown(system)).toEqual(['1-4 end of the archive']);

  const key = (await archive.wal(SYSTEM).find(name(3)))?.key;
  const found = (level: string, findings: readonly object[], time: number): Promise<void> =>
    archive.facts(SYSTEM).add('wal', { kind: 'verify', time, data: { level, checked: {}, findings } });
  await found('full', [{ key, problem: 'damaged', message: 'it does not match its digest' }], 1000);
  expect(shown(await draw(archive))).toEqual([`1-2 ${name(3)} is damaged: it does not match its digest`]);
  // One that reads less proves nothing; one that reads all does.
  await found('sample', [], 2000);
  expect(shown(await draw(archive))).toHaveLength(1);
  expect(shown(await draw(archive))[0]).toContain('damaged');
  await found('full', [], 3000);
  expect(shown(await draw(archive))).toEqual(['1-4 end of the archive']);
});

test('an end that cannot be read is unknown, never guessed; what is recorded of it is told as such', async () => {
  const archive = await repository();
  await push(archive, [1]);
  await backup(archive, 1);
  await archive.wal(SYSTEM).push(name(2), { bytes: Buffer.alloc(MB, 7) });
  await archive.times(SYSTEM).add([{ segment: name(2), transactions: 1, first: 5, last: 5 }]);
  const [window] = (await draw(archive)).lines[0]?.windows ?? [];
  expect(window?.to).toMatchObject({ time: undefined, isTimeKnown: false, lsn: BigInt(2 * MB) - 1n });
  expect(window?.unreadable?.recordedTime).toBe(5n);
});

test('with the cache only what is new is listed, and the map is the same; a damaged or foreign cache is ignored', async () => {
  const archive = await repository();
  const numbers = Array.from({ length: 600 }, (_, at) => at + 1).filter((number) => number !== 100);
  await plant(
    archive,
    numbers.filter((number) => number !== 99 && number !== 600 && number !== 49),
  );
  await push(archive, [49, 99, 600]);
  await backup(archive, 1);
  let time = 1000;
  const cache = (): MapCache => new MapCache({ folder, age: 10_000, logger: pluginContext.logger, now: () => time });
  const cold = await draw(archive, cache());
  expect(shown(cold)).toEqual([`1-99 ${name(100)} is missing`]);

  // What was removed far behind the end is not noticed for a while; what came into a hole, at the end, and as a backup, is.
  await archive.storage.remove([(await archive.wal(SYSTEM).find(name(50)))?.key ?? '']);
  await push(archive, [100, 601]);
  await backup(archive, 300, { hour: 2 });
  time = 2000;
  expect(shown(await draw(archive, cache()))).toEqual(['1-601 end of the archive']);
  const fresh = new MapCache({ folder, age: 10_000, fresh: true, logger: pluginContext.logger, now: () => time });
  const now = [`1-49 ${name(50)} is missing`, '300-601 end of the archive'];
  expect(shown(await draw(archive, fresh))).toEqual(now);

  const [file = ''] = readdirSync(folder);
  const path = join(folder, file);
  const text = readFileSync(path, 'utf8');
  for (const broken of [text.replace('"first":1', '"first":2'), text.slice(0, 300), 'nothing', '']) {
    writeFileSync(path, broken);
    expect(shown(await draw(archive, cache()))).toEqual(now);
  }
  time = 20_000;
  await push(archive, [50]);
  expect(shown(await draw(archive, cache()))).toEqual(['1-601 end of the archive']);
});
