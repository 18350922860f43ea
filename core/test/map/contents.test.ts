/** What the map makes of contents: those that differ between repositories, and those that a verification has found damaged. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MapCache } from '../../src/map/map-cache.ts';
import { historyName } from '../../src/postgres/wal-file.ts';
import { putBytes, readSmall } from '../../src/repository/objects.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { planRestore } from '../../src/restore/plan.ts';
import { factOf } from '../../src/verify/fact.ts';
import { Report } from '../../src/verify/report.ts';
import { MB } from '../postgres-formats/wal-writer.ts';
import { pluginContext } from '../repository/repository.ts';
import { backup, draw, name, plant, push, repository, segment, shown, SYSTEM } from './archive.ts';

let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'pgark-map-'))));
afterEach(() => rmSync(folder, { recursive: true }));

/** Another content of a segment. */
function foreign(number: number): Buffer {
  const bytes = segment(number);
  bytes[MB - 1] = 7;
  return bytes;
}

async function two(): Promise<readonly [Repository, Repository]> {
  return [await repository('a'), await repository('b')];
}

test('H-22 a segment that two repositories hold with different contents is named, ends its window, and the plan goes as far', async () => {
  const [a, b] = await two();
  for (const one of [a, b]) {
    await push(one, [1, 2, 4, 5]);
    await backup(one, 1);
  }
  await push(a, [3]);
  await b.wal(SYSTEM).push(name(3), { bytes: foreign(3) });
  const system = await draw([a, b]);
  expect(system.differences).toEqual({
    conflicts: [{ name: name(3), timeline: 1, number: 3n, repositories: ['a', 'b'] }],
    unknown: 0,
  });
  expect(shown(system)).toEqual([`1-2 ${name(3)} is archived with two contents`]);
  // Each of them by itself is without a fault.
  expect(shown(await draw(a))).toEqual(['1-5 end of the archive']);

  // The plan goes as far as the map says, and no further.
  const lsn = system.lines[0]?.windows[0]?.to.lsn ?? 0n;
  const target = { kind: 'lsn', lsn, exclusive: false } as const;
  expect((await planRestore({ repositories: [a, b], target })).problems).toEqual([]);
  const behind = planRestore({ repositories: [a, b], target: { ...target, lsn: lsn + 1n } });
  await expect(behind).rejects.toMatchObject({ code: 'WAL_CONFLICT' });
  await expect(planRestore({ repositories: [a, b], target: { kind: 'latest' } })).rejects.toMatchObject({
    code: 'WAL_CONFLICT',
    message: expect.stringContaining('repository b with') as string,
  });
});

test('many segments are compared by fingerprints, with the cache too; what only one has is no conflict, a history that differs is', async () => {
  const [a, b] = await two();
  const numbers = Array.from({ length: 700 }, (_, at) => at + 1);
  await plant(
    a,
    numbers.filter((number) => number > 2 && number !== 400 && number !== 700),
  );
  await plant(
    b,
    numbers.filter((number) => number > 2 && number !== 300 && number !== 400 && number !== 700),
  );
  for (const one of [a, b]) {
    await push(one, [1, 2, 400, 700]);
    await backup(one, 1);
  }
  const cache = new MapCache({ folder, age: 1e9, logger: pluginContext.logger });
  expect((await draw([a, b], cache)).differences).toEqual({ conflicts: [], unknown: 0 });
  expect((await draw([a, b], cache)).differences).toEqual({ conflicts: [], unknown: 0 });
  // At the end, where it is listed again.
  await push(a, [701]);
  await b.wal(SYSTEM).push(name(701), { bytes: foreign(701) });
  const found = await draw([a, b], cache);
  expect(found.differences.conflicts.map((one) => one.name)).toEqual([name(701)]);
  expect(shown(found)).toEqual([`1-700 ${name(701)} is archived with two contents`]);

  // Far behind, where only a whole listing looks.
  const key = (await b.wal(SYSTEM).find(name(400)))?.key ?? '';
  await b.storage.remove([key]);
  await b.wal(SYSTEM).push(name(400), { bytes: foreign(400) });
  await a.wal(SYSTEM).push(historyName(2), { bytes: Buffer.from('1\t0/2BC00000\tone\n') });
  await b.wal(SYSTEM).push(historyName(2), { bytes: Buffer.from('1\t0/2BC00000\tother\n') });
  const all = await draw([a, b]);
  expect(all.differences.conflicts.map((one) => one.name)).toEqual([name(400), name(701), historyName(2)]);
});

