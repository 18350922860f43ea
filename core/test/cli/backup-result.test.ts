import { Writable } from 'node:stream';
import { expect, test } from 'vitest';
import type { BackupOutcome, BackupResult } from '../../src/backup/backup.ts';
import { backupFailure } from '../../src/archive/backup-failure.ts';
import { printBackup } from '../../src/cli/backup-result.ts';
import { Output } from '../../src/cli/output.ts';
import { ArchiveError } from '../../src/contracts/errors.ts';
import type { BackupRecord } from '../../src/repository/backup-record.ts';

const ID = '20261121T101112Z-0a1b2c';

function record(storedSize: number, suspect?: BackupRecord['suspect']): BackupRecord {
  const object = { name: 'x', plainSize: 1000, storedSize, storedSha256: '0'.repeat(64) };
  return {
    format: 1,
    id: ID,
    kind: 'full',
    cluster: 'main',
    systemId: '42',
    serverVersion: 170_000,
    segmentSize: 1 << 20,
    timeline: 1,
    startLsn: '0/2000028',
    stopTimeline: 1,
    stopLsn: '0/2000158',
    startTime: '2026-11-21T10:11:12.000Z',
    stopTime: '2026-11-21T10:12:12.000Z',
    nextXid: '733',
    dataChecksums: true,
    host: 'db1:5432',
    fromStandby: false,
    label: 'pgark',
    tool: '1.0.0',
    tablespaces: [],
    codecs: [],
    files: 1,
    dataSize: 3000,
    parts: [{ ...object, archive: 'base', number: 0, entries: 1 }],
    manifest: object,
    fileList: object,
    ...(suspect === undefined ? {} : { suspect }),
  };
}

const gone = new ArchiveError('STORAGE_UNAVAILABLE', 'no route to b');

function result(repositories: readonly BackupOutcome[]): BackupResult {
  const [first] = repositories.flatMap((outcome) => ('record' in outcome ? [outcome.record] : []));
  if (first === undefined) throw new Error('nobody has it');
  return { record: first, repositories };
}

function printed(json: boolean, from: BackupResult): string {
  let text = '';
  const sink = (): Writable =>
    new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        text += chunk.toString();
        done();
      },
    });
  printBackup(new Output({ json, streams: { stdout: sink(), stderr: sink() } }), from, 1500);
  return text;
}

test('one repository: its figures, no table, no failure', () => {
  const one = result([{ name: 'primary', record: record(500) }]);
  const text = printed(false, one);
  expect(text).toMatch(new RegExp(`^backup ${ID} is complete\n`));
  expect(text).toMatch(/ {2}stored {2}1\.5 KiB in 1 part, ratio 2\.0\n/);
  expect(text).not.toContain('REPOSITORY');
  expect(backupFailure(one)).toBeUndefined();
});

test('several: a line for each, and for programs what each has', () => {
  const several = result([
    { name: 'a', error: gone },
    { name: 'b', record: record(500) },
    { name: 'c', record: record(1000) },
  ]);
  const lines = printed(false, several).split('\n');
  expect(lines[0]).toBe(`backup ${ID} is complete in 2 of 3 repositories`);
  expect(lines.slice(-5)).toEqual([
    'REPOSITORY  STATE      STORED  PARTS  RATIO',
    'a           failed          -      -      -',
    'b           complete  1.5 KiB      1    2.0',
    'c           complete  2.9 KiB      1    1.0',
    '',
  ]);
  expect(JSON.parse(printed(true, several))).toMatchObject({
    id: ID,
    storedSize: 1500,
    durationMilliseconds: 1500,
    repositories: [
      { name: 'a', state: 'failed', error: { code: 'STORAGE_UNAVAILABLE', message: 'no route to b' } },
      { name: 'b', state: 'complete', storedSize: 1500 },
      { name: 'c', state: 'complete', storedSize: 3000 },
    ],
  });
});

test('the failure names each repository that does not have it, why, and how it gets it', () => {
  const failure = backupFailure(
    result([
      { name: 'a', error: gone },
      { name: 'b', record: record(500) },
      { name: 'c', error: new ArchiveError('STORAGE_FULL', 'no space left') },
    ]),
  );
  expect(failure).toMatchObject({ code: 'REPOSITORY_BEHIND', exitCode: 2 });
  expect(failure?.message).toBe(
    `backup ${ID} is not in every repository: a does not have it: no route to b; c does not have it: no space left`,
  );
  expect(failure?.hint).toContain(
    `"pgark copy --from b --to a --backup ${ID}" and "pgark copy --from b --to c --backup ${ID}"`,
  );
});

test('damage on the server is more important than a repository that does not have the backup', () => {
  const suspect = { message: 'checksum verification failure', files: ['base/5/16384'] };
  const failure = backupFailure(
    result([
      { name: 'a', record: record(500, suspect) },
      { name: 'b', error: gone },
    ]),
  );
  expect(failure).toMatchObject({ code: 'BACKUP_SUSPECT', exitCode: 4 });
  // And hides nothing of it.
  expect(failure?.message).toBe(
    `the server found damaged pages: base/5/16384; backup ${ID} is not in every repository: b does not have it: no route to b`,
  );
  expect(failure?.hint).toContain(`"pgark copy --from a --to b --backup ${ID}"`);
  expect(failure?.details).toEqual({
    id: ID,
    files: ['base/5/16384'],
    repositories: [{ name: 'b', code: 'STORAGE_UNAVAILABLE', message: 'no route to b' }],
  });
  const alone = backupFailure(result([{ name: 'a', record: record(500, suspect) }]));
  expect(alone?.message).toBe('the server found damaged pages: base/5/16384');
  expect(alone?.details).toEqual({ id: ID, files: ['base/5/16384'] });
});
