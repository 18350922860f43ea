import { expect, test } from 'vitest';
import { damagedFiles } from '../../src/backup/damaged-files.ts';
import { ManifestCheck } from '../../src/backup/manifest-check.ts';
import type { ArchiveError } from '../../src/contracts/errors.ts';
import type { ManifestFile } from '../../src/postgres/manifest.ts';
import type { BackupFile } from '../../src/repository/file-list.ts';

const passed = (path: string, size = 1, sha256 = 'aa'.repeat(32)): BackupFile => ({
  path,
  part: 'base/0000.tar',
  offset: 512,
  size,
  mode: 0o600,
  sha256,
});
const listed = (path: string, size = 1, checksum = 'aa'.repeat(32)): ManifestFile => ({
  path,
  size,
  lastModified: '',
  algorithm: 'SHA256',
  checksum,
});

function faults(ours: readonly BackupFile[], theirs: readonly ManifestFile[]): string {
  const check = new ManifestCheck();
  for (const file of ours) check.passed(file);
  for (const { sha256 } of ours) check.digest(sha256);
  for (const file of theirs) check.listed(file);
  try {
    check.end();
    return '';
  } catch (error) {
    expect((error as ArchiveError).code).toBe('BACKUP_CORRUPT');
    return (error as ArchiveError).message.replace(/^[^:]*: /, '');
  }
}

test('every way in which files and manifest can differ is a fault, and named', () => {
  expect(faults([passed('a'), passed('b')], [listed('b'), listed('a')])).toBe('');
  expect(faults([passed('a')], [listed('a'), listed('b')])).toBe('b is missing');
  expect(faults([passed('a'), passed('b')], [listed('a')])).toBe('b is not in the manifest');
  expect(faults([passed('a', 2)], [listed('a', 1)])).toBe('a has 2 bytes, not 1');
  expect(faults([passed('a', 1, 'bb'.repeat(32))], [listed('a')])).toBe('a has another SHA-256');
  expect(faults([passed('a'), passed('a')], [listed('a')])).toBe('a was sent twice');
  expect(faults([passed('a')], [{ ...listed('a'), algorithm: 'CRC32C' }])).toBe('a has no SHA-256 in the manifest');
  const many = Array.from({ length: 12 }, (_, at) => listed(`f${at}`));
  expect(faults([], many)).toBe(
    'f0 is missing; f1 is missing; f2 is missing; f3 is missing; f4 is missing, and 7 more',
  );
});

test('H-36 damaged files are found in the warnings of any language', () => {
  expect(
    damagedFiles([
      'checksum verification failed in file "./base/5/16384", block 3: calculated 1A2B but expected 3C4D',
      'checksum verification failed in file "./base/5/16384", block 7: calculated 1A2B but expected 3C4D',
      'file "./base/5/16384" has a total of 2 checksum verification failures',
      'could not verify checksum in file "./global/1262", block 0: read buffer size 8000 and page size 8192 differ',
      'Prüfsummenüberprüfung fehlgeschlagen in Datei »./base/1/2619_vm«, Block 0: berechnet 1A2B aber erwartet 3C4D',
      'checksum verification failed in file "pg_tblspc/16385/PG_18_202506291/5/16390.1", block 3',
      'skipping special file "./socket"',
      'aborting backup due to backend exiting',
    ]),
  ).toEqual(['base/5/16384', 'global/1262', 'base/1/2619_vm', 'pg_tblspc/16385/PG_18_202506291/5/16390.1']);
});
