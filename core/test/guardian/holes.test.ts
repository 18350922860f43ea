import { describe, expect, test } from 'vitest';
import { closeHole } from '../../src/guardian/close-hole.ts';
import { describeHole, findHoles } from '../../src/guardian/holes.ts';
import { segmentName } from '../../src/postgres/wal-file.ts';
import type { BackupRecord } from '../../src/repository/backup-record.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { gapsInTheWayOf, openGaps } from '../../src/repository/wal-gaps.ts';
import { memoryRepository } from '../repository/repository.ts';
import { SAMPLE_FACTS, SYSTEM } from '../repository/sample-record.ts';

const stored = { plainSize: 1, storedSize: 1, storedSha256: '0'.repeat(64) };
const SAMPLE_RECORD: BackupRecord = {
  ...SAMPLE_FACTS,
  dataSize: 1,
  parts: [],
  manifest: { name: 'backup_manifest', ...stored },
  fileList: { name: 'files.json', ...stored },
};
const SIZE = 16 << 20;
const never = new AbortController().signal;
const lsn = (segment: number): string => `0/${segment.toString(16).toUpperCase()}000000`;

/** A repository with segments, by timeline. */
async function holding(segments: Readonly<Record<number, readonly number[]>>, name = 'primary'): Promise<Repository> {
  const repository = await memoryRepository({ compressed: false, name });
  for (const [timeline, numbers] of Object.entries(segments)) {
    for (const number of numbers) {
      const segment = segmentName(Number(timeline), BigInt(number), SIZE);
      await repository.wal(SYSTEM).push(segment, { bytes: Buffer.from(segment) });
    }
  }
  return repository;
}

async function history(repository: Repository, timeline: number, line: string): Promise<void> {
  const name = `${timeline.toString(16).padStart(8, '0').toUpperCase()}.history`;
  await repository.wal(SYSTEM).push(name, { bytes: Buffer.from(`${line}\n`) });
}

async function holesOf(
  repository: Repository,
  coming: (timeline: number, number: bigint) => boolean = () => false,
): Promise<readonly string[]> {
  const { holes } = await findHoles(repository, SYSTEM, { segmentSize: SIZE, coming });
  return holes.map(({ timeline, first, last }) => `${timeline}: ${first}-${last}`);
}

describe('findHoles', () => {
  test('without a backup, from the first segment on', async () => {
    expect(await holesOf(await holding({}))).toEqual([]);
    expect(await holesOf(await holding({ 1: [4, 5, 6] }))).toEqual([]);
    expect(await holesOf(await holding({ 1: [4, 6, 9, 10] }))).toEqual(['1: 5-5', '1: 7-8']);
  });

  test('what is on its way is no hole, at its beginning', async () => {
    const repository = await holding({ 1: [4, 8] });
    expect(await holesOf(repository, (_, number) => number < 8n)).toEqual([]);
    expect(await holesOf(repository, (_, number) => number === 5n)).toEqual(['1: 6-7']);
  });

  test('from the start of the newest backup: what lies before is in nobody’s way', async () => {
    const repository = await holding({ 1: [1, 4, 5, 9] });
    await repository.backups(SYSTEM).commit({ ...SAMPLE_RECORD, startLsn: lsn(4), stopLsn: lsn(5) });
    expect(await holesOf(repository)).toEqual(['1: 6-8']);
    const later = { ...SAMPLE_RECORD, id: '20261122T064530Z-fd70', stopTime: '2026-11-22T06:45:31Z' };
    await repository.backups(SYSTEM).commit({ ...later, startLsn: lsn(8), stopLsn: lsn(9) });
    expect(await holesOf(repository)).toEqual(['1: 8-8']);
  });

  test('at a fork: the end of the old timeline and the beginning of the new one', async () => {
    const whole = await holding({ 1: [4, 5, 6], 2: [7, 8] });
    await history(whole, 2, `1\t${lsn(7)}\tno reason`);
    expect(await holesOf(whole)).toEqual([]);
    const holed = await holding({ 1: [4, 5], 2: [9] });
    await history(holed, 2, `1\t${lsn(7)}\tno reason`);
    expect(await holesOf(holed)).toEqual(['1: 6-6', '2: 7-8']);
  });
});

test('closeHole: from the first repository that has a segment, and what is left is told', async () => {
  const lacking = await holding({ 1: [4, 9] });
  const others = [await holding({ 1: [5, 8] }, 'second'), await holding({ 1: [5, 6] }, 'third')];
  const { holes } = await findHoles(lacking, SYSTEM, { segmentSize: SIZE, coming: () => false });
  const [hole] = holes;
  if (hole === undefined) throw new Error('no hole');
  expect(describeHole(hole, SIZE)).toBe('000000010000000000000005 to 000000010000000000000008');
  const options = { systemId: SYSTEM, segmentSize: SIZE, others, servers: [], folder: '/nonexistent', signal: never };
  const { brought, left, silent } = await closeHole(lacking, hole, options);
  expect([...brought]).toEqual([
    ['repository second', 2],
    ['repository third', 1],
  ]);
  expect(left).toEqual([{ timeline: 1, first: 7n, last: 7n }]);
  expect(silent).toEqual([]);
  expect(await holesOf(lacking)).toEqual(['1: 7-7']);
});

describe('gaps on record', () => {
  const gap = { timeline: 1, from: lsn(5), to: lsn(8), to_timeline: 1, reason: 'lost' };

  test('one is open until every segment is there', async () => {
    const repository = await holding({ 1: [4, 5, 7, 8] });
    await repository.facts(SYSTEM).add('wal', { kind: 'gap', time: 1, data: gap });
    expect(await openGaps(repository, SYSTEM, { segmentSize: SIZE })).toHaveLength(1);
    const segment = segmentName(1, 6n, SIZE);
    await repository.wal(SYSTEM).push(segment, { bytes: Buffer.from(segment) });
    expect(await openGaps(repository, SYSTEM, { segmentSize: SIZE })).toEqual([]);
    // Without the size of a segment nobody can say: that is not closed.
    expect(await openGaps(repository, SYSTEM, { segmentSize: undefined })).toHaveLength(1);
  });

  test.each([
    ['before it', 1, lsn(3), 1],
    ['in its middle', 1, lsn(6), 1],
    ['behind it', 1, lsn(8), 0],
    ['behind it on a later timeline', 2, lsn(9), 0],
  ] as const)('a backup that began %s', (_, timeline, startLsn, count) => {
    const recorded = { timeline: 1, toTimeline: 1, from: BigInt(5 * SIZE), to: BigInt(8 * SIZE) };
    expect(gapsInTheWayOf({ timeline, startLsn }, [recorded])).toHaveLength(count);
  });
});
