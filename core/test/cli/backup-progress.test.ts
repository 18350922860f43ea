import { expect, test } from 'vitest';
import type { BackupProgress } from '../../src/backup/backup.ts';
import { BackupProgressText } from '../../src/cli/backup-progress.ts';

const MiB = 1024 * 1024;
const base: BackupProgress = {
  id: '20261121T064530Z-3f9a',
  stage: 'connecting',
  bytes: 0,
  totalBytes: undefined,
  storedBytes: 0,
};

test('progress says bytes, share, rate over the last seconds, and time left', () => {
  let now = 0;
  const text = new BackupProgressText({ bar: true, now: () => now });
  expect(text.toString()).toBe('connecting');
  text.update({ ...base, stage: 'checkpoint' });
  expect(text.toString()).toBe(`backup ${base.id}: waiting for a checkpoint of the server`);
  const copying = (seconds: number, mebibytes: number): string => {
    now = seconds * 1000;
    text.update({ ...base, stage: 'copying', bytes: mebibytes * MiB, totalBytes: 1000 * MiB });
    return text.toString();
  };
  expect(copying(0, 0)).toBe('[--------------------] 0% 0 B of 1000.0 MiB');
  expect(copying(1, 100)).toBe('[##------------------] 10% 100.0 MiB of 1000.0 MiB, 100.0 MiB/s, 9.0 s left');
  // Long after a slow stretch only the last ten seconds count.
  expect(copying(100, 200)).toContain(', 1.0 MiB/s, 13m 12s left');
  copying(105, 500);
  copying(110, 800);
  expect(copying(111, 860)).toContain('86% 860.0 MiB of 1000.0 MiB, 60.0 MiB/s');
  // The size was an estimate: more than all of it is shown as all of it.
  expect(copying(112, 1100)).toMatch(/^\[#{20}\] 100% 1\.1 GiB of 1000\.0 MiB, [\d.]+ MiB\/s$/);
});

test('without an estimate there is no share; while waiting the segment is named', () => {
  const text = new BackupProgressText({ bar: false, now: () => 0 });
  text.update({ ...base, stage: 'copying', bytes: 5 * MiB, totalBytes: 0 });
  expect(text.toString()).toBe(`backup ${base.id}: 5.0 MiB`);
  const wal = { awaited: '000000010000000000000003', archived: 1, needed: 2, advice: '' };
  text.update({ ...base, stage: 'waiting', wal });
  expect(text.toString()).toBe(
    `backup ${base.id}: waiting for the archive to hold 000000010000000000000003 (1 of 2 WAL files are there)`,
  );
  // Of several repositories the one that has the least.
  text.update({ ...base, stage: 'waiting', wal: { ...wal, repository: 'far' } });
  expect(text.toString()).toContain('waiting for far to hold 000000010000000000000003 (1 of 2');
});
