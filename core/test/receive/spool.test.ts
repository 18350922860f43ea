import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Spool } from '../../src/receive/spool.ts';
import { SpoolLock } from '../../src/receive/spool-lock.ts';

const SIZE = 1024 * 1024;
let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'pgark-spool-'));
});
afterEach(() => {
  rmSync(root, { recursive: true });
});

function spoolWith(files: Readonly<Record<string, number>>): Spool {
  const spool = new Spool(root, 'main');
  const folder = spool.create('42');
  for (const [name, size] of Object.entries(files)) writeFileSync(join(folder, name), Buffer.alloc(size));
  return spool;
}

describe('Spool', () => {
  test('nothing is a spool too', () => {
    const spool = new Spool(root, 'main');
    expect(spool.systemIds()).toEqual([]);
    expect(spool.files('42')).toEqual([]);
    expect(spool.positions('42', SIZE)).toEqual(new Map());
  });

  test.each([
    ['behind the highest whole segment', { '000000010000000000000004': SIZE }, [[1, 5]]],
    [
      'at the start of a higher partial one',
      { '000000010000000000000004': SIZE, '000000010000000000000005.partial': SIZE },
      [[1, 5]],
    ],
    [
      'a whole segment counts more than a partial one of its name',
      { '000000010000000000000005': SIZE, '000000010000000000000005.partial': SIZE },
      [[1, 6]],
    ],
    [
      'each timeline for itself',
      { '000000010000000000000009.partial': SIZE, '000000020000000000000003': SIZE },
      [
        [1, 9],
        [2, 4],
      ],
    ],
    ['a partial one that a crash left short', { '000000010000000000000005.partial': 8192 }, [[1, 5]]],
    [
      'what is no segment does not count',
      { '00000002.history': 40, 'notes.txt': 3, '00000001000000000000000A.gz': 100 },
      [],
    ],
  ] as const)('positions: %s', (_, files, expected) => {
    const positions = spoolWith(files).positions('42', SIZE);
    expect([...positions].map(([timeline, lsn]) => [timeline, Number(lsn / BigInt(SIZE))])).toEqual(expected);
  });

  test.each([
    ['000000010000000000000004', SIZE - 1],
    ['000000010000000000000004', 0],
    ['000000010000000000000004', 16 * SIZE],
    ['000000010000000000000004.partial', SIZE + 1],
  ])('%s of %i bytes is SPOOL_INVALID, and named', (name, size) => {
    expect(() => spoolWith({ [name]: size }).positions('42', SIZE)).toThrow(
      expect.objectContaining({ code: 'SPOOL_INVALID', message: expect.stringContaining(name) as string }),
    );
  });

  test('clean removes what a crash left of a history, and nothing else', () => {
    const spool = spoolWith({ '00000002.history.tmp': 5, 'mine.tmp': 5, '00000003.history': 5 });
    spool.clean('42');
    expect(readdirSync(spool.folderOf('42')).sort()).toEqual(['00000003.history', 'mine.tmp']);
  });
});

describe('SpoolLock', () => {
  const path = (): string => join(root, 'receive.lock');

  test('one at a time, also within a process; the refusal names the process', () => {
    const lock = SpoolLock.acquire(root);
    expect(() => SpoolLock.acquire(root)).toThrow(
      expect.objectContaining({
        code: 'SPOOL_LOCKED',
        message: expect.stringContaining(`process ${process.pid} `) as string,
      }),
    );
    lock.release();
    SpoolLock.acquire(root).release();
    expect(readdirSync(root)).toEqual([]);
  });

  test('the lock of a process that is dead is taken over, also when its pid lives again', async () => {
    const child = spawn(process.execPath, ['-e', '0']);
    await once(child, 'exit');
    const lock = SpoolLock.acquire(root);
    const own = JSON.parse(readFileSync(path(), 'utf8')) as Record<string, unknown>;
    lock.release();
    for (const changes of [{ pid: child.pid }, { started: '1' }]) {
      writeFileSync(path(), JSON.stringify({ ...own, ...changes, id: 'other' }));
      SpoolLock.acquire(root).release();
    }
  });

  test('of another machine the last sign of life counts', () => {
    writeFileSync(path(), JSON.stringify({ pid: 1, started: '1', machine: 'elsewhere', id: 'other' }));
    expect(() => SpoolLock.acquire(root)).toThrow(expect.objectContaining({ code: 'SPOOL_LOCKED' }));
    const old = new Date(Date.now() - 120_000);
    utimesSync(path(), old, old);
    SpoolLock.acquire(root).release();
  });

  test('release leaves the lock of a successor alone', () => {
    const lock = SpoolLock.acquire(root);
    writeFileSync(path(), JSON.stringify({ pid: 1, started: '1', machine: 'elsewhere', id: 'successor' }));
    lock.release();
    expect(readFileSync(path(), 'utf8')).toContain('successor');
  });
});
