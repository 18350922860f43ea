/** What the guardian does with holes that no backup heals, with damaged copies, and after a failover. */
import { describe, expect, test } from 'vitest';
import { ArchiveGuard } from '../../src/guardian/archive-guard.ts';
import { closeHole } from '../../src/guardian/close-hole.ts';
import { follow } from '../../src/guardian/follow.ts';
import { segmentName } from '../../src/postgres/wal-file.ts';
import type { ConnectionTarget } from '../../src/postgres/target.ts';
import type { BackupRecord } from '../../src/repository/backup-record.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { keysOf, memoryRepository, memoryStorage, pluginContext } from '../repository/repository.ts';
import { SAMPLE_FACTS, SYSTEM } from '../repository/sample-record.ts';

const SIZE = 16 << 20;
const stored = { plainSize: 1, storedSize: 1, storedSha256: '0'.repeat(64) };
const RECORD: BackupRecord = {
  ...SAMPLE_FACTS,
  dataSize: 1,
  parts: [],
  manifest: { name: 'backup_manifest', ...stored },
  fileList: { name: 'files.json', ...stored },
};
const never = new AbortController().signal;
const lsn = (segment: number): string => `0/${segment.toString(16).toUpperCase()}000000`;
const TARGET = { hosts: [] } as unknown as ConnectionTarget;

async function holding(segments: Readonly<Record<number, readonly number[]>>, name = 'primary'): Promise<Repository> {
  const repository = await memoryRepository({ compressed: false, name });
  await repository.open({ create: true });
  for (const [timeline, numbers] of Object.entries(segments)) {
    for (const number of numbers) {
      const segment = segmentName(Number(timeline), BigInt(number), SIZE);
      await repository.wal(SYSTEM).push(segment, { bytes: Buffer.from(segment) });
    }
  }
  return repository;
}

/** A guard whose backups land in these repositories, and how often it took one in so many looks. */
async function backupsIn(
  looks: number,
  repositories: readonly Repository[],
  receiving: readonly Repository[],
  change: (count: number) => Partial<BackupRecord>,
): Promise<number> {
  let count = 0;
  const guard = new ArchiveGuard({
    systemId: SYSTEM,
    segmentSize: SIZE,
    repositories: repositories.map((repository) => ({
      repository,
      check: () => Promise.resolve(),
      coming: () => () => false,
    })),
    target: TARGET,
    folder: '/nonexistent',
    closeHoles: true,
    takeBackup: async () => {
      count += 1;
      const id = `20261122T0${String(count).padStart(5, '0')}Z-fd70`;
      for (const repository of receiving) await repository.backups(SYSTEM).commit({ ...RECORD, id, ...change(count) });
      return id;
    },
    onEvent: () => undefined,
    logger: pluginContext.logger,
  });
  for (let look = 0; look < looks; look++) await guard.look(1, never);
  return count;
}

describe('a backup for a hole is taken once', () => {
  test('when the hole is on a timeline that the server has left behind', async () => {
    // Timeline 2 was a former primary that split off; the server is, and stays, on timeline 1.
    const repository = await holding({ 1: [4, 5, 6, 7, 8], 2: [6, 9] });
    await repository.backups(SYSTEM).commit({ ...RECORD, startLsn: lsn(4), stopLsn: lsn(5) });
    const taken = await backupsIn(10, [repository], [repository], (count) => ({
      startLsn: lsn(7),
      stopLsn: lsn(8),
      stopTime: `2026-11-22T06:45:${10 + count}Z`,
    }));
    expect(taken).toBe(0);
  });

  test('when the repository with the hole does not get it', async () => {
    // takeBackup succeeds when any repository has the backup; its id is all that the guardian hears.
    const whole = await holding({ 1: [4, 5, 8, 9] }, 'first');
    const holed = await holding({ 1: [4, 5, 8, 9] }, 'second');
    const taken = await backupsIn(10, [whole, holed], [whole], (count) => ({
      startLsn: lsn(8),
      stopLsn: lsn(9),
      stopTime: `2026-11-22T06:45:${10 + count}Z`,
    }));
    expect(taken).toBe(1);
  });

  test('when the clock was ahead at an earlier backup', async () => {
    const repository = await holding({ 1: [4, 5, 8, 9] });
    await repository
      .backups(SYSTEM)
      .commit({ ...RECORD, startLsn: lsn(4), stopLsn: lsn(5), stopTime: '2027-11-21T06:45:31Z' });
    const taken = await backupsIn(10, [repository], [repository], () => ({
      startLsn: lsn(8),
      stopLsn: lsn(9),
      stopTime: '2026-11-22T06:45:31Z',
    }));
    expect(taken).toBe(1);
  });
});

