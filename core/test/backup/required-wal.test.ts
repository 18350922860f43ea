import { expect, test } from 'vitest';
import { missingSegments, requiredWal } from '../../src/backup/required-wal.ts';
import { isArchiveError } from '../../src/contracts/errors.ts';
import { parseLsn } from '../../src/postgres/lsn.ts';
import { segmentName } from '../../src/postgres/wal-file.ts';
import { putBytes } from '../../src/repository/objects.ts';
import { memoryRepository, memoryStorage } from '../repository/repository.ts';

const MB = 1 << 20;
const range = (timeline: number, start: string, end: string): { timeline: number; start: bigint; end: bigint } => ({
  timeline,
  start: parseLsn(start),
  end: parseLsn(end),
});

test('a backup needs the segments from its start to the byte before its stop', () => {
  const one = (start: string, end: string): unknown => requiredWal([range(1, start, end)], 16 * MB).runs;
  expect(one('0/2000028', '0/2000158')).toEqual([{ timeline: 1, first: 2n, last: 2n }]);
  expect(one('0/2000028', '0/4000001')).toEqual([{ timeline: 1, first: 2n, last: 4n }]);
  // H-31: a stop on the border needs nothing of the segment that begins there.
  expect(one('0/2000028', '0/4000000')).toEqual([{ timeline: 1, first: 2n, last: 3n }]);
  expect(one('0/2000028', '0/3FFFFFF')).toEqual([{ timeline: 1, first: 2n, last: 3n }]);
});

test('where the timeline changes the newer one holds the segment, and its history is needed', () => {
  expect(requiredWal([range(2, '0/3500000', '0/5000100'), range(1, '0/2000028', '0/3500000')], 16 * MB)).toEqual({
    histories: [2],
    runs: [
      { timeline: 1, first: 2n, last: 2n },
      { timeline: 2, first: 3n, last: 5n },
    ],
  });
  // All of the older timeline's part lies in the segment of the switch; the switch is on a border; two switches.
  expect(requiredWal([range(2, '0/3500000', '0/5000100'), range(1, '0/3000028', '0/3500000')], 16 * MB).runs).toEqual([
    { timeline: 2, first: 3n, last: 5n },
  ]);
  expect(requiredWal([range(2, '0/4000000', '0/4000100'), range(1, '0/3000028', '0/4000000')], 16 * MB).runs).toEqual([
    { timeline: 1, first: 3n, last: 3n },
    { timeline: 2, first: 4n, last: 4n },
  ]);
  const three = [
    range(5, '0/6000100', '0/6000200'),
    range(3, '0/4000100', '0/6000100'),
    range(1, '0/2000028', '0/4000100'),
  ];
  expect(requiredWal(three, 16 * MB)).toEqual({
    histories: [5, 3],
    runs: [
      { timeline: 1, first: 2n, last: 3n },
      { timeline: 3, first: 4n, last: 5n },
      { timeline: 5, first: 6n, last: 6n },
    ],
  });
});

test('what the archive lacks is found in one listing, at the ends, in the middle and across logs', async () => {
  const repository = await memoryRepository();
  const archive = repository.wal('7710493345181022616');
  const perLog = 0x100000000n / BigInt(MB);
  const first = perLog - 3n;
  const push = async (number: bigint): Promise<void> => {
    await archive.push(segmentName(1, number, MB), { bytes: Buffer.from(`segment ${number}`) });
  };
  const missing = async (): Promise<string[]> =>
    (await missingSegments(archive, { timeline: 1, first, last: first + 5n }, MB)).map(
      (run) => `${run.first - first}-${run.last - first}`,
    );
  expect(await missing()).toEqual(['0-5']);
  await push(first - 1n);
  await push(first + 6n);
  expect(await missing()).toEqual(['0-5']);
  await push(first + 1n);
  await push(first + 4n);
  expect(await missing()).toEqual(['0-0', '2-3', '5-5']);
  for (const at of [0n, 2n, 3n, 5n]) await push(first + at);
  expect(await missing()).toEqual([]);
});

test('WAL of two servers under one name is refused, not counted', async () => {
  const storage = await memoryStorage();
  const archive = (await memoryRepository({ storage, compressed: false })).wal('7710493345181022616');
  const name = segmentName(1, 7n, MB);
  await archive.push(name, { bytes: Buffer.from('one') });
  const key = `main/7710493345181022616/wal/00000001/00000000/${name}-${'0'.repeat(32)}`;
  await putBytes(storage, key, Buffer.from('other'));
  await expect(missingSegments(archive, { timeline: 1, first: 7n, last: 7n }, MB)).rejects.toEqual(
    expect.toSatisfy((error) => isArchiveError(error, 'WAL_CONFLICT')),
  );
});
