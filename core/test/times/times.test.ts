import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ArchiveError } from '../../src/contracts/errors.ts';
import { segmentName } from '../../src/postgres/wal-file.ts';
import type { SegmentTimes } from '../../src/repository/commit-times.ts';
import { TimesRecorder } from '../../src/times/times-recorder.ts';
import { commit, insert, MICROS } from '../postgres-formats/wal-cases.ts';
import { MB, WalWriter } from '../postgres-formats/wal-writer.ts';
import { keysOf, memoryRepository, memoryStorage, pluginContext } from '../repository/repository.ts';

const SYSTEM = '7710493345181022616';
const NAMES = [5n, 6n].map((number) => segmentName(1, number, MB));
const [FIRST = '', SECOND = ''] = NAMES;
let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'pgark-times-'))));
afterEach(() => rmSync(folder, { recursive: true }));

/** Two segments; a commit at the beginning, one that crosses the border, and one behind it. */
function twoSegments(): Buffer {
  const writer = new WalWriter(5n * BigInt(MB));
  writer.record(commit(7));
  while (writer.lsn < 6n * BigInt(MB) - 8000n) writer.record(insert(200));
  while (writer.lsn < 6n * BigInt(MB) - 32n) writer.record({ rmid: 10, info: 0, payload: Buffer.alloc(0) });
  expect(writer.lsn).toBeLessThan(6n * BigInt(MB));
  writer.record(commit(8));
  expect(writer.lsn).toBeGreaterThan(6n * BigInt(MB));
  writer.record(commit(9));
  return writer.bytes();
}

function recorder(add: (segments: readonly SegmentTimes[]) => Promise<void>, delay = 60_000): TimesRecorder {
  return new TimesRecorder({ systemId: SYSTEM, outlets: [{ name: 'one', add }], logger: pluginContext.logger, delay });
}

test('transactions are counted where they begin, also one that crosses into the next segment', async () => {
  const bytes = twoSegments();
  const found: SegmentTimes[] = [];
  const times = recorder(async (segments) => void found.push(...segments));
  for (const [at, name] of NAMES.entries()) {
    writeFileSync(join(folder, name), bytes.subarray(at * MB, (at + 1) * MB));
    times.take({ name, segmentSize: MB, to: MB }, [join(folder, name)]);
  }
  await times.finish(10_000);
  const time = Number(MICROS);
  expect(found).toEqual([
    { segment: FIRST, transactions: 2, first: time, last: time },
    { segment: SECOND, transactions: 1, first: time, last: time },
  ]);
});

test('the open segment is told as far as it goes, and more of it later; a repository that fails is told again', async () => {
  const bytes = twoSegments().subarray(0, MB);
  const storage = await memoryStorage();
  const archive = await memoryRepository({ storage });
  let broken = true;
  const times = recorder(async (segments) => {
    if (broken) throw new ArchiveError('STORAGE_UNAVAILABLE', 'it is down');
    await archive.times(SYSTEM).add(segments);
  }, 1);
  const path = join(folder, FIRST);
  writeFileSync(path, bytes);
  times.take({ name: FIRST, segmentSize: MB, to: 20_000 }, [`${path}.partial`, path]);
  await new Promise((resolve) => setTimeout(resolve, 200));
  broken = false;
  times.take({ name: FIRST, segmentSize: MB, to: MB }, [path]);
  times.take({ name: SECOND, segmentSize: MB, to: MB }, [join(folder, 'gone')]);
  await times.finish(10_000);
  const known = await archive.times(SYSTEM).between(1, { first: 5n, last: 6n, segmentSize: MB });
  expect(known.get(FIRST)).toMatchObject({ transactions: 1, last: Number(MICROS) });
  expect(known.has(SECOND)).toBe(false); // nothing was read of it: that is not the same as no transaction
  expect(
    (await keysOf(storage)).every((key) =>
      /^main\/\d+\/times\/00000001\/[0-9A-F]{24}-[0-9A-F]{24}-[0-9a-f]{32}\.json$/.test(key),
    ),
  ).toBe(true);
});

test('what lies under a name with other content is not told', async () => {
  const found: SegmentTimes[] = [];
  const times = recorder(async (segments) => void found.push(...segments));
  writeFileSync(join(folder, FIRST), twoSegments().subarray(0, MB));
  times.take({ name: FIRST, segmentSize: MB, to: MB }, [join(folder, FIRST)]);
  times.drop(FIRST);
  await times.finish(10_000);
  expect(found).toEqual([]);
});

test('objects that overlap are merged, and one that was altered is passed over', async () => {
  const storage = await memoryStorage();
  const times = (await memoryRepository({ storage })).times(SYSTEM);
  await times.add([{ segment: FIRST, transactions: 1, first: 20, last: 20 }]);
  await times.add([
    { segment: FIRST, transactions: 3, first: 10, last: 30 },
    { segment: SECOND, transactions: 0 },
  ]);
  const range = { first: 5n, last: 6n, segmentSize: MB };
  expect([...(await times.between(1, range)).values()]).toEqual([
    { segment: FIRST, transactions: 3, first: 10, last: 30 },
    { segment: SECOND, transactions: 0 },
  ]);
  const key = (await keysOf(storage)).find((one) => one.includes(`${FIRST}-${SECOND}`)) ?? '';
  await storage.remove([key]);
  await storage.put(key, one('{"format":1,"segments":[]}'), { ifAbsent: true });
  expect([...(await times.between(1, range)).keys()]).toEqual([FIRST]);
  expect(await times.between(1, { ...range, first: 100n, last: 200n })).toEqual(new Map());
});

async function* one(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}