test('a segment that is damaged in both repositories is restorable from neither', async () => {
  const [a, b] = await two();
  for (const one of [a, b]) {
    await push(one, [1, 2, 3, 4]);
    await backup(one, 1);
  }
  const damaged = async (one: Repository): Promise<void> => {
    const key = (await one.wal(SYSTEM).find(name(3)))?.key;
    const findings = [{ key, problem: 'damaged', message: 'a bit has changed' }];
    await one.facts(SYSTEM).add('wal', { kind: 'verify', time: 1000, data: { level: 'full', findings } });
  };
  await damaged(a);
  expect(shown(await draw([a, b]))).toEqual(['1-4 end of the archive']);
  await damaged(b);
  expect(shown(await draw([a, b]))).toEqual([`1-2 ${name(3)} is damaged: a bit has changed`]);
});

test('each of many damaged segments is known, also those that a fact does not tell in full', async () => {
  const archive = await repository();
  await push(archive, [1, 2, 3, 4]);
  await backup(archive, 1);
  const report = new Report();
  const keyOf = async (number: number): Promise<string> => (await archive.wal(SYSTEM).find(name(number)))?.key ?? '';
  for (let at = 0; at < 60; at++) report.found(`main/${SYSTEM}/wal/none/${at}`, 'damaged', 'it is damaged');
  report.found(await keyOf(3), 'damaged', 'it is damaged');
  const subject = { systemId: SYSTEM, subject: 'wal', report, started: 0, finished: 1 };
  const data = { ...factOf(subject, { level: 'full', seed: 1 }) };
  await archive.facts(SYSTEM).add('wal', { kind: 'verify', time: 1, data });
  const system = await draw(archive);
  expect(shown(system)).toEqual([`1-2 ${name(3)} is damaged: damaged`]);
  expect(system.unnamedDamage).toBe(0);

  for (let at = 0; at < 2000; at++) report.found(`main/${SYSTEM}/wal/more/${at}`, 'damaged', 'it is damaged');
  const more = { ...factOf(subject, { level: 'full', seed: 1 }) };
  await archive.facts(SYSTEM).add('wal', { kind: 'verify', time: 2, data: more });
  expect((await draw(archive)).unnamedDamage).toBe(1061);
});

test('WAL that the verification of one backup found damaged is damaged, until all of it was read', async () => {
  const archive = await repository();
  await push(archive, [1, 2, 3, 4]);
  const id = await backup(archive, 1);
  const key = (await archive.wal(SYSTEM).find(name(1)))?.key;
  const add = (subject: string, findings: readonly object[], time: number): Promise<void> =>
    archive.facts(SYSTEM).add(subject, { kind: 'verify', time, data: { level: 'full', findings } });
  await add('wal', [], 1000);
  await add(id, [{ key, problem: 'unreadable', message: 'it does not open' }], 2000);
  const system = await draw(archive);
  expect(shown(system)).toEqual([]);
  expect(system.backups[0]?.verdict.state).toBe('no-wal');
  const { warnings } = await planRestore({ repositories: [archive], target: { kind: 'latest' } });
  expect(warnings).toContainEqual(expect.stringContaining(`${name(1)} was found damaged`));
  await add('wal', [], 3000);
  expect(shown(await draw(archive))).toEqual(['1-4 end of the archive']);
});

test('a fact that was altered is told, and costs no map', async () => {
  const archive = await repository();
  await push(archive, [1, 2]);
  const id = await backup(archive, 1);
  await archive.facts(SYSTEM).add(id, { kind: 'drill', time: 1000, data: { outcome: 'failed' } });
  const key = `main/${SYSTEM}/facts/${id}/19700101T000001000Z-drill.json`;
  const text = Buffer.from(await readSmall(archive.storage, key)).toString('utf8');
  await archive.storage.remove([key]);
  await putBytes(archive.storage, key, Buffer.from(text.replace('failed', 'proven')));
  const system = await draw(archive);
  expect(shown(system)).toEqual(['1-2 end of the archive']);
  expect(system.drills).toEqual([]);
  expect(system.unreadFacts).toEqual([key]);
});
