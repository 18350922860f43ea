import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MapCache } from '../../src/map/map-cache.ts';
import { formatLsn } from '../../src/postgres/lsn.ts';
import { historyName } from '../../src/postgres/wal-file.ts';
import { walPrefix } from '../../src/repository/layout.ts';
import type { RestorePlan } from '../../src/restore/plan-types.ts';
import { planRestore } from '../../src/restore/plan.ts';
import { MB } from '../postgres-formats/wal-writer.ts';
import { pluginContext } from '../repository/repository.ts';
import { backup, draw, name, plant, push, Readable, repository, shown, SYSTEM } from './archive.ts';

let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'pgark-map-'))));
afterEach(() => rmSync(folder, { recursive: true }));

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

test('an end that no key opens is unknown, never guessed; what is recorded of it is told as such', async () => {
  const archive = await repository();
  await push(archive, [1]);
  await backup(archive, 1);
  const key = (await archive.wal(SYSTEM).find(name(1)))?.key.replace(name(1), name(2));
  await archive.storage.put(`${key}.age`, Readable('sealed'), { ifAbsent: true });
  await archive.times(SYSTEM).add([{ segment: name(2), transactions: 1, first: 5, last: 5 }]);
  const [window] = (await draw(archive)).lines[0]?.windows ?? [];
  expect(window?.to).toMatchObject({ time: undefined, isTimeKnown: false, lsn: BigInt(2 * MB) - 1n });
  expect(window?.unreadable).toMatchObject({ code: 'CODEC_UNKNOWN', recordedTime: 5n });
});

test('an end that is damaged ends the window: moments before it can be reached, and the plan says so too', async () => {
  const archive = await repository();
  await push(archive, [1, 2]);
  const id = await backup(archive, 1);
  await archive.wal(SYSTEM).push(name(3), { bytes: Buffer.alloc(MB, 7) });
  const [window] = (await draw(archive)).lines[0]?.windows ?? [];
  const time = window?.to.time ?? 0n;
  expect(window?.to).toMatchObject({ isTimeKnown: true, lsn: BigInt(3 * MB) - 1n });
  expect(window?.unreadable?.code).toBe('WAL_INVALID');
  const planned = (micros: bigint): Promise<RestorePlan> =>
    planRestore({ repositories: [archive], backup: id, target: { kind: 'time', micros, exclusive: false } });
  const plan = await planned(time - 1n);
  expect(plan.problems).toEqual([]);
  // The server must not read ahead of itself into it.
  expect(plan.wal.isDoubtful).toBe(true);
  expect(plan.warnings).toContainEqual(expect.stringContaining('cannot be used'));
  await expect(planned(time)).rejects.toMatchObject({ code: 'WAL_INVALID' });
});

test('WAL of a timeline whose history is lost stands in the way of every promotion to it', async () => {
  const archive = await repository();
  await push(archive, [1, 2]);
  await push(archive, [2, 3], 2);
  await backup(archive, 1);
  const [line] = (await draw(archive)).lines;
  expect(line).toMatchObject({
    timeline: 1,
    windows: [],
    problem: expect.stringContaining('00000002.history') as string,
  });
  const target = { kind: 'latest' } as const;
  const plan = await planRestore({ repositories: [archive], target, timeline: 1 });
  expect(plan.problems).toMatchObject([{ code: 'WAL_GAP' }]);
  const paused = await planRestore({ repositories: [archive], target, timeline: 1, standby: true });
  expect(paused.problems).toEqual([]);
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