test('H-25 a damaged copy in one repository does not keep a hole from being closed by another one', async () => {
  const lacking = await holding({ 1: [4, 8] });
  const storage = await memoryStorage();
  const broken = await memoryRepository({ storage, compressed: false, name: 'damaged' });
  for (const number of [5, 6, 7]) {
    const segment = segmentName(1, BigInt(number), SIZE);
    await broken.wal(SYSTEM).push(segment, { bytes: Buffer.from(segment) });
  }
  const key = (await keysOf(storage)).find((one) => one.includes(segmentName(1, 5n, SIZE))) ?? '';
  await storage.put(
    key,
    (async function* () {
      yield Buffer.from('damaged');
    })(),
    { ifAbsent: false },
  );
  const good = await holding({ 1: [5, 6, 7] }, 'good');
  const options = {
    systemId: SYSTEM,
    segmentSize: SIZE,
    others: [broken, good],
    servers: [],
    folder: '/nonexistent',
    signal: never,
  };
  const { left, damaged } = await closeHole(lacking, { timeline: 1, first: 5n, last: 7n }, options);
  expect(left).toEqual([]);
  expect(damaged.map(({ name, error }) => `${name} ${error.code}`)).toEqual(['repository damaged STORAGE_CORRUPT']);
});

test('H-12 after a failover, before a whole segment of the new timeline, the archive is not said to be gigabytes behind', async () => {
  const repository = await holding({ 1: [4, 5, 6, 7, 8] });
  const slot = { active: true, restartLsn: 9n * BigInt(SIZE) + 8192n, walStatus: 'reserved' };
  const report = {
    host: 'db2:5432',
    systemId: SYSTEM,
    inRecovery: false,
    timeline: 2,
    walEnd: 9n * BigInt(SIZE),
    slot,
  };
  const judgement = await follow(report, {
    repositories: [{ repository, check: () => Promise.resolve(), coming: () => () => false }],
    systemId: SYSTEM,
    segmentSize: SIZE,
    maxLag: 64 << 20,
    signal: never,
  });
  // The archive ends with segment 8: 8 kB behind the slot.
  expect(judgement?.message).not.toContain('144 MiB');
  expect(judgement?.state).toBe('followed');
});

test('H-08 an archive is not whole when the history is missing that leads from the backup to its newest timeline', async () => {
  const repository = await holding({ 1: [4, 5, 6], 2: [7, 8] });
  await repository.backups(SYSTEM).commit({ ...RECORD, startLsn: lsn(4), stopLsn: lsn(5) });
  const guard = new ArchiveGuard({
    systemId: SYSTEM,
    segmentSize: SIZE,
    repositories: [{ repository, check: () => Promise.resolve(), coming: () => () => false }],
    target: TARGET,
    folder: '/nonexistent',
    closeHoles: true,
    onEvent: () => undefined,
    logger: pluginContext.logger,
  });
  const { judgement } = await guard.look(2, never);
  expect(judgement?.state, judgement?.message).toBe('unknown');
  expect(judgement?.message).toContain('lacks 00000002.history');
});
