import { isArchiveError } from '@pgark/sdk';
import { expect, test } from 'vitest';
import { deathOf, judge, type LogLine } from '../../src/drill/verdict.ts';
import { ArchiveError, ERRORS, type ErrorCode } from '../../src/contracts/errors.ts';

test('only what the archive is at fault for is a verdict', () => {
  const outcome = (code: ErrorCode): string => judge(new ArchiveError(code, 'x')).outcome;
  for (const code of [
    'BACKUP_CORRUPT',
    'CODEC_CORRUPT',
    'STORAGE_NOT_FOUND',
    'WAL_GAP',
    'RESTORE_UNREACHABLE',
  ] as const)
    expect(outcome(code), code).toBe('failed');
  for (const code of ['STORAGE_UNAVAILABLE', 'STORAGE_DENIED', 'CODEC_KEY', 'CODEC_UNKNOWN', 'RESTORE_FAILED'] as const)
    expect(outcome(code), code).toBe('inconclusive');
  // Surroundings and config are never the backup's fault.
  for (const [code, { exitCode }] of Object.entries(ERRORS) as [ErrorCode, { exitCode: number }][])
    if (exitCode === 2 || exitCode === 3) expect(outcome(code), code).toBe('inconclusive');
  expect(() => judge(new ArchiveError('ABORTED', 'stopped'))).toThrow('stopped');
  expect(() => judge(new TypeError('a fault of ours'))).toThrow('a fault of ours');
});

const line = (severity: string, sqlstate: string, text: string): LogLine => ({ severity, sqlstate, text });

test.each<readonly [string, readonly LogLine[], ErrorCode]>([
  ['damaged data', [line('PANIC', 'XX000', 'could not locate a valid checkpoint record')], 'DRILL_FAILED'],
  [
    'missing file',
    [line('FATAL', '58P01', 'could not open file "base/5/1": No such file or directory')],
    'DRILL_FAILED',
  ],
  ['full disk', [line('FATAL', '53100', 'could not write to file: No space left on device')], 'DRILL_INCONCLUSIVE'],
  ['library', [line('FATAL', '58P01', 'could not access file "x": No such file or directory')], 'DRILL_INCONCLUSIVE'],
  ['own WAL', [line('FATAL', 'XX000', 'resource manager with ID 128 not registered')], 'DRILL_INCONCLUSIVE'],
  ['killed', [line('LOG', '00000', 'redo starts at 0/2000028')], 'DRILL_INCONCLUSIVE'],
  ['silent', [], 'DRILL_INCONCLUSIVE'],
])('the death of a server: %s', (_, log, code) => {
  expect(deathOf(log, undefined)).toSatisfy((error) => isArchiveError(error, code));
});

test('a restore_command that fails is told with what it said', () => {
  const log = [
    line('OUTPUT', '00000', 'pgark: error: cannot read the storage'),
    line(
      'FATAL',
      'XX000',
      'could not restore file "000000010000000000000002" from archive: child process exited with exit code 255',
    ),
  ];
  const error = deathOf(log, undefined);
  expect(error.code).toBe('DRILL_INCONCLUSIVE');
  expect(error.message).toContain('cannot read the storage');
});
