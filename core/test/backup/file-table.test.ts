import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { FileTable } from '../../src/backup/file-table.ts';
import type { BackupFile } from '../../src/repository/file-list.ts';

test('files come out as they went in, however many there are', () => {
  const files = Array.from({ length: 5000 }, (_, at): BackupFile => ({
    path: `base/${at}/\udcff`,
    part: `base/${String(Math.floor(at / 700)).padStart(4, '0')}.tar`,
    offset: at * 2 ** 40,
    size: at * 3,
    mode: at % 0o7777,
    sha256: createHash('sha256').update(String(at)).digest('hex'),
  }));
  const table = new FileTable();
  expect([...table]).toEqual([]);
  expect(files.map((file) => table.add(file))).toEqual(files.map((_, at) => at));
  // Digests come later than files.
  for (const [at, { sha256 }] of files.entries()) table.digest(at, sha256);
  expect([...table]).toEqual(files);
  expect(table.length).toBe(5000);
  expect(table.dataSize).toBe(files.reduce((sum, { size }) => sum + size, 0));
});
