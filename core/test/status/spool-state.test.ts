import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readSpoolState } from '../../src/status/spool-state.ts';

let spool: string;

beforeEach(() => {
  spool = mkdtempSync(join(tmpdir(), 'pgark-spool-state-'));
});

afterEach(() => rmSync(spool, { recursive: true, force: true }));

test('a spool that was never made is absent, and one that cannot be looked at is not', async () => {
  expect(await readSpoolState(spool, 'main')).toEqual({ state: 'absent' });
  writeFileSync(join(spool, 'main'), 'a file where the folder should be');
  expect(await readSpoolState(spool, 'main')).toMatchObject({
    state: 'unreadable',
    problem: expect.stringContaining(join(spool, 'main')),
  });
});

test('what waits is counted, without the open segment and what is no WAL', async () => {
  const folder = join(spool, 'main', '7123456789012345678');
  mkdirSync(folder, { recursive: true });
  mkdirSync(join(spool, 'main', 'hooks'));
  const empty = await readSpoolState(spool, 'main');
  expect(empty).toMatchObject({ state: 'read', files: 0, bytes: 0 });
  expect(empty).not.toHaveProperty('oldest');

  const files = [
    ['000000010000000000000003', 1000, 20],
    ['000000010000000000000004', 1000, 10],
    ['00000002.history', 40, 30],
    ['000000010000000000000005.partial', 500, 5],
    ['000000010000000000000006.tmp', 700, 1],
    ['notes', 900, 1],
  ] as const;
  for (const [name, size, seconds] of files) {
    writeFileSync(join(folder, name), Buffer.alloc(size));
    utimesSync(join(folder, name), seconds, seconds);
  }
  expect(await readSpoolState(spool, 'main')).toEqual({
    state: 'read',
    files: 3,
    bytes: 2540,
    freeBytes: expect.any(Number),
    oldest: 10_000,
  });
});
